// Selection rules as order-preserving unsigned integers: a larger rank is a stronger response.
#pragma once

#include <cstdint>
#include <cstring>

#include "portable.h"

namespace jaxsparse {

enum class Rule : int { kValue = 0, kMagnitude = 1, kRelu = 2 };

template <class A>
struct RankOf;
template <>
struct RankOf<float> {
  using type = uint32_t;
};
template <>
struct RankOf<double> {
  using type = uint64_t;
};
template <class A>
using Rank = typename RankOf<A>::type;

// NaN of either sign ranks above +inf; -0 and +0 are one value.
template <class A>
JAXSPARSE_ANYWHERE inline Rank<A> rank_of(A value, Rule rule) {
  using R = Rank<A>;
  constexpr R kSign = R{1} << (sizeof(R) * 8 - 1);
  if (value != value) return ~R{0};
  if (value == A{0}) value = A{0};
  R bits;
  std::memcpy(&bits, &value, sizeof bits);
  if (rule == Rule::kMagnitude) return (bits & ~kSign) | kSign;
  return (bits & kSign) ? static_cast<R>(~bits) : static_cast<R>(bits | kSign);
}

// `active` says that the response, before the bias, is not exactly 0.
template <class A>
JAXSPARSE_ANYWHERE inline bool is_candidate(A value, bool active, Rule rule) {
  return active && (rule != Rule::kRelu || !(value <= A{0}));
}

}  // namespace jaxsparse
