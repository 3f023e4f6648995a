// Pooling over kernel maps and segments against plain loops: every pool, dtype, corrupt maps, special values.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "../src/voxel/pool.h"
#include "../src/voxel/segments.h"
#include "pools.h"
#include "types.h"

namespace jaxsparse::voxel {
namespace {

template <class F>
void on_every_pool(F&& f) {
  SerialPool serial;
  f(serial);
  for (int threads : {2, 5}) {
    test::ThreadPool pool(threads);
    f(pool);
  }
  test::BusyPool busy;
  f(busy);
}

template <class T>
bool same(T a, T b) {
  const auto x = to_accum(a), y = to_accum(b);
  return x == y ? std::signbit(x) == std::signbit(y) : (x != x && y != y);
}

// A map in which a row belongs to one output of a tap at most, its reverse, and numbers with ties and NaN.
template <class T>
struct Case {
  PoolSizes n;
  std::vector<int32_t> map, reverse;
  std::vector<T> x, y, background;

  Case(PoolSizes sizes, unsigned seed) : n(sizes) {
    std::mt19937 random(seed);
    map.assign(static_cast<size_t>(n.taps * n.outputs), static_cast<int32_t>(n.inputs));
    reverse.assign(static_cast<size_t>(n.taps * n.inputs), static_cast<int32_t>(n.outputs));
    for (int64_t k = 0; k < n.taps; ++k)
      for (int64_t row = 0; row < n.inputs; ++row) {
        if (random() % 3 == 0) continue;
        const int64_t m = static_cast<int64_t>(random() % static_cast<unsigned>(n.outputs));
        int32_t& place = map[static_cast<size_t>(k * n.outputs + m)];
        if (place != n.inputs) continue;
        place = static_cast<int32_t>(row);
        reverse[static_cast<size_t>(k * n.inputs + row)] = static_cast<int32_t>(m);
      }
    const auto number = [&] {
      const unsigned kind = random() % 16;
      if (kind == 0) return std::numeric_limits<float>::quiet_NaN();
      if (kind == 1) return -0.0f;
      return static_cast<float>(static_cast<int>(random() % 7) - 4);
    };
    for (int64_t i = 0; i < n.inputs * n.channels; ++i) x.push_back(from_accum<T>(number()));
    for (int64_t i = 0; i < n.outputs * n.channels; ++i)
      y.push_back(from_accum<T>(static_cast<float>(static_cast<int>(random() % 9) - 4)));
    for (int64_t c = 0; c < n.channels; ++c) background.push_back(from_accum<T>(number()));
  }
};

const PoolSizes kSizes[] = {{9, 6, 4, 3}, {300, 170, 9, 5}, {1, 1, 1, 1}, {40, 33, 8, 150}, {50, 20, 3, 16}};

template <class T>
class VoxelPool : public ::testing::Test {};
using Types = test::Storage;
TYPED_TEST_SUITE(VoxelPool, Types);

TYPED_TEST(VoxelPool, MaximumAndItsRow) {
  using T = TypeParam;
  unsigned seed = 0;
  for (const PoolSizes& n : kSizes) {
    const Case<T> c(n, ++seed);
    for (const bool with : {false, true}) {
      const T* background = with ? c.background.data() : nullptr;
      std::vector<T> wanted(c.y.size(), from_accum<T>(0));
      std::vector<int32_t> rows(c.y.size(), static_cast<int32_t>(n.inputs + 1));
      for (int64_t m = 0; m < n.outputs; ++m) {
        bool used = false;
        for (int64_t k = 0; k < n.taps; ++k) used |= c.map[static_cast<size_t>(k * n.outputs + m)] != n.inputs;
        for (int64_t ch = 0; used && ch < n.channels; ++ch) {
          const size_t at = static_cast<size_t>(m * n.channels + ch);
          bool any = false;
          for (int64_t k = 0; k < n.taps; ++k) {
            const int32_t row = c.map[static_cast<size_t>(k * n.outputs + m)];
            if (row == n.inputs && !with) continue;
            const T value = row == n.inputs ? c.background[static_cast<size_t>(ch)]
                                            : c.x[static_cast<size_t>(row * n.channels + ch)];
            const auto v = to_accum(value), best = to_accum(wanted[at]);
            if (any && !(v > best) && !(std::isnan(v) && !std::isnan(best))) continue;
            any = true;
            wanted[at] = value;
            rows[at] = row;
          }
        }
      }
      on_every_pool([&](auto& pool) {
        std::vector<T> y(c.y.size());
        std::vector<int32_t> source(c.y.size());
        pool_max<T>(pool, n, c.x.data(), c.map.data(), background, y.data(), source.data());
        EXPECT_EQ(source, rows);
        for (size_t i = 0; i < y.size(); ++i) ASSERT_TRUE(same(y[i], wanted[i])) << i;
      });
    }
  }
}

TYPED_TEST(VoxelPool, PutAndSum) {
  using T = TypeParam;
  unsigned seed = 10;
  for (const PoolSizes& n : kSizes) {
    const Case<T> c(n, ++seed);
    SerialPool serial;
    std::vector<T> unused(c.y.size());
    std::vector<int32_t> source(c.y.size());
    pool_max<T>(serial, n, c.x.data(), c.map.data(), nullptr, unused.data(), source.data());
    std::vector<double> put(c.x.size(), 0.0), sum(c.x.size(), 0.0);
    for (int64_t m = 0; m < n.outputs; ++m)
      for (int64_t ch = 0; ch < n.channels; ++ch) {
        const double y = static_cast<double>(to_accum(c.y[static_cast<size_t>(m * n.channels + ch)]));
        const int32_t row = source[static_cast<size_t>(m * n.channels + ch)];
        // A row that is the output's at several taps takes part at each of them, and so does its gradient.
        for (int64_t k = 0; k < n.taps; ++k) {
          const int32_t here = c.map[static_cast<size_t>(k * n.outputs + m)];
          if (here == n.inputs) continue;
          if (here == row) put[static_cast<size_t>(row * n.channels + ch)] += y;
          sum[static_cast<size_t>(here * n.channels + ch)] += y;
        }
      }
    on_every_pool([&](auto& pool) {
      std::vector<T> x(c.x.size());
      pool_put<T>(pool, n, c.y.data(), source.data(), c.reverse.data(), x.data());
      for (size_t i = 0; i < x.size(); ++i) ASSERT_EQ(static_cast<double>(to_accum(x[i])), put[i]) << i;
      const PoolSizes back{n.outputs, n.inputs, n.taps, n.channels};
      pool_sum<T>(pool, back, c.y.data(), c.reverse.data(), x.data());
      for (size_t i = 0; i < x.size(); ++i) ASSERT_EQ(static_cast<double>(to_accum(x[i])), sum[i]) << i;
    });
  }
}

TYPED_TEST(VoxelPool, CorruptMapsStayInBounds) {
  using T = TypeParam;
  const PoolSizes n{5, 4, 3, 2};
  const Case<T> c(n, 3);
  const std::vector<int32_t> bad = {-1, 5, 6, 1 << 30, -(1 << 30), 2, 7, 5, -2, 5, 5, 9};
  SerialPool pool;
  std::vector<T> y(8), x(10);
  std::vector<int32_t> source(8);
  pool_max<T>(pool, n, c.x.data(), bad.data(), nullptr, y.data(), source.data());
  EXPECT_EQ(source, (std::vector<int32_t>{6, 6, 2, 2, 6, 6, 6, 6}));
  const std::vector<int32_t> reverse = {-1, 4, 4, 100, 0, 4, 4, -7, 4, 4, 4, 4, 4, 4, 4};
  pool_put<T>(pool, n, c.y.data(), source.data(), reverse.data(), x.data());
  for (const T& v : x) EXPECT_EQ(to_accum(v), 0);
  pool_sum<T>(pool, n, c.x.data(), bad.data(), y.data());
  for (size_t i = 0; i < y.size(); ++i)
    EXPECT_TRUE(same(y[i], i / 2 == 1 ? from_accum<T>(to_accum(c.x[4 + i % 2]) + 0) : from_accum<T>(0)));
}

TYPED_TEST(VoxelPool, Segments) {
  using T = TypeParam;
  std::mt19937 random(5);
  for (const std::vector<int64_t>& lengths :
       {std::vector<int64_t>{3, 0, 2500, 1024, 1}, std::vector<int64_t>{0, 0}, std::vector<int64_t>{1025}}) {
    const int64_t channels = 3, segments = static_cast<int64_t>(lengths.size());
    std::vector<int32_t> segment;
    for (int64_t s = 0; s < segments; ++s)
      segment.insert(segment.end(), static_cast<size_t>(lengths[static_cast<size_t>(s)]), static_cast<int32_t>(s));
    segment.insert(segment.end(), 7, static_cast<int32_t>(segments));  // not in use
    const SegmentSizes n{static_cast<int64_t>(segment.size()), segments, channels};
    std::vector<T> x;
    for (int64_t i = 0; i < n.rows * channels; ++i)
      x.push_back(from_accum<T>(random() % 2000 == 0 ? std::numeric_limits<float>::quiet_NaN()
                                                     : static_cast<float>(static_cast<int>(random() % 9) - 4)));
    on_every_pool([&](auto& pool) {
      std::vector<T> sum(static_cast<size_t>(segments * channels)), largest(sum.size());
      std::vector<int32_t> source(sum.size());
      segment_sum<T>(pool, n, x.data(), segment.data(), sum.data());
      segment_max<T>(pool, n, x.data(), segment.data(), largest.data(), source.data());
      for (int64_t s = 0, first = 0; s < segments; first += lengths[static_cast<size_t>(s++)])
        for (int64_t c = 0; c < channels; ++c) {
          double total = 0;
          int64_t best = -1;
          for (int64_t row = first; row < first + lengths[static_cast<size_t>(s)]; ++row) {
            const auto v = to_accum(x[static_cast<size_t>(row * channels + c)]);
            total += static_cast<double>(v);
            if (best < 0 || is_above(v, to_accum(x[static_cast<size_t>(best * channels + c)]))) best = row;
          }
          const size_t at = static_cast<size_t>(s * channels + c);
          ASSERT_TRUE(same(sum[at], from_accum<T>(static_cast<Accum<T>>(total))));
          ASSERT_EQ(source[at], best < 0 ? n.rows + 1 : best);
          ASSERT_TRUE(same(largest[at], best < 0 ? from_accum<T>(0) : x[static_cast<size_t>(best * channels + c)]));
        }
    });
    std::vector<int32_t> wild = segment;
    for (size_t i = 0; i < wild.size(); ++i)
      if (random() % 3 == 0) wild[i] = static_cast<int32_t>(random());
    SerialPool pool;  // nothing is promised but to stay in bounds
    std::vector<T> y(static_cast<size_t>(segments * channels));
    std::vector<int32_t> source(y.size());
    segment_sum<T>(pool, n, x.data(), wild.data(), y.data());
    segment_max<T>(pool, n, x.data(), wild.data(), y.data(), source.data());
  }
}

// The bits of a sum do not depend on the threads, and subnormals are numbers.
TEST(VoxelPoolBits, SumsAndSubnormals) {
  std::mt19937 random(9);
  const SegmentSizes n{5000, 1, 4};
  std::vector<float> x;
  for (int64_t i = 0; i < n.rows * n.channels; ++i)
    x.push_back(std::ldexp(static_cast<float>(random() % 1000) - 500.0f, static_cast<int>(random() % 40) - 20));
  const std::vector<int32_t> segment(5000, 0);
  std::vector<float> first;
  on_every_pool([&](auto& pool) {
    std::vector<float> y(4);
    segment_sum<float>(pool, n, x.data(), segment.data(), y.data());
    if (first.empty()) first = y;
    EXPECT_EQ(std::memcmp(first.data(), y.data(), 16), 0);
  });
  const float tiny[] = {1e-40f, 3e-40f};
  const int32_t map[] = {0, 1};
  float y = 0;
  int32_t source = 0;
  SerialPool pool;
  pool_max<float>(pool, {2, 1, 2, 1}, tiny, map, nullptr, &y, &source);
  EXPECT_EQ(source, 1);
  EXPECT_EQ(y, 3e-40f);
}

}  // namespace
}  // namespace jaxsparse::voxel
