// The workspace of sums over lists on the GPU.
#pragma once

#include "../core/arena.h"
#include "../core/fixed_sum.h"
#include "../cuda/chunks.h"
#include "entrywise.h"

namespace jaxsparse {

// A block's work: a segment of fixed_sum.
inline cuda::Chunks sum_segments(const ListSizes& n) { return {n.lists(), n.capacity, kSumSegment}; }

struct SumScratch {
  int32_t* unused = nullptr;  // [lists], of lists that are not whole
  int32_t* stored;            // [lists]
  int32_t* best;              // [lists][segments]: the slot of the maximum
  double* sums;               // [lists][segments]
  double* totals;             // [channels], over the stretches of the batch
  int64_t bytes;

  SumScratch(const ListSizes& n, void* workspace) {
    Arena arena(workspace);
    totals = arena.take<double>(n.channels);
    const cuda::Chunks segments = sum_segments(n);
    if (!segments.whole()) unused = arena.take<int32_t>(n.lists());
    stored = arena.take<int32_t>(n.lists());
    best = arena.take<int32_t>(segments.blocks());
    sums = arena.take<double>(segments.blocks());
    bytes = arena.bytes();
  }
};

}  // namespace jaxsparse
