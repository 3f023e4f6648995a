// Sums whose order depends on their length alone, and is one that a block of a GPU takes, too.
#pragma once

#include <algorithm>
#include <cstdint>

namespace jaxsparse {

// A sum is cut into segments of so many terms. Within one, term i joins partial sum i % kSumParts; the partial sums are
// added in halves (p and p + 128, p and p + 64, ...). The segments' sums are added in order. All in float64.
inline constexpr int64_t kSumSegment = 8192;
inline constexpr int64_t kSumParts = 256;

// Terms [begin, end) of one segment.
template <class Term>
double segment_sum(int64_t begin, int64_t end, Term&& term) {
  double part[kSumParts];
  int64_t width = kSumParts;
  while (width > 1 && width / 2 >= end - begin) width /= 2;
  std::fill(part, part + width, 0.0);
  int64_t i = begin;
  for (; i + kSumParts <= end; i += kSumParts)
    for (int64_t p = 0; p < kSumParts; ++p) part[p] += term(i + p);
  for (int64_t p = 0; i < end; ++i, ++p) part[p] += term(i);
  // Instead of the rounds that would add zeros alone.
  if (width < kSumParts)
    for (int64_t p = 0; p < width; ++p) part[p] += 0.0;
  for (int64_t half = width / 2; half > 0; half /= 2)
    for (int64_t p = 0; p < half; ++p) part[p] += part[p + half];
  return part[0];
}

// term(0) + ... + term(n - 1).
template <class Term>
double fixed_sum(int64_t n, Term&& term) {
  double sum = 0;
  for (int64_t begin = 0; begin < n; begin += kSumSegment)
    sum += segment_sum(begin, std::min(begin + kSumSegment, n), term);
  return sum;
}

}  // namespace jaxsparse
