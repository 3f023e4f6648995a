// The workspace of sums and maxima of batch elements on the GPU. jaxsparse/voxel/_cuda_workspace.py says its size.
#pragma once

#include "../core/arena.h"
#include "pool_sizes.h"

namespace jaxsparse::voxel {

struct SegmentScratch {
  int64_t pieces;   // there are at most
  int32_t* begin;   // [segments + 1]: the rows of a segment
  int32_t* before;  // [segments]: pieces of earlier segments
  double* sums;     // [pieces, channels], for sums
  int32_t* rows;    // [pieces, channels], for maxima: -1 for none
  int64_t bytes;

  SegmentScratch(const SegmentSizes& n, bool sum, void* workspace)
      : pieces((n.rows + kPieceRows - 1) / kPieceRows + n.segments) {
    Arena arena(workspace);
    begin = arena.take<int32_t>(n.segments + 1);
    before = arena.take<int32_t>(n.segments);
    sums = arena.take<double>(sum ? pieces * n.channels : 0);
    rows = arena.take<int32_t>(sum ? 0 : pieces * n.channels);
    bytes = arena.bytes();
  }
};

}  // namespace jaxsparse::voxel
