// Filters of which few weights are left: the tiles are laid out by planes, and every bit stays what it was.
#include <gtest/gtest.h>

#include "direct_cases.h"
#include "types.h"

namespace jaxsparse::test {
namespace {

constexpr Rule kRules[] = {Rule::kValue, Rule::kMagnitude, Rule::kRelu};

// Whether the first tile of the first batch element and block would be laid out by planes.
template <class T>
bool prefers_planes(const Problem<T>& p, bool overflows) {
  using A = Accum<T>;
  const ConvGrid grid(p.geometry);
  const ConvSizes n = sizes(p, 1);
  Workspace workspace(lay_out_conv<T>(grid, n, nullptr, true).bytes);
  auto layout = lay_out_conv<T>(grid, n, workspace.data(), true);
  SerialPool pool;
  pack_blocks<T>(pool, layout.blocks, grid, n.in_channels, n.out_channels, p.kernel.data(), mask_of(p),
                 static_cast<const T*>(nullptr));
  place_lists<T>(pool, layout.entries.data(), n.in_channels, grid, p.x.keys.data(), p.x.values.data(), n.capacity);
  TileAccumulator<A> tile(grid, layout.tiles_of_workers[0], layout.lanes);
  const auto work = tile.estimate(layout.blocks[0], layout.entries.data(), n.in_channels, 0);
  return tile.prefers_planes(layout.blocks[0], work, overflows);
}

template <class T>
void check(const Problem<T>& p, int64_t capacity, Rule rule) {
  SCOPED_TRACE(describe(p.geometry) + " in " + std::to_string(p.x.channels) + " out " + std::to_string(p.out_channels) +
               " capacity " + std::to_string(capacity) + " rule " + std::to_string(static_cast<int>(rule)));
  const Lists<T> want = conv_plainly(p, capacity, rule);
  on_every_pool([&](auto& pool) { expect_same_lists(run_conv(pool, p, capacity, rule), want); });
}

template <class T>
class DirectThinFilters : public testing::Test {};
TYPED_TEST_SUITE(DirectThinFilters, Storage);

TYPED_TEST(DirectThinFilters, RandomOnesInOneTile) {
  std::mt19937 random(31);
  const ConvGeometry few[] = {
      geometry({28, 28}, {28, 28}, {3, 3}, {1, 1}, {1, 1}, {1, 1}),
      geometry({9, 8, 10}, {9, 8, 10}, {3, 3, 3}, {1, 1, 1}, {1, 1, 1}, {1, 1, 1}),
      geometry({21, 17}, {11, 9}, {3, 5}, {2, 2}, {1, 2}, {1, 1}),
      geometry({200}, {200}, {5}, {1}, {30}, {15}),
  };
  for (const auto& g : few)
    for (int64_t out : {8, 13, 17}) {
      const auto p = random_problem<TypeParam>(random, g, 2, 4, out, 0.3, Values::kNormal, 0.08);
      EXPECT_TRUE(prefers_planes(p, true));
      const int64_t volume = PlainGeometry(g).out_volume;
      for (int64_t capacity : {int64_t{1}, volume / 20 + 1, volume}) {
        check(p, capacity, kRules[random() % 3]);
        if (this->HasFatalFailure()) return;
      }
    }
}

TYPED_TEST(DirectThinFilters, ManyTilesOfWhichSomeOverflow) {
  std::mt19937 random(32);
  const ConvGeometry wide[] = {
      geometry({130, 120}, {130, 120}, {3, 3}, {1, 1}, {1, 1}, {1, 1}),
      geometry({31, 32, 33}, {31, 32, 33}, {3, 3, 3}, {1, 1, 1}, {1, 1, 1}, {1, 1, 1}),
  };
  for (const auto& g : wide) {
    if (kSanitized && (g.dims == 3 || sizeof(TypeParam) != 4)) continue;
    const auto p = random_problem<TypeParam>(random, g, 1, 3, 9, 0.2, Values::kNormal, 0.1);
    EXPECT_TRUE(prefers_planes(p, true));
    for (int64_t capacity : {int64_t{50}, int64_t{3000}}) {
      check(p, capacity, kRules[random() % 3]);
      if (this->HasFatalFailure()) return;
    }
  }
}

// Values of all kinds, ties and infinities among them, and a masked weight that is NaN.
TYPED_TEST(DirectThinFilters, OddValues) {
  std::mt19937 random(33);
  const auto g = geometry({20, 23}, {20, 23}, {3, 3}, {1, 1}, {1, 1}, {1, 1});
  for (Values kind : {Values::kIntegers, Values::kSpecial, Values::kNegative, Values::kSubnormal}) {
    auto p = random_problem<TypeParam>(random, g, 2, 3, 8, 0.4, kind, 0.1);
    for (size_t i = 0; i < p.kernel.size(); ++i)
      if (!p.mask[i]) p.kernel[i] = random_value<TypeParam>(random, Values::kSpecial);
    EXPECT_TRUE(prefers_planes(p, true));
    for (Rule rule : kRules) {
      check(p, 40, rule);
      if (this->HasFatalFailure()) return;
    }
  }
}

TYPED_TEST(DirectThinFilters, FullOnesAreNot) {
  std::mt19937 random(34);
  const auto g = geometry({28, 28}, {28, 28}, {3, 3}, {1, 1}, {1, 1}, {1, 1});
  for (int64_t out : {8, 16})
    for (bool overflows : {false, true})
      EXPECT_FALSE(prefers_planes(random_problem<TypeParam>(random, g, 1, 8, out, 0.3, Values::kNormal), overflows));
}

// Where a floor drops most cells in bulk, an overflow is no reason for planes.
TEST(DirectFloors, OnlyThoseOfChannelsInUseCount) {
  OutputJob<float> job{};
  job.channels = 3;
  job.open();
  EXPECT_FALSE(job.has_floors());
  job.floor[3] = 1;
  EXPECT_FALSE(job.has_floors());
  job.floor[2] = -1;
  EXPECT_TRUE(job.has_floors());
}

}  // namespace
}  // namespace jaxsparse::test
