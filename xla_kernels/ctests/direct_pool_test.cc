// Pooling over stored entries, and the sums over windows, against plain loops.
#include <gtest/gtest.h>

#include "direct_cases.h"
#include "types.h"

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
  const Lists<T> want = pool_plainly(g, x, out_capacity), mean = avg_pool_plainly(g, x, out_capacity);
  on_every_pool([&](auto& pool) {
    expect_same_lists(run_max_pool(pool, g, x, out_capacity), want, true);
    expect_same_lists(run_pool<Mean, T>(pool, g, x, out_capacity), mean, true);
  });
}

// Sums over windows of any stored keys, and their adjoint.
template <class T>
void check_windows(const ConvGeometry& g, const Lists<T>& fine, const Lists<T>& coarse,
                   const std::vector<int32_t>& count) {
  SCOPED_TRACE(describe(g));
  const auto sum = window_sum_plainly(g, fine, coarse, count), share = window_spread_plainly(g, fine, coarse, count);
  on_every_pool([&](auto& pool) {
    expect_same_values(run_window_sum(pool, g, fine, coarse, count), sum);
    expect_same_values(run_window_spread(pool, g, fine, coarse, count), share);
  });
}

template <class T>
class DirectPool : public testing::Test {};
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
        const auto coarse = random_lists<TypeParam>(random, 2, 3, plain.out_volume, plain.out_volume, 0.7, kind);
        check_windows(g, x, coarse, {});
        if (this->HasFatalFailure()) return;
      }
    }
  }
}

TYPED_TEST(DirectPool, WindowsOfAnyListsCorruptOnesToo) {
  std::mt19937 random(33);
  for (const auto& g :
       {pooling({50}, {3}, {2}), pooling({7, 9}, {2, 4}, {2, 1}), pooling({4, 5, 6}, {2, 1, 3}, {2, 3, 3})}) {
    const PlainGeometry plain(g);
    for (int repeat = 0; repeat < 12; ++repeat) {
      auto fine = random_lists<TypeParam>(random, 2, 2, 1 + int64_t(random() % 90), plain.in_volume, 0.5,
                                          repeat % 2 ? Values::kNormal : Values::kSpecial);
      auto coarse = random_lists<TypeParam>(random, 2, 2, 1 + int64_t(random() % 50), plain.out_volume, 0.5,
                                            repeat % 2 ? Values::kNormal : Values::kSpecial);
      if (repeat % 3 == 0) corrupt(random, fine);
      if (repeat % 4 == 0) corrupt(random, coarse);
      std::vector<int32_t> count;
      for (size_t i = 0; i < coarse.keys.size() && repeat % 5; ++i) count.push_back(int32_t(random() % 5));
      check_windows(g, fine, coarse, count);
      if (this->HasFatalFailure()) return;
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

// The dimension that tiles split is the first, a middle one or the last; windows with and without holes between them.
TYPED_TEST(DirectPool, DisjointWindowsInManyTiles) {
  std::mt19937 random(33);
  for (const auto& g : {pooling({2, 140001}, {2, 2}, {2, 2}), pooling({3, 600, 301}, {2, 1, 2}, {2, 1, 2}),
                        pooling({3, 5, 261, 262}, {1, 2, 1, 1}, {3, 2, 1, 1}), pooling({70000, 3}, {1, 2}, {1, 2})}) {
    ASSERT_TRUE(DisjointWindows::fits(g));
    ASSERT_GT(DisjointWindows(g).out_volume(), DisjointWindows(g).tile_cells());
    const PlainGeometry plain(g);
    const auto x = random_lists<TypeParam>(random, 1, 1, plain.in_volume, plain.in_volume, 0.3, Values::kIntegers);
    for (int64_t capacity : {int64_t{700}, plain.out_volume}) {
      check_pool(g, x, capacity);
      if (this->HasFatalFailure()) return;
    }
  }
}

TYPED_TEST(DirectPool, AWindowAsLargeAsTheVolume) {
  std::mt19937 random(34);
  constexpr int64_t kHuge = int64_t{1} << 40;
  for (const auto& g : {pooling({70000}, {70000}, {70000}), pooling({40, 41, 42}, {40, 41, 42}, {40, 41, 42}),
                        pooling({9, 3, 5, 7}, {kHuge, kHuge, 5, 1}, {kHuge, kHuge, 5, 7})}) {
    const int64_t volume = DisjointWindows(g).in_volume();
    const auto x = random_lists<TypeParam>(random, 2, 2, volume, volume, 0.4, Values::kSpecial);
    auto same = g;  // the plain loops visit every tap
    for (int i = 0; i < g.dims; ++i) same.kernel[i] = std::min(g.kernel[i], g.in[i]);
    on_every_pool(
        [&](auto& pool) { expect_same_lists(run_max_pool(pool, g, x, 2), pool_plainly(same, x, int64_t{2}), true); });
  }
}

TEST(DirectPoolSizes, ThatDoNotFitAreRefused) {
  const auto good = pooling({8, 9}, {2, 3}, {2, 3});
  EXPECT_NO_THROW(PoolWindows{good});
  for (int64_t bad : {int64_t{-1}, int64_t{0}, int64_t{5}, int64_t{1} << 40}) {
    auto g = good;
    g.out[1] = bad;
    EXPECT_THROW(PoolWindows{g}, std::invalid_argument) << bad;
    if (bad > 0 && bad < 9) continue;
    g = good;
    g.in[0] = bad;
    EXPECT_THROW(PoolWindows{g}, std::invalid_argument) << bad;
    if (bad > 0) continue;
    for (auto field : {&ConvGeometry::kernel, &ConvGeometry::stride}) {
      g = good;
      (g.*field)[0] = bad;
      EXPECT_THROW(PoolWindows{g}, std::invalid_argument) << bad;
    }
  }
}

}  // namespace
}  // namespace jaxsparse::test
