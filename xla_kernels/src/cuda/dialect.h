// What a kernel's source may use. nvcc compiles it for the GPU; a C++ compiler compiles the same source for the CPU,
// where an emulation runs it (emulation/scheduler.h), so that tests execute every kernel on machines without a GPU.
//
// It is CUDA, and within these limits:
//   * Blocks and grids have one dimension, blocks whole warps. All threads of a block meet at the same barriers, and
//   none
//     leaves before the last one.
//   * Shared memory is declared by the macros below. A block waits for no other block.
//   * Warp operations name their lanes: kAllLanes, as a rule.
//   * JAXSPARSE_UNROLL before a loop unrolls it, so that arrays it indexes stay in registers.
//   * Floats are never added atomically. Fused multiply-adds are written out: fused(a, b, c).
#pragma once

#include <cstdint>

#if defined(__CUDACC__)
#include <cuda_runtime.h>
#define JAXSPARSE_UNROLL _Pragma("unroll")
#define JAXSPARSE_SHARED(T, name, n) __shared__ T name[n]
#define JAXSPARSE_DYNAMIC_SHARED(T, name)                                   \
  extern __shared__ __align__(16) unsigned char jaxsparse_dynamic_shared[]; \
  T* const name = reinterpret_cast<T*>(jaxsparse_dynamic_shared)
#else
#define JAXSPARSE_UNROLL
#include "emulation/dialect.h"
#endif

namespace jaxsparse::cuda {

inline constexpr unsigned kAllLanes = 0xffffffffu;
inline constexpr int kWarp = 32;

__device__ __forceinline__ int lane_index() { return static_cast<int>(threadIdx.x) % kWarp; }
__device__ __forceinline__ int warp_index() { return static_cast<int>(threadIdx.x) / kWarp; }

__device__ __forceinline__ float fused(float a, float b, float c) { return __fmaf_rn(a, b, c); }
__device__ __forceinline__ double fused(double a, double b, double c) { return __fma_rn(a, b, c); }

}  // namespace jaxsparse::cuda
