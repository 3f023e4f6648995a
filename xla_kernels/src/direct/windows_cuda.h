// Workspace of the sums over windows on the GPU.
#pragma once

#include "../core/arena.h"
#include "../cuda/chunks.h"
#include "pool_windows.h"

namespace jaxsparse {

// By list what is unused.
struct WindowsScratch {
  // A thread has one entry.
  static cuda::Chunks pieces(int64_t lists, int64_t slots) { return {lists, slots, cuda::kListThreads}; }

  int32_t *fine_unused = nullptr, *coarse_unused = nullptr;
  int64_t bytes;

  WindowsScratch(const PoolSizes& n, void* workspace) {
    Arena arena(workspace);
    if (!pieces(1, n.capacity).whole()) fine_unused = arena.take<int32_t>(n.lists());
    if (!pieces(1, n.out_capacity).whole()) coarse_unused = arena.take<int32_t>(n.lists());
    bytes = arena.bytes();
  }
};

}  // namespace jaxsparse
