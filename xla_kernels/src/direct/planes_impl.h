// The leaf loops of lanes.h over planes, whatever their number. Included by lanes_impl.h only.
#pragma once

#include "../core/simd.h"
#include "lanes.h"

namespace jaxsparse {
namespace JAXSPARSE_ISA {

template <class A>
struct PlaneLeaf {
  static void accumulate(A* cells, int64_t stride, const Span<A>* spans, int64_t count) {
    for (int64_t s = 0; s < count; ++s) {
      const Span<A>& span = spans[s];
      const int64_t* position = span.position;
      const A* value = span.value;
      const int64_t n = span.n;
      for (int k = 0; k < span.taps; ++k) {
        A* plane = cells + span.shift[k];
        const A* weight = span.weight[k];
        uint32_t m = span.live[k];
        for (; m & (m - 1); m &= m - 1, m &= m - 1) {  // two lanes share what is read of an entry
          const int one = __builtin_ctz(m), two = __builtin_ctz(m & (m - 1));
          A *first = plane + one * stride, *second = plane + two * stride;
          const A w1 = weight[one], w2 = weight[two];
          for (int64_t i = 0; i < n; ++i) {
            const int64_t at = position[i];
            first[at] = fused(value[i], w1, first[at]);
            second[at] = fused(value[i], w2, second[at]);
          }
        }
        if (!m) continue;
        const int l = __builtin_ctz(m);
        A* only = plane + l * stride;
        const A w = weight[l];
        for (int64_t i = 0; i < n; ++i) only[position[i]] = fused(value[i], w, only[position[i]]);
      }
    }
  }

  static void pack(Planes<A>& planes, const uint64_t* blocks, int64_t begin, int64_t end, int32_t key,
                   const ResponseRule<A>& rule) {
    constexpr int64_t kBlock = int64_t{1} << kPlaneBlockShift;
    for (int64_t block = begin >> kPlaneBlockShift; block << kPlaneBlockShift < end; ++block) {
      if (!((blocks[block >> 6] >> (block & 63)) & 1u)) continue;
      const int64_t base = block << kPlaneBlockShift;
      const int32_t base_key = key + static_cast<int32_t>(base - begin);
      uint32_t inside = (uint32_t{1} << kBlock) - 1u;
      if (base < begin) inside &= inside << (begin - base);
      if (base + kBlock > end) inside &= inside >> (base + kBlock - end);
      for (uint32_t lanes = rule.lanes; lanes; lanes &= lanes - 1)
        pack_block(planes, __builtin_ctz(lanes), base, base_key, inside, rule);
    }
  }

  // The cells of lane l behind `base` whose bits are set in `inside`. Packed ones never reach a cell to come.
  static void pack_block(Planes<A>& planes, int l, int64_t base, int32_t base_key, uint32_t inside,
                         const ResponseRule<A>& rule) {
    A* plane = planes.cells + l * planes.stride;
    int32_t* keys = planes.key + l * planes.key_stride;
    int64_t n = planes.n[l];
#if defined(__AVX512F__)
    if constexpr (sizeof(A) == 4) {
      const __m512 sum = _mm512_loadu_ps(plane + base);
      __mmask16 m = static_cast<__mmask16>(inside) & _mm512_cmp_ps_mask(sum, _mm512_setzero_ps(), _CMP_NEQ_UQ);
      if (!m) return;
      const __m512 v = _mm512_add_ps(sum, _mm512_set1_ps(rule.bias[l]));
      if (rule.rule == Rule::kRelu) m &= _mm512_cmp_ps_mask(v, _mm512_setzero_ps(), _CMP_NLE_UQ);
      planes.found[l] += __builtin_popcount(m);
      const __m512 score = rule.rule == Rule::kMagnitude ? _mm512_abs_ps(v) : v;
      m &= _mm512_cmp_ps_mask(score, _mm512_set1_ps(rule.floor[l]), _CMP_NLT_UQ);
      const int found = __builtin_popcount(m);
      const auto tail = static_cast<__mmask16>((1u << found) - 1u);
      const __m512i iota = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
      const __m512i key = _mm512_add_epi32(iota, _mm512_set1_epi32(base_key));
      _mm512_mask_storeu_epi32(keys + n, tail, _mm512_maskz_compress_epi32(m, key));
      _mm512_mask_storeu_ps(plane + n, tail, _mm512_maskz_compress_ps(m, v));
      planes.n[l] = n + found;
      return;
    }
#endif
    using Cells = Lanes<A, 8>;
    const Cells bias = Cells::splat(rule.bias[l]), floor = Cells::splat(rule.floor[l]);
    for (int half = 0; half < 1 << kPlaneBlockShift; half += 8) {
      const Cells sum = Cells::load(plane + base + half);
      uint32_t m = sum.nonzero() & (inside >> half) & 255u;
      if (!m) continue;
      const Cells response = sum + bias;
      if (rule.rule == Rule::kRelu) m &= response.not_at_or_below_zero();
      planes.found[l] += __builtin_popcount(m);
      m &= (rule.rule == Rule::kMagnitude ? response.absolute() : response).not_less(floor);
      A value[8];
      response.store(value);
      for (; m; m &= m - 1, ++n) {
        const int c = __builtin_ctz(m);
        keys[n] = base_key + half + c;
        plane[n] = value[c];
      }
    }
    planes.n[l] = n;
  }

  static int64_t filter(int32_t* keys, A* values, int64_t n, Rule rule, A bound) {
    int64_t kept = 0, i = 0;
#if defined(__AVX512F__)
    if constexpr (sizeof(A) == 4) {
      for (; i + 16 <= n; i += 16) {
        const __m512 v = _mm512_loadu_ps(values + i);
        const __m512i key = _mm512_loadu_si512(keys + i);
        const __m512 score = rule == Rule::kMagnitude ? _mm512_abs_ps(v) : v;
        const __mmask16 m = _mm512_cmp_ps_mask(score, _mm512_set1_ps(bound), _CMP_NLT_UQ);
        if (!m) continue;
        const int found = __builtin_popcount(m);
        const auto tail = static_cast<__mmask16>((1u << found) - 1u);
        _mm512_mask_storeu_epi32(keys + kept, tail, _mm512_maskz_compress_epi32(m, key));
        _mm512_mask_storeu_ps(values + kept, tail, _mm512_maskz_compress_ps(m, v));
        kept += found;
      }
    }
#endif
    for (; i < n; ++i) {
      const A value = values[i], score = rule == Rule::kMagnitude && value < A{0} ? -value : value;
      keys[kept] = keys[i];
      values[kept] = value;
      kept += !(score < bound);
    }
    return kept;
  }
};

}  // namespace JAXSPARSE_ISA
}  // namespace jaxsparse
