// Forward convolution and the response at given keys, against plain loops, to the bit.
#include <gtest/gtest.h>

#include <cstdlib>

#include "direct_cases.h"
#include "types.h"

namespace jaxsparse::test {
namespace {

constexpr Rule kRules[] = {Rule::kValue, Rule::kMagnitude, Rule::kRelu};

template <class T>
void check_conv(const Problem<T>& p, int64_t out_capacity, Rule rule) {
  SCOPED_TRACE(describe(p.geometry) + " in " + std::to_string(p.x.channels) + " out " + std::to_string(p.out_channels) +
               " capacity " + std::to_string(out_capacity) + " rule " + std::to_string(static_cast<int>(rule)));
  const Lists<T> want = conv_plainly(p, out_capacity, rule);
  on_every_pool([&](auto& pool) { expect_same_lists(run_conv(pool, p, out_capacity, rule), want); });
  if (testing::Test::HasFatalFailure()) return;
  const auto at = conv_at_plainly(p, want);
  on_every_pool([&](auto& pool) { expect_same_values(run_conv_at(pool, p, want), at); });
}

template <class T>
class DirectConv : public testing::Test {};
TYPED_TEST_SUITE(DirectConv, Storage);

TYPED_TEST(DirectConv, NamedGeometries) {
  std::mt19937 random(11);
  for (const auto& g : named_geometries()) {
    const int64_t volume = PlainGeometry(g).out_volume;
    const Rule rule = kRules[random() % 3];
    const auto p = random_problem<TypeParam>(random, g, 2, 3, 5, 0.3, Values::kNormal, 0.7);
    for (int64_t capacity : {int64_t{1}, (volume + 3) / 4, volume, volume + 7}) {
      check_conv(p, capacity, rule);
      if (this->HasFatalFailure()) return;
    }
  }
}

TYPED_TEST(DirectConv, RandomGeometriesChannelsAndValues) {
  std::mt19937 random(12);
  constexpr Values kKinds[] = {Values::kNormal, Values::kIntegers, Values::kSpecial, Values::kNegative};
  constexpr int64_t kChannels[] = {1, 2, 3, 8, 9, 16, 17, 33};
  for (int repeat = 0; repeat < 60; ++repeat) {
    const auto g = random_geometry(random, 1 + repeat % 4);
    const double density[] = {0.0, 0.05, 0.4, 1.0};
    const auto p =
        random_problem<TypeParam>(random, g, 1 + random() % 3, 1 + random() % 3, kChannels[random() % 8],
                                  density[random() % 4], kKinds[random() % 4], random() % 2 ? 1.0 : 0.4, random() % 2);
    const int64_t volume = PlainGeometry(g).out_volume;
    check_conv(p, 1 + static_cast<int64_t>(random() % static_cast<uint64_t>(volume + 2)), kRules[random() % 3]);
    if (this->HasFatalFailure()) return;
  }
}

// More than one tile, full side lists, merges: the volumes here are beyond a tile's cells.
TYPED_TEST(DirectConv, ManyTilesAndTheCut) {
  std::mt19937 random(13);
  const ConvGeometry wide[] = {
      geometry({14000}, {14000}, {5}, {1}, {2}, {1}),
      geometry({130, 120}, {130, 120}, {3, 3}, {1, 1}, {1, 1}, {1, 1}),
      geometry({23, 25, 24}, {23, 25, 24}, {3, 3, 3}, {1, 1, 1}, {1, 1, 1}, {1, 1, 1}),
      geometry({41, 40, 25}, {21, 20, 13}, {3, 2, 3}, {2, 2, 2}, {1, 0, 1}, {1, 1, 2}),
  };
  for (const auto& g : wide) {
    if (kSanitized && g.dims == 2) continue;
    const int64_t volume = PlainGeometry(g).out_volume;
    for (double density : {0.01, 0.5}) {
      if (kSanitized && density > 0.1 && sizeof(TypeParam) != 4) continue;
      const auto p = random_problem<TypeParam>(random, g, 1, 2, 3, density, Values::kNormal, 0.8);
      const Rule rule = kRules[random() % 3];
      for (int64_t capacity : {int64_t{40}, volume / 9, volume}) {
        check_conv(p, capacity, rule);
        if (this->HasFatalFailure()) return;
      }
    }
    if (kSanitized && sizeof(TypeParam) != 4) continue;
    check_conv(random_problem<TypeParam>(random, g, 1, 1, 17, 0.5, Values::kIntegers), volume / 5, Rule::kMagnitude);
    if (this->HasFatalFailure()) return;
  }
}

// Enough tiles for a guess of the floors. Where the strongest responses lie in the sampled tiles only, the
// guess is too high and the run is repeated without.
TYPED_TEST(DirectConv, FloorsRightAndWrong) {
  using A = Accum<TypeParam>;
  std::mt19937 random(19);
  const int64_t r = 140 * tile_cells<A>(8, int64_t{1} << 40);
  const auto g = geometry({r}, {r}, {3}, {1}, {1}, {1});
  const int64_t tile = tile_cells<A>(8, r), tiles = ConvGrid(g).cells() / tile + 1;
  ASSERT_TRUE(FloorGuess<A>::pays(tiles));
  auto p = random_problem<TypeParam>(random, g, 1, 1, 2, 0.01, Values::kNormal);
  for (bool wrong : {false, true}) {
    if (wrong) {
      for (int64_t i = 0; i < p.x.stored(0); ++i) p.x.values[static_cast<size_t>(i)] = from_accum<TypeParam>(A(1));
      for (int64_t s = 0; s < kSampleTiles; ++s) {
        const int64_t begin = FloorGuess<A>::tile(s, tiles) * tile;
        for (int64_t i = 0; i < p.x.stored(0); ++i)
          if (p.x.key(0, i) >= begin && p.x.key(0, i) < begin + tile)
            p.x.values[static_cast<size_t>(i)] = from_accum<TypeParam>(A(100));
      }
    }
    const int64_t capacity = p.x.stored(0) * (wrong ? 3 : 1) / 2;
    const auto want = conv_plainly(p, capacity, Rule::kMagnitude);
    ASSERT_GT(want.found[0], capacity * 5 / 3);
    on_every_pool([&](auto& pool) { expect_same_lists(run_conv(pool, p, capacity, Rule::kMagnitude), want); });
    if (this->HasFatalFailure()) return;
  }
}

TYPED_TEST(DirectConv, CorruptKeys) {
  std::mt19937 random(14);
  for (int repeat = 0; repeat < 60; ++repeat) {
    const auto g = random_geometry(random, 1 + repeat % 4);
    auto p = random_problem<TypeParam>(random, g, 2, 2, 3, 0.5, Values::kNormal, 0.7);
    corrupt(random, p.x);
    const int64_t volume = PlainGeometry(g).out_volume;
    check_conv(p, 1 + static_cast<int64_t>(random() % static_cast<uint64_t>(volume)), kRules[random() % 3]);
    auto y = random_cotangents(random, p, volume, 0.7, Values::kNormal);
    corrupt(random, y);
    const auto want = conv_at_plainly(p, y);
    on_every_pool([&](auto& pool) { expect_same_values(run_conv_at(pool, p, y), want); });
    if (this->HasFatalFailure()) return;
  }
}

// A masked weight takes no part, not even times inf; everything masked means no response at all.
TYPED_TEST(DirectConv, MaskedWeights) {
  std::mt19937 random(15);
  const auto g = geometry({9, 8}, {9, 8}, {3, 3}, {1, 1}, {1, 1}, {1, 1});
  for (double alive : {0.0, 0.1, 0.5}) {
    auto p = random_problem<TypeParam>(random, g, 2, 3, 9, 0.5, Values::kSpecial, alive);
    for (size_t i = 0; i < p.kernel.size(); ++i)
      if (!p.mask[i]) p.kernel[i] = random_value<TypeParam>(random, Values::kSpecial);
    check_conv(p, 30, Rule::kValue);
    if (this->HasFatalFailure()) return;
  }
}

TYPED_TEST(DirectConv, EmptyInputAndNoBatch) {
  std::mt19937 random(16);
  const auto g = geometry({9, 8}, {9, 8}, {3, 3}, {1, 1}, {1, 1}, {1, 1});
  check_conv(random_problem<TypeParam>(random, g, 2, 3, 4, 0.0, Values::kNormal), 5, Rule::kValue);
  check_conv(random_problem<TypeParam>(random, g, 0, 3, 4, 0.5, Values::kNormal), 5, Rule::kValue);
}

// XLA calls with flush-to-zero set; subnormals are ordinary numbers all the same.
TYPED_TEST(DirectConv, SubnormalsCount) {
  std::mt19937 random(17);
  const auto g = geometry({40}, {40}, {3}, {1}, {1}, {1});
  auto p = random_problem<TypeParam>(random, g, 2, 2, 3, 0.6, Values::kSubnormal);
  p.kernel = random_values<TypeParam>(random, static_cast<int64_t>(p.kernel.size()), Values::kIntegers);
  const auto want = conv_plainly(p, 30, Rule::kMagnitude);
#if defined(__x86_64__)
  const unsigned mode = _mm_getcsr();
  _mm_setcsr(mode | 0x8040u);
#endif
  on_every_pool([&](auto& pool) { expect_same_lists(run_conv(pool, p, 30, Rule::kMagnitude), want); });
#if defined(__x86_64__)
  _mm_setcsr(mode);
#endif
}

TEST(DirectIsa, EnvironmentLowersIt) {
  const char* wish = std::getenv("JAXSPARSE_ISA");
  if (!wish) return;
  // "portable" is also what a processor without the wish's instructions runs.
  if (std::string(instruction_set()) != "portable") {
    EXPECT_STREQ(instruction_set(), wish);
  }
}

}  // namespace
}  // namespace jaxsparse::test
