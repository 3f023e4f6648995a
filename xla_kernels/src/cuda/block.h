// What the threads of a block do together: sums, prefix sums and minima of integers. All threads must call, and may use
// the same function again at once.
#pragma once

#include "dialect.h"

namespace jaxsparse::cuda {

template <class T>
struct Scan {
  T before;  // the sum over the threads before this one
  T total;   // over all threads
};

template <class T>
__device__ T warp_inclusive_scan(T x) {
  for (int by = 1; by < kWarp; by *= 2) {
    const T other = __shfl_up_sync(kAllLanes, x, by);
    if (lane_index() >= by) x += other;
  }
  return x;
}

template <class T>
__device__ Scan<T> block_scan(T x) {
  JAXSPARSE_SHARED(T, sums, kWarp);
  const int lane = lane_index(), warp = warp_index(), warps = static_cast<int>(blockDim.x) / kWarp;
  const T inclusive = warp_inclusive_scan(x);
  if (lane == kWarp - 1) sums[warp] = inclusive;
  __syncthreads();
  if (warp == 0) {
    const T of_warps = warp_inclusive_scan(lane < warps ? sums[lane] : T{0});
    __syncwarp();
    sums[lane] = of_warps;
  }
  __syncthreads();
  const Scan<T> out{(warp ? sums[warp - 1] : T{0}) + inclusive - x, sums[warps - 1]};
  __syncthreads();
  return out;
}

template <class T>
__device__ T block_min(T x) {
  JAXSPARSE_SHARED(T, least, kWarp);
  const int lane = lane_index(), warps = static_cast<int>(blockDim.x) / kWarp;
  for (int by = kWarp / 2; by > 0; by /= 2) {
    const T other = __shfl_xor_sync(kAllLanes, x, by);
    x = other < x ? other : x;
  }
  if (lane == 0) least[warp_index()] = x;
  __syncthreads();
  x = least[0];
  for (int w = 1; w < warps; ++w) x = least[w] < x ? least[w] : x;
  __syncthreads();
  return x;
}

}  // namespace jaxsparse::cuda
