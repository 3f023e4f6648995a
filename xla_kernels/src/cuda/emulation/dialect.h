// The words of CUDA that the kernels use, for a C++ compiler. See ../dialect.h.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "scheduler.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __restrict__ __restrict

#define threadIdx (::jaxsparse::emulation::place().thread)
#define blockIdx (::jaxsparse::emulation::place().block)
#define blockDim (::jaxsparse::emulation::place().threads)
#define gridDim (::jaxsparse::emulation::place().blocks)

#define JAXSPARSE_SHARED(T, name, n)     \
  static const char name##_identity = 0; \
  T* const name =                        \
      static_cast<T*>(::jaxsparse::emulation::shared_array(&name##_identity, static_cast<int64_t>(sizeof(T)) * (n)))
#define JAXSPARSE_DYNAMIC_SHARED(T, name) T* const name = static_cast<T*>(::jaxsparse::emulation::dynamic_shared())

#define JAXSPARSE_HERE (::jaxsparse::emulation::Site{__FILE__, __LINE__})
#define __syncthreads() static_cast<void>(::jaxsparse::emulation::meet_block(JAXSPARSE_HERE, false))
#define __syncthreads_or(vote) (::jaxsparse::emulation::meet_block(JAXSPARSE_HERE, (vote) != 0) != 0)
#define __syncthreads_and(vote) (::jaxsparse::emulation::meet_block(JAXSPARSE_HERE, (vote) == 0) == 0)
#define __syncthreads_count(vote) (::jaxsparse::emulation::meet_block(JAXSPARSE_HERE, (vote) != 0))
#define __syncwarp(...) static_cast<void>(::jaxsparse::emulation::meet_warp(JAXSPARSE_HERE, 0xffffffffu, 0))
#define __ballot_sync(mask, vote) ::jaxsparse::emulation::ballot(JAXSPARSE_HERE, mask, (vote) != 0)
#define __any_sync(mask, vote) (::jaxsparse::emulation::ballot(JAXSPARSE_HERE, mask, (vote) != 0) != 0)
#define __all_sync(mask, vote) (::jaxsparse::emulation::ballot(JAXSPARSE_HERE, mask, (vote) != 0) == (mask))
#define __match_any_sync(mask, x) ::jaxsparse::emulation::match(JAXSPARSE_HERE, mask, static_cast<uint64_t>(x))
#define __shfl_sync(mask, x, lane) ::jaxsparse::emulation::shuffle(JAXSPARSE_HERE, mask, x, (lane) & 31)
#define __shfl_up_sync(mask, x, by) \
  ::jaxsparse::emulation::shuffle(JAXSPARSE_HERE, mask, x, ::jaxsparse::emulation::lane() - static_cast<int>(by))
#define __shfl_down_sync(mask, x, by) \
  ::jaxsparse::emulation::shuffle(JAXSPARSE_HERE, mask, x, ::jaxsparse::emulation::lane() + static_cast<int>(by))
#define __shfl_xor_sync(mask, x, by) \
  ::jaxsparse::emulation::shuffle(JAXSPARSE_HERE, mask, x, ::jaxsparse::emulation::lane() ^ static_cast<int>(by))

namespace jaxsparse::emulation {

inline int lane() { return static_cast<int>(place().thread.x % kWarpSize); }

inline uint32_t ballot(Site site, uint32_t mask, bool vote) {
  const uint64_t* votes = meet_warp(site, mask, vote);
  uint32_t out = 0;
  for (int l = 0; l < kWarpSize; ++l)
    if (mask >> l & 1) out |= static_cast<uint32_t>(votes[l]) << l;
  return out;
}

// The lanes that have the same number.
inline uint32_t match(Site site, uint32_t mask, uint64_t x) {
  const uint64_t* all = meet_warp(site, mask, x);
  uint32_t out = 0;
  for (int l = 0; l < kWarpSize; ++l)
    if (mask >> l & 1) out |= static_cast<uint32_t>(all[l] == x) << l;
  return out;
}

// A lane that is not in the warp leaves the number as it is; one that is not in the mask gives rubbish, as on a GPU.
template <class T>
T shuffle(Site site, uint32_t mask, T x, int from) {
  static_assert(sizeof(T) <= sizeof(uint64_t));
  uint64_t bits = 0;
  std::memcpy(&bits, &x, sizeof x);
  const uint64_t* all = meet_warp(site, mask, bits);
  if (from < 0 || from >= kWarpSize) return x;
  bits = mask >> from & 1 ? all[from] : 0xababababababababull;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}

template <class T, class F>
T exchange(T* at, F&& f) {
  const T before = *at;
  *at = f(before);
  return before;
}

}  // namespace jaxsparse::emulation

// One thread runs at a time, and none stops between reading and writing.
template <class T>
T atomicAdd(T* at, T x) {
  static_assert(std::is_integral_v<T>, "sums of floats must have an order");
  return jaxsparse::emulation::exchange(at, [&](T old) { return static_cast<T>(old + x); });
}
template <class T>
T atomicMax(T* at, T x) {
  return jaxsparse::emulation::exchange(at, [&](T old) { return old > x ? old : x; });
}
template <class T>
T atomicMin(T* at, T x) {
  return jaxsparse::emulation::exchange(at, [&](T old) { return old < x ? old : x; });
}
template <class T>
T atomicOr(T* at, T x) {
  return jaxsparse::emulation::exchange(at, [&](T old) { return static_cast<T>(old | x); });
}
template <class T>
T atomicAnd(T* at, T x) {
  return jaxsparse::emulation::exchange(at, [&](T old) { return static_cast<T>(old & x); });
}
template <class T>
T atomicExch(T* at, T x) {
  return jaxsparse::emulation::exchange(at, [&](T) { return x; });
}
template <class T>
T atomicCAS(T* at, T expected, T x) {
  return jaxsparse::emulation::exchange(at, [&](T old) { return old == expected ? x : old; });
}

inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __ffsll(long long x) { return __builtin_ffsll(x); }
inline int __clz(int x) { return x ? __builtin_clz(static_cast<unsigned>(x)) : 32; }
inline unsigned __brev(unsigned x) {
  unsigned out = 0;
  for (int i = 0; i < 32; ++i) out |= (x >> i & 1u) << (31 - i);
  return out;
}
inline unsigned __funnelshift_r(unsigned low, unsigned high, unsigned by) {
  return static_cast<unsigned>((static_cast<uint64_t>(high) << 32 | low) >> (by & 31));
}
inline unsigned __funnelshift_l(unsigned low, unsigned high, unsigned by) {
  return static_cast<unsigned>((static_cast<uint64_t>(high) << 32 | low) << (by & 31) >> 32);
}
template <class T>
T __ldg(const T* p) {
  return *p;
}
template <class T>
T __ldcg(const T* p) {
  return *p;
}
inline void __threadfence() {}
inline float __fmaf_rn(float a, float b, float c) { return std::fma(a, b, c); }
inline double __fma_rn(double a, double b, double c) { return std::fma(a, b, c); }
