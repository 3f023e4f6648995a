// Restricted back-propagation against plain loops: the input gradient to the bit, the kernel gradient to rounding and
// the same bits for any number of threads.
#include <gtest/gtest.h>

#include "direct_cases.h"
#include "types.h"

namespace jaxsparse::test {
namespace {

template <class T>
double unit_roundoff() {
  if (sizeof(T) == 8) return 0x1p-53;
  if (sizeof(T) == 4) return 0x1p-24;
  return std::is_same_v<T, BF16> ? 0x1p-8 : 0x1p-11;
}

template <class T>
void check_kernel_grad(const Problem<T>& p, const Lists<T>& y) {
  const auto want = kernel_grad_plainly(p, y);
  std::vector<T> first;
  on_every_pool([&](auto& pool) {
    const auto got = run_kernel_grad(pool, p, y);
    if (first.empty()) first = got;
    expect_same_values(got, first);
  });
  if (testing::Test::HasFatalFailure()) return;
  const double accumulate = sizeof(T) == 8 ? 0x1p-53 : 0x1p-24;
  const double largest = to_accum(from_accum<T>(std::is_same_v<T, F16> ? 6e4f : 1e38f));
  const double terms = double(p.x.batch * p.x.capacity);
  for (size_t i = 0; i < want.size(); ++i) {
    const double got = to_accum(first[i]);
    if (want[i].absolute > largest) continue;  // finite terms may overflow, which depends on the order
    if (want[i].not_a_number()) {
      ASSERT_TRUE(std::isnan(got)) << "weight " << i;
    } else if (want[i].up || want[i].down) {
      ASSERT_EQ(got, want[i].up ? HUGE_VAL : -HUGE_VAL) << "weight " << i;
    } else {
      const double bound =
          want[i].absolute * (terms + 2) * accumulate + std::abs(want[i].sum) * unit_roundoff<T>() + 0x1p-24;
      ASSERT_NEAR(got, want[i].sum, bound) << "weight " << i;
    }
  }
}

template <class T>
void check_grads(const Problem<T>& p, const Lists<T>& y) {
  SCOPED_TRACE(describe(p.geometry) + " in " + std::to_string(p.x.channels) + " out " + std::to_string(p.out_channels));
  const auto want = input_grad_plainly(p, y);
  on_every_pool([&](auto& pool) { expect_same_values(run_input_grad(pool, p, y), want); });
  if (testing::Test::HasFatalFailure()) return;
  check_kernel_grad(p, y);
}

template <class T>
class DirectGrad : public testing::Test {};
TYPED_TEST_SUITE(DirectGrad, Storage);

TYPED_TEST(DirectGrad, NamedGeometries) {
  std::mt19937 random(21);
  for (const auto& g : named_geometries()) {
    const int64_t volume = PlainGeometry(g).out_volume;
    for (int64_t out : {1, 5, 17}) {
      const auto p = random_problem<TypeParam>(random, g, 2, 3, out, 0.3, Values::kNormal, 0.7);
      check_grads(p, random_cotangents(random, p, (volume + 1) / 2, 0.4, Values::kNormal));
      if (this->HasFatalFailure()) return;
    }
  }
}

TYPED_TEST(DirectGrad, RandomGeometriesChannelsAndValues) {
  std::mt19937 random(22);
  constexpr Values kKinds[] = {Values::kNormal, Values::kIntegers, Values::kNegative};
  constexpr int64_t kChannels[] = {1, 2, 3, 8, 9, 16, 17, 33};
  constexpr double kDensities[] = {0.0, 0.05, 0.4, 1.0};
  for (int repeat = 0; repeat < 100; ++repeat) {
    const auto g = random_geometry(random, 1 + repeat % 4);
    const int64_t volume = PlainGeometry(g).out_volume;
    const auto p = random_problem<TypeParam>(random, g, 1 + random() % 3, 1 + random() % 3, kChannels[random() % 8],
                                             kDensities[random() % 4], kKinds[random() % 3], random() % 2 ? 1.0 : 0.4);
    check_grads(p, random_cotangents(random, p, volume + 1, kDensities[random() % 4], kKinds[random() % 3]));
    if (this->HasFatalFailure()) return;
  }
}

// Rings, ranges and several of them: volumes beyond a window's tile.
TYPED_TEST(DirectGrad, LargeVolumes) {
  std::mt19937 random(23);
  const ConvGeometry wide[] = {
      geometry({150000}, {150000}, {5}, {1}, {2}, {1}),      // two ranges of cells
      geometry({30000}, {30000}, {3}, {1}, {6000}, {6000}),  // the largest offset is beyond a tile
      geometry({150, 150}, {150, 150}, {3, 3}, {1, 1}, {1, 1}, {1, 1}),
      geometry({23, 25, 24}, {23, 25, 24}, {3, 3, 3}, {1, 1, 1}, {1, 1, 1}, {1, 1, 1}),
      geometry({61, 60, 25}, {31, 30, 13}, {3, 2, 3}, {2, 2, 2}, {1, 0, 1}, {1, 1, 2}),
  };
  for (const auto& g : wide) {
    if (kSanitized && g.dims == 2) continue;
    const int64_t volume = PlainGeometry(g).out_volume;
    for (double density : {0.003, 0.1}) {
      if (kSanitized && density > 0.01 && sizeof(TypeParam) != 4) continue;
      const int64_t out = density < 0.1 ? 18 : 3;
      const auto p = random_problem<TypeParam>(random, g, 1, 2, out, density, Values::kNormal, 0.8);
      check_grads(p, random_cotangents(random, p, volume / 4, density, Values::kNormal));
      if (this->HasFatalFailure()) return;
    }
  }
}

TYPED_TEST(DirectGrad, NonFiniteNumbersStayWhereTheyBelong) {
  std::mt19937 random(24);
  for (int repeat = 0; repeat < 60; ++repeat) {
    const auto g = random_geometry(random, 1 + repeat % 4);
    const int64_t volume = PlainGeometry(g).out_volume;
    auto p = random_problem<TypeParam>(random, g, 2, 2, 1 + random() % 18, 0.4, Values::kSpecial, 0.6);
    // inf or NaN in a masked weight, in an input or in a cotangent, one at a time and together
    if (repeat % 3 == 0) p.kernel = random_values<TypeParam>(random, int64_t(p.kernel.size()), Values::kIntegers);
    check_grads(p, random_cotangents(random, p, volume, 0.5, repeat % 2 ? Values::kSpecial : Values::kIntegers));
    if (this->HasFatalFailure()) return;
  }
}

TYPED_TEST(DirectGrad, CorruptKeys) {
  std::mt19937 random(25);
  for (int repeat = 0; repeat < 60; ++repeat) {
    const auto g = random_geometry(random, 1 + repeat % 4);
    const int64_t volume = PlainGeometry(g).out_volume;
    auto p = random_problem<TypeParam>(random, g, 2, 2, 3, 0.5, Values::kNormal, 0.7);
    auto y = random_cotangents(random, p, volume, 0.7, Values::kNormal);
    corrupt(random, p.x);
    corrupt(random, y);
    check_grads(p, y);
    if (this->HasFatalFailure()) return;
  }
}

// Integers add exactly, so here even the kernel gradient has one right answer.
TYPED_TEST(DirectGrad, KernelGradOfIntegersIsExact) {
  std::mt19937 random(26);
  const auto g = geometry({12, 11}, {12, 11}, {3, 3}, {1, 1}, {1, 1}, {1, 1});
  const auto p = random_problem<TypeParam>(random, g, 3, 2, 9, 0.2, Values::kIntegers, 0.8);
  const auto y = random_cotangents(random, p, 60, 0.3, Values::kIntegers);
  const auto want = kernel_grad_plainly(p, y);
  on_every_pool([&](auto& pool) {
    const auto got = run_kernel_grad(pool, p, y);
    for (size_t i = 0; i < want.size(); ++i) ASSERT_EQ(double(to_accum(got[i])), want[i].sum) << i;
  });
}

}  // namespace
}  // namespace jaxsparse::test
