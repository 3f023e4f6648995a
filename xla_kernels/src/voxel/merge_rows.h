// What the rows of one site amount to, and the way back.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "../core/dtype.h"
#include "../core/parallel.h"
#include "groups.h"

namespace jaxsparse::voxel {

inline constexpr int64_t kMergeGrain = 1024;

// features [rows, channels] -> out [groups, channels]: sums in the order of the rows, or means; 0 for an empty group.
template <class T, class Pool>
void merge_rows(Pool& pool, const Groups& g, int64_t channels, bool mean, const T* features, T* out) {
  using A = Accum<T>;
  parallel_for(pool, (g.groups + kMergeGrain - 1) / kMergeGrain, 1, [&](int64_t piece, int) {
    std::vector<A> sum(static_cast<size_t>(channels));
    const int64_t last = std::min(g.groups, (piece + 1) * kMergeGrain);
    for (int64_t group = piece * kMergeGrain; group < last; ++group) {
      std::fill(sum.begin(), sum.end(), A{0});
      int64_t members = 0;
      for (int64_t j = g.begin(group); j < g.end(group); ++j) {
        const int64_t row = g.order[j];
        if (row < 0 || row >= g.rows) continue;
        const T* from = features + row * channels;
        if (members++ == 0)
          for (int64_t c = 0; c < channels; ++c) sum[c] = to_accum(from[c]);
        else
          for (int64_t c = 0; c < channels; ++c) sum[c] += to_accum(from[c]);
      }
      for (int64_t c = 0; c < channels; ++c)
        out[group * channels + c] = from_accum<T>(mean && members > 1 ? sum[c] / static_cast<A>(members) : sum[c]);
    }
  });
}

// The adjoint: groups [groups, channels] -> out [rows, channels], what the group of each row has (divided by how many
// rows it has, for means); 0 for rows without one.
template <class T, class Pool>
void spread_rows(Pool& pool, const Groups& g, const int32_t* row_of, int64_t channels, bool mean, const T* values,
                 T* out) {
  using A = Accum<T>;
  parallel_for(pool, g.rows, kMergeGrain, [&](int64_t row, int) {
    T* to = out + row * channels;
    const int64_t group = row_of[row];
    if (group < 0 || group >= g.groups) {
      std::fill(to, to + channels, T{});
      return;
    }
    const T* from = values + group * channels;
    const int64_t members = g.end(group) - g.begin(group);
    if (!mean || members <= 1) {
      std::copy(from, from + channels, to);
      return;
    }
    for (int64_t c = 0; c < channels; ++c) to[c] = from_accum<T>(to_accum(from[c]) / static_cast<A>(members));
  });
}

// features [rows, channels] -> which row [groups, channels] has a group's maximum: NaN is one, of equal ones the first
// is; `rows` for an empty group.
template <class T, class Pool>
void max_rows(Pool& pool, const Groups& g, int64_t channels, const T* features, int32_t* winner) {
  using A = Accum<T>;
  parallel_for(pool, g.groups, kMergeGrain, [&](int64_t group, int) {
    int32_t* to = winner + group * channels;
    std::fill(to, to + channels, static_cast<int32_t>(g.rows));
    for (int64_t j = g.begin(group); j < g.end(group); ++j) {
      const int32_t row = g.order[j];
      if (row < 0 || row >= g.rows) continue;
      for (int64_t c = 0; c < channels; ++c) {
        const A here = to_accum(features[row * channels + c]);
        if (to[c] == g.rows) {
          to[c] = row;
          continue;
        }
        const A best = to_accum(features[to[c] * channels + c]);
        if (here > best || (here != here && best == best)) to[c] = row;
      }
    }
  });
}

// features [rows, channels] at `winner`; 0 where it says none.
template <class T, class Pool>
void pick_rows(Pool& pool, int64_t rows, int64_t groups, int64_t channels, const T* features, const int32_t* winner,
               T* out) {
  parallel_for(pool, groups, kMergeGrain, [&](int64_t group, int) {
    for (int64_t c = 0; c < channels; ++c) {
      const int64_t row = winner[group * channels + c];
      out[group * channels + c] = row >= 0 && row < rows ? features[row * channels + c] : T{};
    }
  });
}

// The adjoint of pick_rows: each row gets what it won. A row belongs to one group.
template <class T, class Pool>
void place_rows(Pool& pool, int64_t rows, int64_t groups, int64_t channels, const T* values, const int32_t* row_of,
                const int32_t* winner, T* out) {
  parallel_for(pool, rows, kMergeGrain, [&](int64_t row, int) {
    const int64_t group = row_of[row];
    for (int64_t c = 0; c < channels; ++c) {
      const bool won = group >= 0 && group < groups && winner[group * channels + c] == row;
      out[row * channels + c] = won ? values[group * channels + c] : T{};
    }
  });
}

}  // namespace jaxsparse::voxel
