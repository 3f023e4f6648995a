// A segment of a sum in the order of core/fixed_sum.h, by a block.
#pragma once

#include "../core/fixed_sum.h"
#include "chunks.h"
#include "dialect.h"

namespace jaxsparse::cuda {

static_assert(kSumParts == kListThreads, "a thread has one partial sum");

// The partial sums of the threads, added as segment_sum does; all get the sum, and may call it again at once.
template <class = void>
__device__ double block_sum_in_halves(double part) {
  JAXSPARSE_SHARED(double, parts, kSumParts);
  parts[threadIdx.x] = part;
  __syncthreads();
  for (unsigned half = kSumParts / 2; half > 0; half /= 2) {
    if (threadIdx.x < half) parts[threadIdx.x] += parts[threadIdx.x + half];
    __syncthreads();
  }
  const double sum = parts[0];
  __syncthreads();
  return sum;
}

}  // namespace jaxsparse::cuda
