// Max-pooling over stored entries against plain loops.
#include <gtest/gtest.h>

#include "direct/max_pool.h"
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

// The maximum of a window's stored entries; NaN is the maximum, of equal ones the lowest key.
template <class T>
Lists<T> pool_plainly(const ConvGeometry& geometry, const Lists<T>& x, int64_t out_capacity) {
  const PlainGeometry g(geometry);
  const auto slots = all_slots(x);
  Lists<T> y(x.batch, x.channels, out_capacity, g.out_volume);
  for (int64_t list = 0; list < x.batch * x.channels; ++list) {
    std::vector<Candidate<Accum<T>>> all;
    for (int64_t out = 0; out < g.out_volume; ++out) {
      int32_t best = -1;
      for (int64_t tap = 0; tap < g.taps; ++tap) {
        const int64_t in = g.input_of(out, tap);
        const int32_t slot = in < 0 ? -1 : slots[static_cast<size_t>(list)][static_cast<size_t>(in)];
        if (slot < 0) continue;
        const bool better = best < 0 || (std::isnan(x.value(list, slot)) ? !std::isnan(x.value(list, best))
                                                                         : x.value(list, slot) > x.value(list, best));
        if (better) best = slot;
      }
      if (best >= 0) all.push_back({static_cast<int32_t>(out), x.value(list, best), best});
    }
    write_list(y, list, all, Rule::kValue);
  }
  return y;
}

template <class T>
void check_pool(const ConvGeometry& g, const Lists<T>& x, int64_t out_capacity) {
  SCOPED_TRACE(describe(g) + " capacity " + std::to_string(out_capacity));
  const ConvGrid grid(g);
  const PoolSizes n{x.batch, x.channels, x.capacity, out_capacity};
  const Lists<T> want = pool_plainly(g, x, out_capacity);
  on_every_pool([&](auto& pool) {
    int64_t bytes = 0;
    lay_out_pool<T>(grid, n, nullptr, &bytes);
    Workspace workspace(bytes);
    Lists<T> y(x.batch, x.channels, out_capacity, grid.out_volume());
    max_pool<T>(pool, grid, n, x.keys.data(), x.values.data(), y.keys.data(), y.values.data(), y.found.data(),
                y.source.data(), workspace.data());
    expect_same_lists(y, want, true);
  });
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
