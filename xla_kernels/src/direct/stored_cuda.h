// The workspace of kernels that ask which entries are stored, and nothing else.
#pragma once

#include "../core/arena.h"
#include "../cuda/chunks.h"
#include "entrywise.h"

namespace jaxsparse {

struct StoredScratch {
  int32_t* unused = nullptr;
  int64_t bytes;

  StoredScratch(const ListSizes& n, void* workspace) {
    Arena arena(workspace);
    if (!cuda::Chunks(n.lists(), n.capacity).whole()) unused = arena.take<int32_t>(n.lists());
    bytes = arena.bytes();
  }
};

}  // namespace jaxsparse
