// The threshold of a list of responses on the GPU, found digit by digit from histograms.
#pragma once

#include "../cuda/block.h"
#include "conv_cuda.h"

namespace jaxsparse {
namespace internal {

inline constexpr int kDigit = 11;
static_assert(kConvBins == 1 << kDigit);

// Bits [shift, shift + width) of a rank.
struct Digit {
  int shift, width;
};

// The bin of the digit that holds the weakest kept rank, by all threads of the last block of a list.
__device__ inline void settle_digit(ConvCut* cut, uint32_t* histogram, Digit digit, bool first, int64_t capacity,
                                    int32_t* found) {
  constexpr int kEach = kConvBins / cuda::kListThreads;
  const int top = static_cast<int>(kConvBins) - 1 - static_cast<int>(threadIdx.x) * kEach;
  int32_t bins[kEach], sum = 0;
  JAXSPARSE_UNROLL
  for (int i = 0; i < kEach; ++i) {
    bins[i] = static_cast<int32_t>(__ldcg(&histogram[top - i]));
    histogram[top - i] = 0;
    sum += bins[i];
  }
  const auto scan = cuda::block_scan(sum);
  const ConvCut before = first ? ConvCut{0, static_cast<int32_t>(capacity), 1} : *cut;
  __syncthreads();
  if (first && threadIdx.x == 0) *found = scan.total;
  if (first && scan.total <= capacity) {
    if (threadIdx.x == 0) *cut = {0, 0, 0};
    return;
  }
  int32_t left = before.ties - scan.before;
  if (left <= 0 || left > sum) return;
  int bin = top;
  JAXSPARSE_UNROLL
  for (int i = 0; i < kEach; ++i) {
    if (top - i != bin || bins[i] >= left) continue;
    left -= bins[i];
    --bin;
  }
  int32_t count = 0;
  JAXSPARSE_UNROLL
  for (int i = 0; i < kEach; ++i) count = top - i == bin ? bins[i] : count;
  const uint64_t rank = before.rank | static_cast<uint64_t>(bin) << digit.shift;
  if (count == left)
    *cut = {rank - 1, 0, 0};  // the whole bin stays; it is not the lowest, for something is cut
  else
    *cut = {rank, left, digit.shift > 0};
}

}  // namespace internal
}  // namespace jaxsparse
