// Pooling of rows over the taps of a kernel map: a table [taps, outputs] of rows of the input, a row outside of it
// where an output has none at a tap. Every output is made by one thread, its taps in ascending order.
#pragma once

#include <algorithm>
#include <cstdint>

#include "../core/dtype.h"
#include "../core/parallel.h"
#include "pool_sizes.h"

namespace jaxsparse::voxel {

// Rows that a thread takes at a time; `terms` numbers are read for each.
inline int64_t rows_at_a_time(int64_t terms) { return std::max<int64_t>(1, 16384 / std::max<int64_t>(1, terms)); }

// Replaces a maximum, channel by channel, where `x`, of row `row`, is above it.
template <class T>
void take_maximum(const T* x, int32_t row, int64_t channels, T* y, int32_t* source) {
  for (int64_t c = 0; c < channels; ++c) {
    const bool above = is_above(to_accum(x[c]), to_accum(y[c]));
    y[c] = above ? x[c] : y[c];
    source[c] = above ? row : source[c];
  }
}

// y[m, c]: the largest of x[map[k, m], c] over the taps, and the row it is of. `background` (may be null) stands at
// taps without a row. An output without any row is not in use: 0, of none.
template <class T, class Pool>
void pool_max(Pool& pool, const PoolSizes& n, const T* x, const int32_t* map, const T* background, T* y,
              int32_t* source) {
  const Source special(n.inputs);
  parallel_for(pool, n.outputs, rows_at_a_time(n.taps * n.channels), [&](int64_t m, int) {
    T* values = y + m * n.channels;
    int32_t* rows = source + m * n.channels;
    bool any = false, empty = true;
    for (int64_t k = 0; k < n.taps && empty; ++k) empty = !is_row(map[k * n.outputs + m], n.inputs);
    if (empty) {
      std::fill(values, values + n.channels, from_accum<T>(0));
      std::fill(rows, rows + n.channels, special.none);
      return;
    }
    bool seen = false;  // the background counts once, at its first tap
    for (int64_t k = 0; k < n.taps; ++k) {
      const int32_t row = map[k * n.outputs + m];
      const bool here = is_row(row, n.inputs);
      if (!here && (background == nullptr || seen)) continue;
      seen = seen || !here;
      const T* from = here ? x + row * n.channels : background;
      const int32_t number = here ? row : special.background;
      if (any) {
        take_maximum(from, number, n.channels, values, rows);
      } else {
        std::copy(from, from + n.channels, values);
        std::fill(rows, rows + n.channels, number);
        any = true;
      }
    }
  });
}

// Channels whose sums a thread holds at a time.
inline constexpr int64_t kSumsHeld = 128;

// y[n, c]: the sum of add(k, m, c) over the taps k with a row m = map[k, n], in the accumulator.
template <class T, class Pool, class Add>
void sum_over_taps(Pool& pool, int64_t outputs, int64_t rows, int64_t taps, int64_t channels, const int32_t* map, T* y,
                   Add&& add) {
  parallel_for(pool, outputs, rows_at_a_time(taps * channels), [&](int64_t out, int) {
    Accum<T> sums[kSumsHeld];
    for (int64_t begin = 0; begin < channels; begin += kSumsHeld) {
      const int64_t held = std::min(kSumsHeld, channels - begin);
      std::fill(sums, sums + held, Accum<T>{0});
      for (int64_t k = 0; k < taps; ++k) {
        const int32_t row = map[k * outputs + out];
        if (is_row(row, rows)) add(out, row, begin, held, sums);
      }
      for (int64_t c = 0; c < held; ++c) y[out * channels + begin + c] = from_accum<T>(sums[c]);
    }
  });
}

// The transpose of picking maxima: x[n, c] is the sum of y[m, c] over the outputs m = reverse[k, n] whose source is n.
template <class T, class Pool>
void pool_put(Pool& pool, const PoolSizes& n, const T* y, const int32_t* source, const int32_t* reverse, T* x) {
  const int64_t channels = n.channels;
  sum_over_taps<T>(pool, n.inputs, n.outputs, n.taps, channels, reverse, x,
                   [&](int64_t row, int32_t m, int64_t begin, int64_t held, Accum<T>* sums) {
                     const T* from = y + m * channels + begin;
                     const int32_t* rows = source + m * channels + begin;
                     for (int64_t c = 0; c < held; ++c) sums[c] += rows[c] == row ? to_accum(from[c]) : Accum<T>{0};
                   });
}

// y[m, c]: the sum of x[map[k, m], c] over the taps. Its transpose is the same with the reverse map.
template <class T, class Pool>
void pool_sum(Pool& pool, const PoolSizes& n, const T* x, const int32_t* map, T* y) {
  const int64_t channels = n.channels;
  sum_over_taps<T>(pool, n.outputs, n.inputs, n.taps, channels, map, y,
                   [&](int64_t, int32_t row, int64_t begin, int64_t held, Accum<T>* sums) {
                     const T* from = x + row * channels + begin;
                     for (int64_t c = 0; c < held; ++c) sums[c] += to_accum(from[c]);
                   });
}

}  // namespace jaxsparse::voxel
