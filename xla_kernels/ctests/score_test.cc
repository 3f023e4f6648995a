#include "core/score.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "types.h"

namespace jaxsparse {
namespace {

template <class A>
std::vector<A> interesting() {
  using L = std::numeric_limits<A>;
  std::vector<A> values = {
      A(0),          -A(0),          A(1),           A(-1),           A(0.5),      A(-0.5),         A(2),
      A(-2),         L::min(),       -L::min(),      L::max(),        -L::max(),   L::denorm_min(), -L::denorm_min(),
      L::infinity(), -L::infinity(), L::quiet_NaN(), -L::quiet_NaN(), L::epsilon()};
  std::mt19937 random(5);
  for (int i = 0; i < 60; ++i) values.push_back(A(std::ldexp(double(random() % 2001) - 1000, int(random() % 40) - 20)));
  return values;
}

// The rule in words: NaN above everything, else by value or by absolute value; zeros are equal.
template <class A>
int compare(A a, A b, Rule rule) {
  if (std::isnan(a) || std::isnan(b)) return int(std::isnan(a)) - int(std::isnan(b));
  if (rule == Rule::kMagnitude) {
    a = std::abs(a);
    b = std::abs(b);
  }
  return a < b ? -1 : a > b ? 1 : 0;
}

template <class A>
class Score : public testing::Test {};
using Accumulators = test::Wide;
TYPED_TEST_SUITE(Score, Accumulators);

TYPED_TEST(Score, RankFollowsTheRule) {
  for (Rule rule : {Rule::kValue, Rule::kMagnitude, Rule::kRelu}) {
    for (TypeParam a : interesting<TypeParam>()) {
      for (TypeParam b : interesting<TypeParam>()) {
        const auto ra = rank_of(a, rule), rb = rank_of(b, rule);
        const int order = ra < rb ? -1 : ra > rb ? 1 : 0;
        ASSERT_EQ(order, compare(a, b, rule)) << a << " " << b << " rule " << static_cast<int>(rule);
      }
    }
  }
}

TYPED_TEST(Score, CandidatesAreActiveAndPassTheRule) {
  for (TypeParam v : interesting<TypeParam>()) {
    for (Rule rule : {Rule::kValue, Rule::kMagnitude, Rule::kRelu}) {
      EXPECT_FALSE(is_candidate(v, false, rule));
      const bool positive = v > 0 || std::isnan(v);
      EXPECT_EQ(is_candidate(v, true, rule), rule != Rule::kRelu || positive) << v;
    }
  }
}

}  // namespace
}  // namespace jaxsparse
