// Workspaces of the operations on single entries on the GPU.
#pragma once

#include "../core/arena.h"
#include "../cuda/chunks.h"
#include "entrywise.h"

namespace jaxsparse {

// Of relu: by list what is unused, by chunk how many entries are kept.
struct ReluScratch {
  int32_t *unused = nullptr, *kept = nullptr;
  int64_t bytes;

  ReluScratch(const ListSizes& n, void* workspace) {
    Arena arena(workspace);
    const cuda::Chunks chunks(n.lists(), n.capacity);
    if (!chunks.whole()) {
      unused = arena.take<int32_t>(n.lists());
      kept = arena.take<int32_t>(chunks.blocks());
    }
    bytes = arena.bytes();
  }
};

// Of put_add: by slot of the output the last link of its chain, by entry the link before it.
struct PutAddScratch {
  int32_t *last, *before;
  int64_t bytes;

  PutAddScratch(const ListSizes& n, int64_t in_capacity, void* workspace) {
    Arena arena(workspace);
    last = arena.take<int32_t>(n.lists() * n.capacity);
    before = arena.take<int32_t>(n.lists() * in_capacity);
    bytes = arena.bytes();
  }
};

}  // namespace jaxsparse
