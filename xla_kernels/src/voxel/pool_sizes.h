// What pooling and the sums of batch elements share on all platforms: sizes, and which of two numbers is the maximum.
#pragma once

#include <cstdint>

#include "../core/portable.h"

namespace jaxsparse::voxel {

struct PoolSizes {
  int64_t inputs, outputs, taps, channels;
};

JAXSPARSE_ANYWHERE inline bool is_row(int32_t row, int64_t rows) { return row >= 0 && row < rows; }

// NaN is the maximum; equal numbers leave the first where it is.
template <class A>
JAXSPARSE_ANYWHERE bool is_above(A x, A than) {
  return x > than || (x != x && than == than);
}

// The row that a maximum is of: a row of the input, or one of these.
struct Source {
  int32_t background, none;
  JAXSPARSE_ANYWHERE explicit Source(int64_t inputs)
      : background(static_cast<int32_t>(inputs)), none(static_cast<int32_t>(inputs + 1)) {}
};

struct SegmentSizes {
  int64_t rows, segments, channels;
};

// Rows that are put together by one thread.
inline constexpr int64_t kPieceRows = 1024;

}  // namespace jaxsparse::voxel
