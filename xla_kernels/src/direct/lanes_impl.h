// The leaf loops of lanes.h, written once over Lanes<A, L>. Included by lanes_<isa>.cc only.
#pragma once

#include "../core/simd.h"
#include "lanes.h"
#include "planes_impl.h"

namespace jaxsparse {
namespace JAXSPARSE_ISA {

// Counts set bits lane by lane.
template <int L>
struct Tally {
#if defined(__AVX512F__)
  __m512i sums = _mm512_setzero_si512();
  void add(uint32_t mask) {
    sums = _mm512_mask_add_epi32(sums, static_cast<__mmask16>(mask), sums, _mm512_set1_epi32(1));
  }
  void store(int64_t* out) const {
    alignas(64) int32_t lane[16];
    _mm512_store_si512(lane, sums);
    for (int l = 0; l < L; ++l) out[l] = lane[l];
  }
#else
  // Four lanes share a word: eight bits each hold 255 steps between two spills.
  int64_t total[L] = {};
  uint32_t packed[L / 4] = {};
  int steps = 0;
  void add(uint32_t mask) {
    for (int w = 0; w < L / 4; ++w) packed[w] += spread((mask >> (4 * w)) & 15u);
    if (++steps == 255) spill();
  }
  static uint32_t spread(uint32_t nibble) { return (nibble * 0x00204081u) & 0x01010101u; }
  void spill() {
    for (int l = 0; l < L; ++l) total[l] += (packed[l / 4] >> (l % 4 * 8)) & 255u;
    for (int w = 0; w < L / 4; ++w) packed[w] = 0;
    steps = 0;
  }
  void store(int64_t* out) {
    spill();
    for (int l = 0; l < L; ++l) out[l] = total[l];
  }
#endif
};

template <class A, int L>
struct Leaf {
  using V = Lanes<A, L>;

  static void accumulate(A* cells, const Span<A>* spans, int64_t count) {
    for (int64_t s = 0; s < count; ++s) {
      switch (spans[s].taps) {
        case 1:
          accumulate_taps<1>(cells, spans[s]);
          break;
        case 2:
          accumulate_taps<2>(cells, spans[s]);
          break;
        default:
          accumulate_taps<3>(cells, spans[s]);
      }
    }
  }

  template <int kTaps>
  static void accumulate_taps(A* cells, const Span<A>& span) {
    V weight[kTaps];
    A* base[kTaps];
    for (int k = 0; k < kTaps; ++k) {
      weight[k] = V::load(span.weight[k]);
      base[k] = cells + span.shift[k] * L;
    }
    for (int64_t i = 0; i < span.n; ++i) {
      const V value = V::splat(span.value[i]);
      const int64_t at = span.position[i] * L;
      for (int k = 0; k < kTaps; ++k) V::fma(value, weight[k], V::load(base[k] + at)).store(base[k] + at);
    }
  }

  static void accumulate_exact(A* cells, const Span<A>* spans, int64_t count) {
    for (int64_t s = 0; s < count; ++s) {
      const Span<A>& span = spans[s];
      for (int64_t i = 0; i < span.n; ++i) {
        for (int k = 0; k < span.taps; ++k) {
          A* cell = cells + (span.position[i] + span.shift[k]) * L;
          for (uint32_t m = span.live[k]; m; m &= m - 1) {
            const int l = __builtin_ctz(m);
            cell[l] = fused(span.value[i], span.weight[k][l], cell[l]);
          }
        }
      }
    }
  }

  static void append_cells(CellList& list, const uint64_t* bits, int64_t begin, int64_t end, int32_t key) {
    int64_t n = list.n;
    const int32_t to_key = key - static_cast<int32_t>(begin);
    if (!bits) {
      for (int64_t c = begin; c < end; ++c, ++n) {
        list.cell[n] = static_cast<int32_t>(c);
        list.key[n] = static_cast<int32_t>(c) + to_key;
      }
      list.n = n;
      return;
    }
    for (int64_t word = begin >> 6; word << 6 < end; ++word) {
      uint64_t w = bits[word];
      const int64_t base = word << 6;
      if (base < begin) w &= ~uint64_t{0} << (begin - base);
      if (base + 64 > end) w &= ~uint64_t{0} >> (base + 64 - end);
#if defined(__AVX512F__)
      const __m512i iota = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
      for (int part = 0; w; ++part, w >>= 16) {
        const auto m = static_cast<__mmask16>(w);
        if (!m) continue;
        const __m512i cell = _mm512_add_epi32(iota, _mm512_set1_epi32(static_cast<int32_t>(base) + part * 16));
        const int found = __builtin_popcount(m);
        const auto tail = static_cast<__mmask16>((1u << found) - 1u);
        const __m512i packed = _mm512_maskz_compress_epi32(m, cell);
        _mm512_mask_storeu_epi32(list.cell + n, tail, packed);
        _mm512_mask_storeu_epi32(list.key + n, tail, _mm512_add_epi32(packed, _mm512_set1_epi32(to_key)));
        n += found;
      }
#else
      for (; w; w &= w - 1, ++n) {
        const auto cell = static_cast<int32_t>(base + __builtin_ctzll(w));
        list.cell[n] = cell;
        list.key[n] = cell + to_key;
      }
#endif
    }
    list.n = n;
  }

  // The response of a cell and which lanes of it are candidates.
  static uint32_t respond(V sum, const ResponseRule<A>& rule, V bias, V* response) {
    uint32_t m = sum.nonzero() & rule.lanes;
    *response = sum + bias;
    if (rule.rule == Rule::kRelu) m &= response->not_at_or_below_zero();
    return m;
  }
  static V score_of(V response, Rule rule) { return rule == Rule::kMagnitude ? response.absolute() : response; }

  static void count(A* cells, CellList& list, const ResponseRule<A>& rule, int64_t* counts, int64_t* passed) {
    const V bias = V::load(rule.bias), floor = V::load(rule.floor);
    V response;
    Tally<L> all, pass;
    int64_t kept = 0;
    for (int64_t i = 0; i < list.n; ++i) {
      const int32_t key = list.key[i];
      A* cell = cells + int64_t{list.cell[i]} * L;
      const V sum = V::load(cell);
      const uint32_t m = respond(sum, rule, bias, &response);
      const uint32_t over = m & score_of(response, rule.rule).not_less(floor);
      all.add(m);
      pass.add(over);
      V::splat(A{0}).store(cell);
      sum.store(cells + kept * L);  // kept <= i <= cell: no cell that is still to come is overwritten
      list.key[kept] = key;
      kept += over != 0;
    }
    // Then the last store lies behind the packed cells.
    if (kept < list.n) V::splat(A{0}).store(cells + kept * L);
    list.n = kept;
    all.store(counts);
    pass.store(passed);
  }

  static void sample(const A* cells, const CellList& list, int64_t step, const ResponseRule<A>& rule, Rank<A>* ranks,
                     int64_t room, int64_t* n) {
    const V bias = V::load(rule.bias);
    V response;
    for (int64_t i = 0; i < list.n; i += step) {
      uint32_t m = respond(V::load(cells + i * L), rule, bias, &response);
      A value[L];
      response.store(value);
      for (; m; m &= m - 1) {
        const int l = __builtin_ctz(m);
        if (n[l] < room) ranks[l * room + n[l]++] = rank_in_lane(value[l], rule.rule);
      }
    }
  }

  static void emit_all(const A* cells, const CellList& list, const ResponseRule<A>& rule, EmitState<A>& out) {
    const V bias = V::load(rule.bias), floor = V::load(rule.floor);
    V response;
    int64_t i = 0;
#if defined(__AVX512F__)
    if constexpr (sizeof(A) == 4) i = emit_transposed(cells, list, rule, out);
#endif
    for (; i < list.n; ++i) {
      uint32_t m = respond(V::load(cells + i * L), rule, bias, &response);
      m &= score_of(response, rule.rule).not_less(floor);
      if (!m) continue;
      A value[L];
      response.store(value);
      for (; m; m &= m - 1) {
        const int l = __builtin_ctz(m);
        *out.key[l]++ = list.key[i];
        *out.value[l]++ = value[l];
      }
    }
  }

#if defined(__AVX512F__)
  // Sixteen cells at a time: transpose to one register a lane, then pack each lane's candidates.
  static int64_t emit_transposed(const float* cells, const CellList& list, const ResponseRule<float>& rule,
                                 EmitState<float>& out) {
    int64_t i = 0;
    for (; i + 16 <= list.n; i += 16) {
      const __m512i keys = _mm512_loadu_si512(list.key + i);
      for (int half = 0; half < L; half += 8) {
        __m512 column[8];
        transpose(cells + i * L + half, column);
        for (int c = 0; c < 8; ++c) {
          const int l = half + c;
          if (!((rule.lanes >> l) & 1u)) continue;
          __mmask16 m = _mm512_cmp_ps_mask(column[c], _mm512_setzero_ps(), _CMP_NEQ_UQ);
          const __m512 v = _mm512_add_ps(column[c], _mm512_set1_ps(rule.bias[l]));
          if (rule.rule == Rule::kRelu) m &= _mm512_cmp_ps_mask(v, _mm512_setzero_ps(), _CMP_NLE_UQ);
          const __m512 score = rule.rule == Rule::kMagnitude ? _mm512_abs_ps(v) : v;
          m &= _mm512_cmp_ps_mask(score, _mm512_set1_ps(rule.floor[l]), _CMP_NLT_UQ);
          const int found = __builtin_popcount(m);
          const auto tail = static_cast<__mmask16>((1u << found) - 1u);
          _mm512_mask_storeu_epi32(out.key[l], tail, _mm512_maskz_compress_epi32(m, keys));
          _mm512_mask_storeu_ps(out.value[l], tail, _mm512_maskz_compress_ps(m, v));
          out.key[l] += found;
          out.value[l] += found;
        }
      }
    }
    return i;
  }

  // Eight numbers from each of sixteen cells; column[c][j] is number c of cell j.
  static void transpose(const float* cells, __m512* column) {
    __m512 pair[8];  // cells j and j + 8 side by side
    for (int j = 0; j < 8; ++j) {
      pair[j] = _mm512_insertf32x8(_mm512_castps256_ps512(_mm256_loadu_ps(cells + j * L)),
                                   _mm256_loadu_ps(cells + (j + 8) * L), 1);
    }
    __m512 t[8], u[8];
    for (int j = 0; j < 4; ++j) {
      t[2 * j] = _mm512_unpacklo_ps(pair[2 * j], pair[2 * j + 1]);
      t[2 * j + 1] = _mm512_unpackhi_ps(pair[2 * j], pair[2 * j + 1]);
    }
    for (int j = 0; j < 2; ++j) {
      u[4 * j + 0] = _mm512_shuffle_ps(t[4 * j], t[4 * j + 2], 0x44);
      u[4 * j + 1] = _mm512_shuffle_ps(t[4 * j], t[4 * j + 2], 0xee);
      u[4 * j + 2] = _mm512_shuffle_ps(t[4 * j + 1], t[4 * j + 3], 0x44);
      u[4 * j + 3] = _mm512_shuffle_ps(t[4 * j + 1], t[4 * j + 3], 0xee);
    }
    // u[k] holds columns k and k + 4 of cells 0-3 (k < 4) or 4-7, in 128-bit quarters, for both cell groups.
    const __m512i low = _mm512_setr_epi32(0, 1, 2, 3, 16, 17, 18, 19, 8, 9, 10, 11, 24, 25, 26, 27);
    const __m512i high = _mm512_setr_epi32(4, 5, 6, 7, 20, 21, 22, 23, 12, 13, 14, 15, 28, 29, 30, 31);
    for (int k = 0; k < 4; ++k) {
      column[k] = _mm512_permutex2var_ps(u[k], low, u[k + 4]);
      column[k + 4] = _mm512_permutex2var_ps(u[k], high, u[k + 4]);
    }
  }
#endif

  static int64_t emit_bounded(const A* cells, const CellList& list, int64_t from, const ResponseRule<A>& rule,
                              EmitState<A>& out) {
    const V bias = V::load(rule.bias), floor = V::load(rule.floor), bound = V::load(out.bound);
    V response;
    for (int64_t i = from; i < list.n; ++i) {
      uint32_t m = respond(V::load(cells + i * L), rule, bias, &response);
      if (!m) continue;
      const V score = score_of(response, rule.rule);
      m &= score.not_less(bound) & score.not_less(floor);
      if (!m) continue;
      A value[L];
      response.store(value);
      bool full = false;
      for (; m; m &= m - 1) {
        const int l = __builtin_ctz(m);
        if (out.room[l] > 0) {
          --out.room[l];
          *out.key[l]++ = list.key[i];
          *out.value[l]++ = value[l];
          continue;
        }
        const Rank<A> rank = rank_in_lane(value[l], rule.rule);
        if (rank < out.bound_rank[l]) continue;
        if (rank == out.bound_rank[l] && list.key[i] > out.bound_key[l]) continue;
        const int64_t at = out.side_n[l]++;
        out.side_key[l][at] = list.key[i];
        out.side_value[l][at] = value[l];
        full |= at + 1 == out.side_capacity;
      }
      if (full) return i + 1;
    }
    return list.n;
  }

  // score.h's rank_of, compiled for this instruction set.
  static Rank<A> rank_in_lane(A value, Rule rule) {
    using R = Rank<A>;
    constexpr R kSign = R{1} << (sizeof(R) * 8 - 1);
    if (value != value) return ~R{0};
    R bits;
    __builtin_memcpy(&bits, &value, sizeof bits);
    if (value == A{0}) bits = 0;
    if (rule == Rule::kMagnitude) return (bits & ~kSign) | kSign;
    return (bits & kSign) ? static_cast<R>(~bits) : static_cast<R>(bits | kSign);
  }

  static void input_grad(const int64_t* position, int64_t n, int64_t origin, const WindowTap<A>* taps, int64_t count,
                         int channels, A* sums) {
    for (int64_t i = 0; i < n; ++i) {
      const int64_t at = (position[i] - origin) * L;
      V acc = V::splat(A{0});
      if (count && taps[0].present) {
        A lane[L] = {};
        for (int64_t t = 0; t < count; ++t) {
          const A* cell = taps[t].cells + at;
          for (uint32_t m = taps[t].live & taps[t].present[position[i] - origin]; m; m &= m - 1) {
            const int l = __builtin_ctz(m);
            lane[l] = fused(cell[l], taps[t].weight[l], lane[l]);
          }
        }
        acc = V::load(lane);
      } else {
        for (int64_t t = 0; t < count; ++t) acc = V::fma(V::load(taps[t].cells + at), V::load(taps[t].weight), acc);
      }
      A lane[L];
      acc.store(lane);
      A sum = sums[i];
      for (int l = 0; l < channels; ++l) sum += lane[l];
      sums[i] = sum;
    }
  }

  static void kernel_grad(const int64_t* position, const A* value, int64_t n, int64_t origin, const WindowTap<A>* taps,
                          int64_t count) {
    if (count && taps[0].present) {
      for (int64_t t = 0; t < count; ++t) {
        for (int64_t i = 0; i < n; ++i) {
          const A* cell = taps[t].cells + (position[i] - origin) * L;
          for (uint32_t m = taps[t].live & taps[t].present[position[i] - origin]; m; m &= m - 1) {
            const int l = __builtin_ctz(m);
            taps[t].weight_sum[l] = fused(value[i], cell[l], taps[t].weight_sum[l]);
          }
        }
      }
      return;
    }
    int64_t t = 0;
    for (; t + 4 <= count; t += 4) taps_together<4>(position, value, n, origin, taps + t);
    for (; t < count; ++t) taps_together<1>(position, value, n, origin, taps + t);
  }

  template <int kTaps>
  static void taps_together(const int64_t* position, const A* value, int64_t n, int64_t origin,
                            const WindowTap<A>* taps) {
    V sum[kTaps];
    for (int k = 0; k < kTaps; ++k) sum[k] = V::load(taps[k].weight_sum);
    for (int64_t i = 0; i < n; ++i) {
      const int64_t at = (position[i] - origin) * L;
      const V x = V::splat(value[i]);
      for (int k = 0; k < kTaps; ++k) sum[k] = V::fma(x, V::load(taps[k].cells + at), sum[k]);
    }
    for (int k = 0; k < kTaps; ++k) sum[k].store(taps[k].weight_sum);
  }

  static const LaneOps<A>& ops() {
    using P = PlaneLeaf<A>;
    static const LaneOps<A> table = {
        L,     accumulate, accumulate_exact, P::accumulate, P::pack,    P::filter,  append_cells,
        count, sample,     emit_all,         emit_bounded,  input_grad, kernel_grad};
    return table;
  }
};

const LaneOps<float>& lane_ops_f32(int lanes) { return lanes == 8 ? Leaf<float, 8>::ops() : Leaf<float, 16>::ops(); }
const LaneOps<double>& lane_ops_f64(int lanes) { return lanes == 8 ? Leaf<double, 8>::ops() : Leaf<double, 16>::ops(); }

}  // namespace JAXSPARSE_ISA
}  // namespace jaxsparse
