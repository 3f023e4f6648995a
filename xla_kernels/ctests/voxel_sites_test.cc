// Sites, kernel maps and merged rows against plain loops: random relations, corrupt lists, any number of threads.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <map>
#include <random>
#include <stdexcept>
#include <vector>

#include "pools.h"
#include "voxel/kernel_map.h"
#include "voxel/merge_rows.h"
#include "voxel/sites.h"
#include "voxel/sort_rows.h"

namespace jaxsparse::test {
namespace {

using voxel::Relation;
using Ints = std::vector<int64_t>;
using Rows = std::vector<int32_t>;
using Row = std::vector<int32_t>;

struct Case {
  Ints in, out, kernel, in_stride, out_stride, offset, step;
  Relation relation() const { return voxel::make_relation(in, out, kernel, in_stride, out_stride, offset, step); }
};

class Random {
 public:
  explicit Random(unsigned seed) : engine_(seed) {}
  int64_t from(int64_t low, int64_t high) { return std::uniform_int_distribution<int64_t>(low, high)(engine_); }
  std::mt19937& engine() { return engine_; }

 private:
  std::mt19937 engine_;
};

Case random_case(Random& random) {
  Case c;
  const auto dims = static_cast<size_t>(random.from(1, 4));
  const bool transposed = random.from(0, 1) == 1;
  const int64_t largest = dims == 1 ? 40 : dims == 2 ? 9 : 4;
  for (size_t a = 0; a < dims; ++a) {
    c.in.push_back(random.from(1, largest));
    c.out.push_back(random.from(1, largest));
    c.kernel.push_back(random.from(1, 4));
    c.in_stride.push_back(transposed ? random.from(1, 3) : 1);
    c.out_stride.push_back(transposed ? 1 : random.from(1, 3));
    c.offset.push_back(random.from(-4, 4));
    c.step.push_back(random.from(-2, 2) == 0 ? -1 : random.from(1, 3));
  }
  return c;
}

// Every tap in row-major order.
std::vector<Ints> all_taps(const Case& c) {
  std::vector<Ints> taps{{}};
  for (int64_t k : c.kernel) {
    std::vector<Ints> longer;
    for (const Ints& tap : taps)
      for (int64_t i = 0; i < k; ++i) {
        longer.push_back(tap);
        longer.back().push_back(i);
      }
    taps = longer;
  }
  return taps;
}

// The input that an output row meets, or nothing.
Row meets(const Case& c, const Row& out, const Ints& tap) {
  Row in{out[0]};
  for (size_t a = 0; a < c.in.size(); ++a) {
    const int64_t wanted = c.out_stride[a] * out[1 + a] + c.offset[a] + tap[a] * c.step[a];
    int64_t found = -1;
    for (int64_t i = 0; i < c.in[a]; ++i)
      if (i * c.in_stride[a] == wanted) found = i;
    if (found < 0) return {};
    in.push_back(static_cast<int32_t>(found));
  }
  return in;
}

std::vector<Row> every_site(int64_t batch, const Ints& sizes) {
  std::vector<Row> rows;
  for (int64_t b = 0; b < batch; ++b) rows.push_back({static_cast<int32_t>(b)});
  for (int64_t n : sizes) {
    std::vector<Row> longer;
    for (const Row& row : rows)
      for (int64_t i = 0; i < n; ++i) {
        longer.push_back(row);
        longer.back().push_back(static_cast<int32_t>(i));
      }
    rows = longer;
  }
  return rows;
}

std::vector<Row> some_sites(Random& random, int64_t batch, const Ints& sizes) {
  const int64_t share = random.from(0, 4);
  std::vector<Row> rows;
  for (const Row& row : every_site(batch, sizes))
    if (random.from(0, 3) < share) rows.push_back(row);
  return rows;
}

Rows listed(const std::vector<Row>& rows, int64_t batch, size_t columns, int64_t unused) {
  Rows out;
  for (const Row& row : rows) out.insert(out.end(), row.begin(), row.end());
  for (int64_t n = 0; n < unused; ++n) {
    out.push_back(static_cast<int32_t>(batch));
    out.resize(out.size() + columns - 1, 0);
  }
  return out;
}

// The prefix of a list that counts.
std::vector<Row> in_use(const Rows& list, int64_t batch, const Ints& sizes) {
  const size_t columns = sizes.size() + 1;
  std::vector<Row> rows;
  for (size_t n = 0; n + columns <= list.size(); n += columns) {
    const Row row(list.begin() + static_cast<int64_t>(n), list.begin() + static_cast<int64_t>(n + columns));
    bool inside = row[0] >= 0 && row[0] < batch;
    for (size_t a = 0; a < sizes.size(); ++a) inside &= row[1 + a] >= 0 && row[1 + a] < sizes[a];
    if (!inside || (!rows.empty() && row <= rows.back())) break;
    rows.push_back(row);
  }
  return rows;
}

void corrupt(Random& random, Rows& list) {
  static constexpr std::array<int32_t, 6> kBad{-1, INT32_MIN, INT32_MAX, 7, 2, 0};
  for (int64_t n = random.from(0, 3); n > 0 && !list.empty(); --n)
    list[static_cast<size_t>(random.from(0, static_cast<int64_t>(list.size()) - 1))] =
        kBad[static_cast<size_t>(random.from(0, 5))];
}

template <class F>
void on_all_pools(F&& f) {
  SerialPool serial;
  f(serial);
  ThreadPool two(1), four(3);
  f(two);
  f(four);
  BusyPool busy;
  f(busy);
}

TEST(VoxelSites, RandomRelationsAndCorruptLists) {
  for (unsigned seed = 0; seed < 400; ++seed) {
    SCOPED_TRACE(seed);
    Random random(seed);
    const Case c = random_case(random);
    const Relation relation = c.relation();
    const int64_t batch = random.from(1, 3);
    const size_t columns = c.in.size() + 1;
    Rows coords = listed(some_sites(random, batch, c.in), batch, columns, random.from(0, 2));
    if (seed % 2) corrupt(random, coords);
    const auto rows = static_cast<int64_t>(coords.size() / columns);
    const std::vector<Row> stored = in_use(coords, batch, c.in);
    const std::vector<Ints> taps = all_taps(c);

    std::map<Row, int32_t> number;
    for (size_t n = 0; n < stored.size(); ++n) number[stored[n]] = static_cast<int32_t>(n);
    std::vector<Row> reached;
    for (const Row& out : every_site(batch, c.out))
      if (std::any_of(taps.begin(), taps.end(), [&](const Ints& tap) { return number.count(meets(c, out, tap)) > 0; }))
        reached.push_back(out);

    const int64_t capacity = random.from(1, static_cast<int64_t>(reached.size()) + 3);
    std::vector<Row> kept = reached;
    if (static_cast<int64_t>(kept.size()) > capacity) kept.resize(static_cast<size_t>(capacity));
    const Rows wanted_sites = listed(kept, batch, columns, capacity - static_cast<int64_t>(kept.size()));
    Rows targets = listed(some_sites(random, batch, c.out), batch, columns, 1);
    if (seed % 4 > 1) corrupt(random, targets);
    const auto out_rows = static_cast<int64_t>(targets.size() / columns);
    const std::vector<Row> onto = in_use(targets, batch, c.out);
    Rows wanted_map;
    for (const Ints& tap : taps)
      for (int64_t m = 0; m < out_rows; ++m) {
        const auto at = static_cast<size_t>(m);
        const auto found = at < onto.size() ? number.find(meets(c, onto[at], tap)) : number.end();
        wanted_map.push_back(found == number.end() ? static_cast<int32_t>(rows) : found->second);
      }

    on_all_pools([&](auto& pool) {
      Rows sites(static_cast<size_t>(capacity) * columns, -9);
      int32_t count = -9;
      voxel::sites(pool, relation, batch, coords.data(), rows, capacity, sites.data(), &count);
      EXPECT_EQ(sites, wanted_sites);
      EXPECT_EQ(count, static_cast<int32_t>(reached.size()));
      Rows map(wanted_map.size(), -9);
      voxel::kernel_map(pool, relation, batch, coords.data(), rows, targets.data(), out_rows, map.data());
      EXPECT_EQ(map, wanted_map);
    });
  }
}

TEST(VoxelSites, ManyPiecesOnAllPools) {
  // A full volume, so that every piece of work meets its neighbours; symmetric, so that the map is its own mirror.
  const Ints n{17, 13, 11}, k{3, 3, 3}, one{1, 1, 1}, low{-1, -1, -1};
  const Relation relation = voxel::make_relation(n, n, k, one, one, low, one);
  const Rows coords = listed(every_site(2, n), 2, 4, 5);
  const auto rows = static_cast<int64_t>(coords.size() / 4);
  on_all_pools([&](auto& pool) {
    Rows map(static_cast<size_t>(27 * rows), -9);
    voxel::kernel_map(pool, relation, 2, coords.data(), rows, coords.data(), rows, map.data());
    for (int64_t t = 0; t < 27; ++t)
      for (int64_t m = 0; m < rows; ++m) {
        const int32_t met = map[static_cast<size_t>(t * rows + m)];
        const int64_t itself = m < rows - 5 ? m : rows;
        ASSERT_EQ(t == 13 ? met : itself, itself);
        ASSERT_EQ(met < rows ? map[static_cast<size_t>((26 - t) * rows + met)] : m, m);
      }
  });
}

TEST(VoxelSites, RefusesImpossibleRelations) {
  const Ints one{1}, zero{0}, two{2}, far{INT64_MAX}, none;
  EXPECT_THROW(voxel::make_relation(none, none, none, none, none, none, none), std::invalid_argument);
  EXPECT_THROW(voxel::make_relation(zero, one, one, one, one, one, one), std::invalid_argument);
  EXPECT_THROW(voxel::make_relation(one, one, zero, one, one, one, one), std::invalid_argument);
  EXPECT_THROW(voxel::make_relation(one, one, one, two, two, one, one), std::invalid_argument);
  EXPECT_THROW(voxel::make_relation(one, one, one, one, one, far, one), std::invalid_argument);
  EXPECT_THROW(voxel::make_box(1, none), std::invalid_argument);
  EXPECT_THROW(voxel::make_box(1, Ints{1 << 16, 1 << 15}), std::invalid_argument);
}

TEST(VoxelRows, SortedAndMerged) {
  for (unsigned seed = 0; seed < 200; ++seed) {
    SCOPED_TRACE(seed);
    Random random(seed);
    const Ints sizes{random.from(1, 4), random.from(1, 4)};
    const int64_t batch = random.from(1, 2), rows = random.from(0, 30), channels = 3;
    Rows coords;
    for (int64_t n = 0; n < rows; ++n)
      for (int64_t limit : {batch, sizes[0], sizes[1]})
        coords.push_back(static_cast<int32_t>(random.from(0, 9) ? random.from(0, limit - 1) : random.from(-1, limit)));
    std::vector<float> features(static_cast<size_t>(rows * channels));
    for (float& x : features) x = static_cast<float>(random.from(-9, 9)) * 0.37f;
    const auto used = static_cast<int32_t>(random.from(-1, rows + 1));
    const int64_t capacity = random.from(1, 12);

    std::map<Row, std::vector<int32_t>> groups;
    for (int32_t n = 0; n < std::min<int64_t>(used, rows); ++n) {
      const Row row(coords.begin() + 3 * n, coords.begin() + 3 * n + 3);
      if (row[0] >= 0 && row[0] < batch && row[1] >= 0 && row[1] < sizes[0] && row[2] >= 0 && row[2] < sizes[1])
        groups[row].push_back(n);
    }
    on_all_pools([&](auto& pool) {
      Rows sites(static_cast<size_t>(capacity * 3)), row_of(static_cast<size_t>(rows)), order(row_of),
          starts(static_cast<size_t>(capacity + 1));
      int32_t count = 0;
      voxel::sort_rows(pool, voxel::make_box(batch, sizes), coords.data(), rows, &used, capacity,
                       {sites.data(), &count, row_of.data(), order.data(), starts.data()});
      EXPECT_EQ(count, static_cast<int32_t>(groups.size()));
      const voxel::Groups g{order.data(), starts.data(), rows, capacity};
      std::vector<float> sum(static_cast<size_t>(capacity * channels), -9), back(features.size(), -9);
      voxel::merge_rows<float>(pool, g, channels, false, features.data(), sum.data());
      voxel::spread_rows<float>(pool, g, row_of.data(), channels, false, sum.data(), back.data());
      Rows expected_row_of(row_of.size(), static_cast<int32_t>(capacity));
      std::vector<Row> expected_sites;
      int64_t m = 0;
      for (const auto& [row, members] : groups) {
        if (m == capacity) break;
        expected_sites.push_back(row);
        for (int64_t c = 0; c < channels; ++c) {
          float total = features[static_cast<size_t>(members[0] * channels + c)];
          for (size_t j = 1; j < members.size(); ++j) total += features[static_cast<size_t>(members[j] * channels + c)];
          EXPECT_EQ(sum[static_cast<size_t>(m * channels + c)], total);
          for (int32_t n : members) EXPECT_EQ(back[static_cast<size_t>(n * channels + c)], total);
        }
        for (int32_t n : members) expected_row_of[static_cast<size_t>(n)] = static_cast<int32_t>(m);
        ++m;
      }
      EXPECT_EQ(row_of, expected_row_of);
      EXPECT_EQ(sites, listed(expected_sites, batch, 3, capacity - m));
    });
  }
}

TEST(VoxelRows, CorruptGroupsStayInside) {
  SerialPool pool;
  const Rows order{INT32_MIN, 7, -1, 1}, starts{-5, INT32_MAX, 2, 9}, row_of{-1, INT32_MAX, 2, 3};
  const voxel::Groups g{order.data(), starts.data(), 4, 3};
  const std::vector<float> features{1, 2, 3, 4};
  std::vector<float> out(3), back(4);
  Rows winner(3);
  voxel::merge_rows<float>(pool, g, 1, true, features.data(), out.data());
  voxel::spread_rows<float>(pool, g, row_of.data(), 1, true, out.data(), back.data());
  voxel::max_rows<float>(pool, g, 1, features.data(), winner.data());
  const Rows bad{INT32_MIN, 99, 3};
  voxel::pick_rows<float>(pool, 4, 3, 1, features.data(), bad.data(), out.data());
  EXPECT_EQ(out, (std::vector<float>{0, 0, 4}));
  voxel::place_rows<float>(pool, 4, 3, 1, out.data(), row_of.data(), bad.data(), back.data());
  EXPECT_EQ(back[0], 0);
}

}  // namespace
}  // namespace jaxsparse::test
