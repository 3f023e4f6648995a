// Lanes<A, L>: L numbers that move together. Included by one translation unit per instruction set, which
// defines JAXSPARSE_ISA; everything here lives in that namespace, so that no function compiled for a
// newer processor can be linked into the others' code.
#pragma once

#include <cstdint>
#if defined(__AVX2__)
#include <immintrin.h>
#endif

#ifndef JAXSPARSE_ISA
#error "define JAXSPARSE_ISA before including simd.h"
#endif

namespace jaxsparse {
namespace JAXSPARSE_ISA {

inline float fused(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
inline double fused(double a, double b, double c) { return __builtin_fma(a, b, c); }

// The twin of every vector path: plain loops.
template <class A, int L>
struct Lanes {
  A v[L];
  static Lanes load(const A* p) {
    Lanes r;
    for (int i = 0; i < L; ++i) r.v[i] = p[i];
    return r;
  }
  static Lanes splat(A x) {
    Lanes r;
    for (int i = 0; i < L; ++i) r.v[i] = x;
    return r;
  }
  void store(A* p) const {
    for (int i = 0; i < L; ++i) p[i] = v[i];
  }
  static Lanes fma(const Lanes& a, const Lanes& b, const Lanes& c) {
    Lanes r;
    for (int i = 0; i < L; ++i) r.v[i] = fused(a.v[i], b.v[i], c.v[i]);
    return r;
  }
  Lanes operator+(const Lanes& b) const {
    Lanes r;
    for (int i = 0; i < L; ++i) r.v[i] = v[i] + b.v[i];
    return r;
  }
  // Masks; a NaN is nonzero, not less than anything, not below or at zero.
  uint32_t nonzero() const {
    uint32_t m = 0;
    for (int i = 0; i < L; ++i) m |= static_cast<uint32_t>(v[i] != A{0}) << i;
    return m;
  }
  uint32_t not_less(const Lanes& b) const {
    uint32_t m = 0;
    for (int i = 0; i < L; ++i) m |= static_cast<uint32_t>(!(v[i] < b.v[i])) << i;
    return m;
  }
  uint32_t not_at_or_below_zero() const {
    uint32_t m = 0;
    for (int i = 0; i < L; ++i) m |= static_cast<uint32_t>(!(v[i] <= A{0})) << i;
    return m;
  }
  Lanes absolute() const {
    Lanes r;
    for (int i = 0; i < L; ++i) r.v[i] = v[i] < A{0} ? -v[i] : v[i];
    return r;
  }
};

#if defined(__AVX2__) && defined(__FMA__)

#define JAXSPARSE_LANES(A, L, V, PRE, SUFFIX)                                                                      \
  template <>                                                                                                      \
  struct Lanes<A, L> {                                                                                             \
    V v;                                                                                                           \
    static Lanes load(const A* p) { return {PRE##_loadu_##SUFFIX(p)}; }                                            \
    static Lanes splat(A x) { return {PRE##_set1_##SUFFIX(x)}; }                                                   \
    void store(A* p) const { PRE##_storeu_##SUFFIX(p, v); }                                                        \
    static Lanes fma(Lanes a, Lanes b, Lanes c) { return {PRE##_fmadd_##SUFFIX(a.v, b.v, c.v)}; }                  \
    Lanes operator+(Lanes b) const { return {PRE##_add_##SUFFIX(v, b.v)}; }                                        \
    Lanes absolute() const { return {PRE##_andnot_##SUFFIX(PRE##_set1_##SUFFIX(A(-0.0)), v)}; }                    \
    uint32_t nonzero() const { return mask_of(v, PRE##_setzero_##SUFFIX(), Compare<_CMP_NEQ_UQ>{}); }              \
    uint32_t not_less(Lanes b) const { return mask_of(v, b.v, Compare<_CMP_NLT_UQ>{}); }                           \
    uint32_t not_at_or_below_zero() const { return mask_of(v, PRE##_setzero_##SUFFIX(), Compare<_CMP_NLE_UQ>{}); } \
  };

template <int kPredicate>
struct Compare {};

#if defined(__AVX512F__) && defined(__AVX512VL__) && defined(__AVX512DQ__)
template <int kP>
inline uint32_t mask_of(__m512 a, __m512 b, Compare<kP>) {
  return _mm512_cmp_ps_mask(a, b, kP);
}
template <int kP>
inline uint32_t mask_of(__m256 a, __m256 b, Compare<kP>) {
  return _mm256_cmp_ps_mask(a, b, kP);
}
template <int kP>
inline uint32_t mask_of(__m512d a, __m512d b, Compare<kP>) {
  return _mm512_cmp_pd_mask(a, b, kP);
}
JAXSPARSE_LANES(float, 16, __m512, _mm512, ps)
JAXSPARSE_LANES(float, 8, __m256, _mm256, ps)
JAXSPARSE_LANES(double, 8, __m512d, _mm512, pd)
#else
template <int kP>
inline uint32_t mask_of(__m256 a, __m256 b, Compare<kP>) {
  return static_cast<uint32_t>(_mm256_movemask_ps(_mm256_cmp_ps(a, b, kP)));
}
template <int kP>
inline uint32_t mask_of(__m256d a, __m256d b, Compare<kP>) {
  return static_cast<uint32_t>(_mm256_movemask_pd(_mm256_cmp_pd(a, b, kP)));
}
JAXSPARSE_LANES(float, 8, __m256, _mm256, ps)
JAXSPARSE_LANES(double, 4, __m256d, _mm256, pd)
#endif
#undef JAXSPARSE_LANES

// Two registers as one wider vector.
template <class A, int L>
struct LanePair {
  using Half = Lanes<A, L / 2>;
  Half low, high;
  static Lanes<A, L> make(Half a, Half b) { return {{a, b}}; }
  static Lanes<A, L> load(const A* p) { return make(Half::load(p), Half::load(p + L / 2)); }
  static Lanes<A, L> splat(A x) { return make(Half::splat(x), Half::splat(x)); }
  void store(A* p) const {
    low.store(p);
    high.store(p + L / 2);
  }
  static Lanes<A, L> fma(const LanePair& a, const LanePair& b, const LanePair& c) {
    return make(Half::fma(a.low, b.low, c.low), Half::fma(a.high, b.high, c.high));
  }
  Lanes<A, L> operator+(const LanePair& b) const { return make(low + b.low, high + b.high); }
  Lanes<A, L> absolute() const { return make(low.absolute(), high.absolute()); }
  uint32_t nonzero() const { return low.nonzero() | high.nonzero() << (L / 2); }
  uint32_t not_less(const LanePair& b) const { return low.not_less(b.low) | high.not_less(b.high) << (L / 2); }
  uint32_t not_at_or_below_zero() const { return low.not_at_or_below_zero() | high.not_at_or_below_zero() << (L / 2); }
};
#if !defined(__AVX512F__)
template <>
struct Lanes<float, 16> : LanePair<float, 16> {};
template <>
struct Lanes<double, 8> : LanePair<double, 8> {};
#endif
template <>
struct Lanes<double, 16> : LanePair<double, 16> {};

#endif  // AVX2

}  // namespace JAXSPARSE_ISA
}  // namespace jaxsparse
