// Sums whose order depends on their length alone.
#pragma once

#include <cstdint>

namespace jaxsparse {

// term(0) + ... + term(n - 1) in float64: term i joins partial sum i % 8, the partial sums are added in order.
template <class Term>
double fixed_sum(int64_t n, Term&& term) {
  constexpr int64_t kParts = 8;
  double part[kParts] = {};
  int64_t i = 0;
  for (; i + kParts <= n; i += kParts)
    for (int64_t p = 0; p < kParts; ++p) part[p] += term(i + p);
  for (int64_t p = 0; i < n; ++i, ++p) part[p] += term(i);
  double sum = part[0];
  for (int64_t p = 1; p < kParts; ++p) sum += part[p];
  return sum;
}

}  // namespace jaxsparse
