// Max-pooling over stored entries against plain loops.
#include <gtest/gtest.h>

#include "direct_cases.h"

namespace jaxsparse::test {
namespace {

ConvGeometry pooling(Sizes in, Sizes window, Sizes stride) {
  ConvGeometry g;
  g.dims = static_cast<int>(in.size());
  std::copy(in.begin(), in.end(), g.in);
  std::copy(window.begin(), window.end(), g.kernel);
  std::copy(stride.begin(), stride.end(), g.stride);
  for (int i = 0; i < g.dims; ++i) {
    g.out[i] = (g.in[i] + g.stride[i] - 1) / g.stride[i];
    g.dilation[i] = 1;
  }
  return g;
}

template <class T>
void check_pool(const ConvGeometry& g, const Lists<T>& x, int64_t out_capacity) {
  SCOPED_TRACE(describe(g) + " capacity " + std::to_string(out_capacity));
  const Lists<T> want = pool_plainly(g, x, out_capacity);
  on_every_pool([&](auto& pool) { expect_same_lists(run_max_pool(pool, g, x, out_capacity), want, true); });
}

template <class T>
class DirectPool : public testing::Test {};
using Storage = testing::Types<float, double, BF16, F16>;
TYPED_TEST_SUITE(DirectPool, Storage);

TYPED_TEST(DirectPool, WindowsAndStrides) {
  std::mt19937 random(31);
  const ConvGeometry cases[] = {
      pooling({1}, {1}, {1}),
      pooling({7}, {2}, {2}),
      pooling({8}, {3}, {2}),
      pooling({9}, {2}, {3}),
      pooling({5}, {9}, {1}),
      pooling({28, 28}, {2, 2}, {2, 2}),
      pooling({7, 9}, {3, 2}, {1, 2}),
      pooling({6, 5, 7}, {2, 2, 2}, {2, 2, 2}),
      pooling({6, 5, 7}, {3, 1, 2}, {2, 3, 1}),
      pooling({4, 5, 3, 4}, {2, 2, 2, 2}, {2, 2, 2, 2}),
  };
  constexpr Values kKinds[] = {Values::kNormal, Values::kIntegers, Values::kSpecial, Values::kNegative};
  for (const auto& g : cases) {
    const PlainGeometry plain(g);
    for (Values kind : kKinds) {
      for (double density : {0.0, 0.1, 1.0}) {
        auto x = random_lists<TypeParam>(random, 2, 3, plain.in_volume, plain.in_volume, density, kind);
        if (random() % 4 == 0) corrupt(random, x);
        for (int64_t capacity : {int64_t{1}, (plain.out_volume + 1) / 2, plain.out_volume + 2}) {
          check_pool(g, x, capacity);
          if (this->HasFatalFailure()) return;
        }
      }
    }
  }
}

TYPED_TEST(DirectPool, ManyTilesAndTheCut) {
  std::mt19937 random(32);
  for (const auto& g :
       {pooling({60000}, {2}, {2}), pooling({220, 210}, {3, 3}, {1, 1}), pooling({30, 40, 50}, {2, 2, 2}, {1, 2, 1})}) {
    const PlainGeometry plain(g);
    for (Values kind : {Values::kNormal, Values::kIntegers}) {
      const auto x = random_lists<TypeParam>(random, 1, 2, plain.in_volume, plain.in_volume, 0.4, kind);
      for (int64_t capacity : {int64_t{1}, int64_t{500}, plain.out_volume / 3}) {
        check_pool(g, x, capacity);
        if (this->HasFatalFailure()) return;
      }
    }
  }
}

}  // namespace
}  // namespace jaxsparse::test
