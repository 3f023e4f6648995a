// Sums and maxima over the rows of each batch element: `segment` [rows] ascends, and what is not below `segments`
// belongs to none. The order of summation depends on the numbers of rows alone.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "pool.h"

namespace jaxsparse::voxel {

struct Piece {
  int64_t segment, begin, end;
};

// Every segment in pieces, in order.
inline std::vector<Piece> pieces_of(const SegmentSizes& n, const int32_t* segment) {
  std::vector<Piece> pieces;
  const int32_t *at = segment, *const end = segment + n.rows;
  at = std::lower_bound(at, end, 0);
  for (int64_t s = 0; s < n.segments; ++s) {
    const int32_t* next = std::lower_bound(at, end, static_cast<int32_t>(s + 1));
    for (int64_t begin = at - segment; begin < next - segment; begin += kPieceRows)
      pieces.push_back({s, begin, std::min<int64_t>(begin + kPieceRows, next - segment)});
    at = next;
  }
  return pieces;
}

// y[s, c]: the sum of x over the rows of the segment, in float64: each piece row by row, then piece by piece.
template <class T, class Pool>
void segment_sum(Pool& pool, const SegmentSizes& n, const T* x, const int32_t* segment, T* y) {
  const std::vector<Piece> pieces = pieces_of(n, segment);
  const int64_t count = static_cast<int64_t>(pieces.size()), channels = n.channels;
  std::vector<double> sums(static_cast<size_t>(count * channels), 0.0);
  parallel_for(pool, count, 1, [&](int64_t i, int) {
    double* sum = sums.data() + i * channels;
    const Piece& piece = pieces[static_cast<size_t>(i)];
    for (int64_t row = piece.begin; row < piece.end; ++row)
      for (int64_t c = 0; c < channels; ++c) sum[c] += static_cast<double>(to_accum(x[row * channels + c]));
  });
  std::vector<double> total(static_cast<size_t>(channels));
  int64_t i = 0;
  SubnormalGuard guard;
  for (int64_t s = 0; s < n.segments; ++s) {
    std::fill(total.begin(), total.end(), 0.0);
    for (; i < count && pieces[static_cast<size_t>(i)].segment == s; ++i)
      for (int64_t c = 0; c < channels; ++c)
        total[static_cast<size_t>(c)] += sums[static_cast<size_t>(i * channels + c)];
    for (int64_t c = 0; c < channels; ++c)
      y[s * channels + c] = from_accum<T>(static_cast<Accum<T>>(total[static_cast<size_t>(c)]));
  }
}

// y[s, c]: the largest x of the segment, the first of equal ones, and its row; 0, of none, where the segment is empty.
template <class T, class Pool>
void segment_max(Pool& pool, const SegmentSizes& n, const T* x, const int32_t* segment, T* y, int32_t* source) {
  const std::vector<Piece> pieces = pieces_of(n, segment);
  const int64_t count = static_cast<int64_t>(pieces.size()), channels = n.channels;
  std::vector<T> largest(static_cast<size_t>(count * channels));
  std::vector<int32_t> rows(static_cast<size_t>(count * channels));
  parallel_for(pool, count, 1, [&](int64_t i, int) {
    const Piece& piece = pieces[static_cast<size_t>(i)];
    T* value = largest.data() + i * channels;
    int32_t* row = rows.data() + i * channels;
    std::copy(x + piece.begin * channels, x + (piece.begin + 1) * channels, value);
    std::fill(row, row + channels, static_cast<int32_t>(piece.begin));
    for (int64_t r = piece.begin + 1; r < piece.end; ++r)
      take_maximum(x + r * channels, static_cast<int32_t>(r), channels, value, row);
  });
  std::fill(y, y + n.segments * channels, from_accum<T>(0));
  std::fill(source, source + n.segments * channels, Source(n.rows).none);
  SubnormalGuard guard;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t s = pieces[static_cast<size_t>(i)].segment;
    const bool first = i == 0 || pieces[static_cast<size_t>(i - 1)].segment != s;
    for (int64_t c = 0; c < channels; ++c) {
      const size_t from = static_cast<size_t>(i * channels + c);
      const int64_t to = s * channels + c;
      if (!first && !is_above(to_accum(largest[from]), to_accum(y[to]))) continue;
      y[to] = largest[from];
      source[to] = rows[from];
    }
  }
}

}  // namespace jaxsparse::voxel
