#include "direct/grid.h"

#include <gtest/gtest.h>

#include <limits>
#include <map>
#include <random>
#include <stdexcept>
#include <vector>

#include "geometry_cases.h"

namespace jaxsparse {
namespace {

using test::describe;

std::vector<int64_t> coordinates(int64_t key, const int64_t* shape, int dims) {
  std::vector<int64_t> c(static_cast<size_t>(dims));
  for (int i = dims - 1; i >= 0; --i) {
    c[static_cast<size_t>(i)] = key % shape[i];
    key /= shape[i];
  }
  return c;
}

// Every (input voxel, tap) against the definition: o * stride = i + pad - k * dilation.
void check_geometry(const ConvGeometry& g) {
  SCOPED_TRACE(describe(g));
  const ConvGrid grid(g);
  const int d = g.dims;
  int64_t in_volume = 1, out_volume = 1, taps = 1;
  for (int i = 0; i < d; ++i) {
    in_volume *= g.in[i];
    out_volume *= g.out[i];
    taps *= g.kernel[i];
  }
  ASSERT_EQ(grid.in_volume(), in_volume);
  ASSERT_EQ(grid.out_volume(), out_volume);
  ASSERT_EQ(static_cast<int64_t>(grid.taps().size()), taps);

  // The runs list every output voxel once, in key order, where output_cell puts it.
  std::map<int64_t, int32_t> voxel_at;
  int32_t next = 0;
  grid.for_each_run(0, grid.cells(), [&](int64_t a, int64_t b, int32_t key) {
    ASSERT_EQ(key, next);
    ASSERT_LE(0, a);
    ASSERT_LE(b, grid.cells());
    for (; a < b; ++a, ++next) voxel_at[a] = next;
  });
  ASSERT_EQ(next, out_volume);
  for (auto [cell, key] : voxel_at) ASSERT_EQ(grid.output_cell(key), cell);

  int64_t last_cell = -1;
  for (int64_t key = 0; key < in_volume; ++key) {
    const auto at = coordinates(key, g.in, d);
    int64_t cell = 0;
    const int cls = grid.input_cell(static_cast<int32_t>(key), &cell);
    ASSERT_LT(cls, grid.classes());
    if (grid.identity()) {
      ASSERT_EQ(cls, 0);
      ASSERT_EQ(grid.identity_cell(static_cast<int32_t>(key)), cell);
      ASSERT_GT(cell, last_cell);
      last_cell = cell;
    }
    if (cls >= 0) {
      ASSERT_GE(cell, 0);
      ASSERT_LT(cell, grid.cells());
    }
    for (int64_t t = 0; t < taps; ++t) {
      const auto k = coordinates(t, g.kernel, d);
      int64_t want = 0;
      for (int i = 0; i < d && want >= 0; ++i) {
        const size_t s = static_cast<size_t>(i);
        const int64_t numerator = at[s] + g.pad[i] - k[s] * g.dilation[i];
        const bool reached = numerator >= 0 && numerator % g.stride[i] == 0 && numerator / g.stride[i] < g.out[i];
        want = reached ? want * g.out[i] + numerator / g.stride[i] : -1;
      }
      const Tap& tap = grid.taps()[static_cast<size_t>(t)];
      ASSERT_GE(tap.offset, 0);
      ASSERT_LE(tap.offset, grid.max_offset());
      int64_t got = -1;
      if (cls >= 0 && tap.residue_class == cls) {
        const auto found = voxel_at.find(cell - tap.offset);
        if (found != voxel_at.end()) got = found->second;
      }
      ASSERT_EQ(got, want) << "input voxel " << key << ", tap " << t;
    }
  }
}

TEST(ConvGrid, PlainCases) {
  for (const auto& g : test::named_geometries()) check_geometry(g);
}

TEST(ConvGrid, RandomCases) {
  std::mt19937 random(6);
  for (int repeat = 0; repeat < 400; ++repeat) {
    check_geometry(test::random_geometry(random, 1 + repeat % 4));
    if (HasFatalFailure()) return;
  }
}

TEST(ConvGrid, RunsOfAnyPart) {
  std::mt19937 random(7);
  for (int repeat = 0; repeat < 60; ++repeat) {
    const ConvGrid grid(test::random_geometry(random, 1 + repeat % 4));
    std::map<int64_t, int32_t> all;
    grid.for_each_run(0, grid.cells(), [&](int64_t a, int64_t b, int32_t key) {
      for (; a < b; ++a) all[a] = key++;
    });
    for (int part = 0; part < 20; ++part) {
      const int64_t begin = static_cast<int64_t>(random() % static_cast<uint64_t>(grid.cells()));
      const int64_t end = begin + static_cast<int64_t>(random() % static_cast<uint64_t>(grid.cells() - begin + 1));
      std::map<int64_t, int32_t> some;
      grid.for_each_run(begin, end, [&](int64_t a, int64_t b, int32_t key) {
        ASSERT_LE(begin, a);
        ASSERT_LE(b, end);
        for (; a < b; ++a) some[a] = key++;
      });
      const std::map<int64_t, int32_t> want(all.lower_bound(begin), all.lower_bound(end));
      ASSERT_EQ(some, want);
    }
  }
}

TEST(ConvGrid, RefusesWhatItCannotIndex) {
  const ConvGeometry good = test::geometry({5}, {5}, {3}, {1}, {1}, {1});
  ConvGrid fine(good);
  for (int64_t bad : {int64_t{0}, int64_t{-1}, std::numeric_limits<int64_t>::min()}) {
    auto g = good;
    g.in[0] = bad;
    EXPECT_THROW(ConvGrid{g}, std::invalid_argument);
    g = good;
    g.out[0] = bad;
    EXPECT_THROW(ConvGrid{g}, std::invalid_argument);
    g = good;
    g.kernel[0] = bad;
    EXPECT_THROW(ConvGrid{g}, std::invalid_argument);
    g = good;
    g.stride[0] = bad;
    EXPECT_THROW(ConvGrid{g}, std::invalid_argument);
    g = good;
    g.dilation[0] = bad;
    EXPECT_THROW(ConvGrid{g}, std::invalid_argument);
  }
  EXPECT_THROW(ConvGrid{test::geometry({65536, 32768}, {1, 1}, {1, 1}, {1, 1}, {0, 0}, {1, 1})}, std::invalid_argument);
  EXPECT_THROW(ConvGrid{test::geometry({1, 1}, {65536, 32768}, {1, 1}, {1, 1}, {0, 0}, {1, 1})}, std::invalid_argument);
  EXPECT_THROW(ConvGrid{test::geometry({9, 9}, {9, 9}, {1 << 13, 1 << 13}, {1, 1}, {0, 0}, {1, 1})},
               std::invalid_argument);
  EXPECT_THROW(ConvGrid{test::geometry({9}, {9}, {int64_t{1} << 40}, {1 << 20}, {0}, {1})}, std::invalid_argument);
  EXPECT_NO_THROW(ConvGrid{test::geometry({9}, {9}, {1 << 20}, {1 << 20}, {0}, {1})});
  const int64_t huge = std::numeric_limits<int64_t>::max();
  EXPECT_THROW(ConvGrid{test::geometry({9, 9}, {9, 9}, {3, 3}, {1, 1}, {0, 0}, {huge, huge})}, std::invalid_argument);
  EXPECT_THROW(ConvGrid{test::geometry({9}, {huge}, {3}, {1}, {0}, {1})}, std::invalid_argument);
  EXPECT_THROW(ConvGrid{test::geometry({9}, {9}, {3}, {1}, {huge}, {1})}, std::invalid_argument);
  EXPECT_THROW(ConvGrid{test::geometry({9}, {9}, {3}, {1}, {-huge}, {1})}, std::invalid_argument);
  EXPECT_NO_THROW(ConvGrid{test::geometry({9, 9}, {9, 9}, {3, 3}, {1, 1}, {0, 0}, {1, 100000})});
}

}  // namespace
}  // namespace jaxsparse
