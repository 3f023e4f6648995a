// The leaf loops of conv_lanes.h, written once over Lanes<A, L>. Included by conv_lanes_<isa>.cc only.
#pragma once

#include "../core/simd.h"
#include "conv_lanes.h"
#if !defined(__AVX2__)
#include "../core/dtype.h"
#endif

namespace jaxsparse::voxel::JAXSPARSE_ISA {

using jaxsparse::JAXSPARSE_ISA::fused;
using jaxsparse::JAXSPARSE_ISA::Lanes;

// A tile of kRows x kVectors registers of sums; with the second operand and one number of the first they must fit.
#if defined(__AVX512F__)
inline constexpr int kRows = 12, kVectors = 2;
template <class A>
inline constexpr int kLanes = 64 / sizeof(A);
#elif defined(__AVX2__)
inline constexpr int kRows = 6, kVectors = 2;
template <class A>
inline constexpr int kLanes = 32 / sizeof(A);
#else
inline constexpr int kRows = 4, kVectors = 1;
template <class A>
inline constexpr int kLanes = 16 / sizeof(A);
#endif

template <class A>
struct Rows {
  using V = Lanes<A, kLanes<A>>;
  static constexpr int L = kLanes<A>;
  static constexpr int64_t kWidth = kPanel<A>;

  // ---- products ----
  template <int kR, int kV>
  static inline __attribute__((always_inline)) void tile(const A* const* x, const A* w, int64_t depth, A* const* sums) {
    V acc[kR][kV];
#pragma GCC unroll 16
    for (int r = 0; r < kR; ++r)
#pragma GCC unroll 4
      for (int v = 0; v < kV; ++v) acc[r][v] = V::load(sums[r] + v * L);
    const A* row[kR];
#pragma GCC unroll 16
    for (int r = 0; r < kR; ++r) row[r] = x[r];
    for (int64_t c = 0; c < depth; ++c) {
      V b[kV];
#pragma GCC unroll 4
      for (int v = 0; v < kV; ++v) b[v] = V::load(w + c * kWidth + v * L);
#pragma GCC unroll 16
      for (int r = 0; r < kR; ++r) {
        const V a = V::splat(row[r][c]);
#pragma GCC unroll 4
        for (int v = 0; v < kV; ++v) acc[r][v] = V::fma(a, b[v], acc[r][v]);
      }
    }
#pragma GCC unroll 16
    for (int r = 0; r < kR; ++r)
#pragma GCC unroll 4
      for (int v = 0; v < kV; ++v) acc[r][v].store(sums[r] + v * L);
  }

  template <int kR, int kV>
  static void pairs_of(const Products<A>& p, int64_t from, int64_t c0, int64_t depth, const A* w, int64_t column) {
    const A* x[kR];
    A* sums[kR];
    for (int r = 0; r < kR; ++r) {
      x[r] = p.x + p.pairs.a[from + r] * p.x_pitch + c0;
      sums[r] = p.sums + p.pairs.b[from + r] * p.sums_pitch + column;
    }
    tile<kR, kV>(x, w, depth, sums);
  }

  template <int kV>
  static void columns_of(const Products<A>& p, int64_t c0, int64_t depth, const A* w, int64_t column) {
    int64_t i = 0;
    for (; i + kRows <= p.pairs.n; i += kRows) pairs_of<kRows, kV>(p, i, c0, depth, w, column);
    const int64_t rest = p.pairs.n - i;
    remainder<kV, kRows - 1>(p, i, rest, c0, depth, w, column);
  }
  template <int kV, int kR>
  static void remainder(const Products<A>& p, int64_t i, int64_t rest, int64_t c0, int64_t depth, const A* w,
                        int64_t column) {
    if constexpr (kR > 0) {
      if (rest == kR) return pairs_of<kR, kV>(p, i, c0, depth, w, column);
      remainder<kV, kR - 1>(p, i, rest, c0, depth, w, column);
    }
  }

  static constexpr int64_t kDepth = 256;

  static void products(const Products<A>& p) {
    for (int64_t c0 = 0; c0 < p.depth; c0 += kDepth) {
      const int64_t depth = p.depth - c0 < kDepth ? p.depth - c0 : kDepth;
      for (int64_t j = 0; j < p.columns; j += kWidth) {
        const A* w = p.w + j / kWidth * p.panel_stride + c0 * kWidth;
        int64_t at = 0;
        for (; at + (kVectors - 1) * L < kWidth && j + at + (kVectors - 1) * L < p.columns; at += kVectors * L)
          columns_of<kVectors>(p, c0, depth, w + at, j + at);
        for (; at < kWidth && j + at < p.columns; at += L) columns_of<1>(p, c0, depth, w + at, j + at);
      }
    }
  }

  // ---- outer products ----
  template <int kR, int kV>
  static void outer_tile(const OuterProducts<A>& p, int64_t c0, int64_t column) {
    V acc[kR][kV];
#pragma GCC unroll 16
    for (int r = 0; r < kR; ++r)
#pragma GCC unroll 4
      for (int v = 0; v < kV; ++v) acc[r][v] = V::splat(A{0});
    const A* x = p.x + c0;
    const A* g = p.g + column;
    for (int64_t i = 0; i < p.pairs.n; ++i) {
      const A* xi = x + p.pairs.a[i] * p.x_pitch;
      const A* gi = g + p.pairs.b[i] * p.g_pitch;
      V b[kV];
#pragma GCC unroll 4
      for (int v = 0; v < kV; ++v) b[v] = V::load(gi + v * L);
#pragma GCC unroll 16
      for (int r = 0; r < kR; ++r) {
        const V a = V::splat(xi[r]);
#pragma GCC unroll 4
        for (int v = 0; v < kV; ++v) acc[r][v] = V::fma(a, b[v], acc[r][v]);
      }
    }
#pragma GCC unroll 16
    for (int r = 0; r < kR; ++r)
#pragma GCC unroll 4
      for (int v = 0; v < kV; ++v) {
        A* to = p.out + (c0 + r) * p.out_pitch + column + v * L;
        (V::load(to) + acc[r][v]).store(to);
      }
  }
  template <int kV, int kR>
  static void outer_remainder(const OuterProducts<A>& p, int64_t rest, int64_t c0, int64_t column) {
    if constexpr (kR > 0) {
      if (rest == kR) return outer_tile<kR, kV>(p, c0, column);
      outer_remainder<kV, kR - 1>(p, rest, c0, column);
    }
  }
  template <int kV>
  static void outer_columns(const OuterProducts<A>& p, int64_t column) {
    int64_t c0 = 0;
    for (; c0 + kRows <= p.rows; c0 += kRows) outer_tile<kRows, kV>(p, c0, column);
    outer_remainder<kV, kRows - 1>(p, p.rows - c0, c0, column);
  }
  static void outer_products(const OuterProducts<A>& p) {
    if (p.pairs.n == 0) return;
    int64_t j = 0;
    for (; j + (kVectors - 1) * L < p.columns; j += kVectors * L) outer_columns<kVectors>(p, j);
    for (; j < p.columns; j += L) outer_columns<1>(p, j);
  }

  // ---- one channel a group ----
  static void scaled(const Products<A>& p) {
    for (int64_t i = 0; i < p.pairs.n; ++i) {
      const A* x = p.x + p.pairs.a[i] * p.x_pitch;
      A* sums = p.sums + p.pairs.b[i] * p.sums_pitch;
      int64_t j = 0;
      for (; j + L <= p.columns; j += L) V::fma(V::load(x + j), V::load(p.w + j), V::load(sums + j)).store(sums + j);
      for (; j < p.columns; ++j) sums[j] = fused(x[j], p.w[j], sums[j]);
    }
  }

  template <int kV>
  static void dot_tile(const OuterProducts<A>& p, int64_t j) {
    V acc[kV];
#pragma GCC unroll 4
    for (int v = 0; v < kV; ++v) acc[v] = V::splat(A{0});
    for (int64_t i = 0; i < p.pairs.n; ++i) {
      const A* x = p.x + p.pairs.a[i] * p.x_pitch + j;
      const A* g = p.g + p.pairs.b[i] * p.g_pitch + j;
#pragma GCC unroll 4
      for (int v = 0; v < kV; ++v) acc[v] = V::fma(V::load(x + v * L), V::load(g + v * L), acc[v]);
    }
#pragma GCC unroll 4
    for (int v = 0; v < kV; ++v) (V::load(p.out + j + v * L) + acc[v]).store(p.out + j + v * L);
  }
  static void dots(const OuterProducts<A>& p) {
    int64_t j = 0;
    for (; j + 4 * L <= p.columns; j += 4 * L) dot_tile<4>(p, j);
    for (; j + L <= p.columns; j += L) dot_tile<1>(p, j);
    for (; j < p.columns; ++j) {
      A sum{0};
      for (int64_t i = 0; i < p.pairs.n; ++i)
        sum = fused(p.x[p.pairs.a[i] * p.x_pitch + j], p.g[p.pairs.b[i] * p.g_pitch + j], sum);
      p.out[j] += sum;
    }
  }

  // ---- lists ----
  static int64_t compact(const int32_t* map, int64_t n, int64_t limit, int32_t* row, int32_t* at) {
    const auto end = static_cast<uint32_t>(limit);
    int64_t found = 0, i = 0;
#if defined(__AVX512F__)
    const __m512i iota = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const __m512i ends = _mm512_set1_epi32(static_cast<int32_t>(end));
    for (; i + 16 <= n; i += 16) {
      const __m512i here = _mm512_loadu_si512(map + i);
      const __mmask16 m = _mm512_cmplt_epu32_mask(here, ends);
      _mm512_storeu_si512(row + found, _mm512_maskz_compress_epi32(m, here));
      _mm512_storeu_si512(at + found, _mm512_maskz_compress_epi32(
                                          m, _mm512_add_epi32(iota, _mm512_set1_epi32(static_cast<int32_t>(i)))));
      found += __builtin_popcount(m);
    }
#elif defined(__AVX2__)
    const __m256i sign = _mm256_set1_epi32(INT32_MIN);
    const __m256i ends = _mm256_xor_si256(_mm256_set1_epi32(static_cast<int32_t>(end)), sign);
    for (; i + 8 <= n; i += 8) {
      const __m256i here = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(map + i));
      const __m256i below = _mm256_cmpgt_epi32(ends, _mm256_xor_si256(here, sign));
      const auto m = static_cast<uint32_t>(_mm256_movemask_ps(_mm256_castsi256_ps(below)));
      if (!m) continue;
      // Eight bytes of lane numbers, those with a set bit first.
      const uint64_t spread = _pdep_u64(m, 0x0101010101010101u) * 0xff;
      const uint64_t lanes = _pext_u64(0x0706050403020100u, spread);
      const __m256i order = _mm256_cvtepu8_epi32(_mm_cvtsi64_si128(static_cast<long long>(lanes)));
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(row + found), _mm256_permutevar8x32_epi32(here, order));
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(at + found),
                          _mm256_add_epi32(order, _mm256_set1_epi32(static_cast<int32_t>(i))));
      found += __builtin_popcount(m);
    }
#endif
    for (; i < n; ++i) {
      row[found] = map[i];
      at[found] = static_cast<int32_t>(i);
      found += static_cast<uint32_t>(map[i]) < end;
    }
    return found;
  }

  static const ConvOps<A>& ops() {
    static const ConvOps<A> table = {compact, products, outer_products, scaled, dots};
    return table;
  }
};

const ConvOps<float>& conv_ops_f32() { return Rows<float>::ops(); }
const ConvOps<double>& conv_ops_f64() { return Rows<double>::ops(); }

void widen_f16(const uint16_t* from, float* to, int64_t n) {
#if defined(__AVX2__) && defined(__F16C__)
  int64_t i = 0;
  for (; i + 8 <= n; i += 8)
    _mm256_storeu_ps(to + i, _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from + i))));
  for (; i < n; ++i) to[i] = _cvtsh_ss(from[i]);
#else
  for (int64_t i = 0; i < n; ++i) to[i] = to_accum(F16{from[i]});
#endif
}

}  // namespace jaxsparse::voxel::JAXSPARSE_ISA
