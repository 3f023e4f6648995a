// Conversions and the operations on entries alone.
#include <gtest/gtest.h>

#include "direct/entrywise.h"
#include "direct_cases.h"
#include "types.h"

namespace jaxsparse::test {
namespace {

constexpr Rule kRules[] = {Rule::kValue, Rule::kMagnitude, Rule::kRelu};
constexpr Values kKinds[] = {Values::kNormal, Values::kIntegers, Values::kSpecial, Values::kNegative};

template <class T>
class DirectLists : public testing::Test {};
TYPED_TEST_SUITE(DirectLists, Storage);

template <class T>
void check_from_dense(const DenseSizes& n, const std::vector<T>& x, Rule rule) {
  SCOPED_TRACE("volume " + std::to_string(n.volume) + " channels " + std::to_string(n.channels) + " capacity " +
               std::to_string(n.capacity) + " rule " + std::to_string(static_cast<int>(rule)));
  const Lists<T> want = from_dense_plainly(n, x, rule);
  on_every_pool([&](auto& pool) { expect_same_lists(run_from_dense(pool, n, x, rule), want); });
}

TYPED_TEST(DirectLists, FromDense) {
  std::mt19937 random(41);
  for (int repeat = 0; repeat < 80; ++repeat) {
    const int64_t volume = 1 + int64_t(random() % 300);
    const DenseSizes n{int64_t(random() % 3), volume, 1 + int64_t(random() % 35),
                       1 + int64_t(random() % uint64_t(volume + 2))};
    auto x = random_values<TypeParam>(random, n.batch * n.volume * n.channels, kKinds[random() % 4]);
    for (auto& value : x)
      if (repeat % 3 && random() % 4) value = from_accum<TypeParam>(0);
    check_from_dense(n, x, kRules[random() % 3]);
    if (this->HasFatalFailure()) return;
  }
}

TYPED_TEST(DirectLists, FromDenseManyTiles) {
  std::mt19937 random(42);
  for (int64_t channels : {1, 17}) {
    for (int64_t capacity : {1, 700, 5000, 30000}) {
      if (kSanitized && channels > 1 && sizeof(TypeParam) != 4) continue;
      const DenseSizes n{1, 30000, channels, capacity};
      check_from_dense(n, random_values<TypeParam>(random, n.volume * n.channels, Values::kIntegers),
                       kRules[random() % 3]);
      check_from_dense(n, random_values<TypeParam>(random, n.volume * n.channels, Values::kNormal),
                       kRules[random() % 3]);
      if (this->HasFatalFailure()) return;
    }
  }
}

TYPED_TEST(DirectLists, ToDenseAndGatherDense) {
  using T = TypeParam;
  std::mt19937 random(43);
  for (int repeat = 0; repeat < 60; ++repeat) {
    const int64_t volume = repeat ? 1 + int64_t(random() % 200) : 70000;  // the first has several spans
    const DenseSizes n{1 + int64_t(random() % 2), volume, 1 + int64_t(random() % 5),
                       1 + int64_t(random() % uint64_t(volume + 2))};
    auto x = random_lists<T>(random, n.batch, n.channels, n.capacity, n.volume, 0.4, Values::kSpecial);
    if (repeat % 2) corrupt(random, x);
    const auto cells = static_cast<size_t>(n.batch * n.volume * n.channels);
    std::vector<T> want(cells, from_accum<T>(0));
    const auto from = random_values<T>(random, int64_t(cells), Values::kSpecial);
    std::vector<T> want_values(x.values.size(), from_accum<T>(0));
    for (int64_t list = 0; list < n.batch * n.channels; ++list) {
      for (int64_t i = 0; i < x.stored(list); ++i) {
        const auto at =
            static_cast<size_t>((list / n.channels * n.volume + x.key(list, i)) * n.channels + list % n.channels);
        want[at] = x.values[static_cast<size_t>(list * n.capacity + i)];
        want_values[static_cast<size_t>(list * n.capacity + i)] = from[at];
      }
    }
    on_every_pool([&](auto& pool) {
      std::vector<T> dense(cells, from_accum<T>(7));
      to_dense<T>(pool, n, x.keys.data(), x.values.data(), dense.data());
      expect_same_values(dense, want);
      std::vector<T> values(x.values.size(), from_accum<T>(7));
      gather_dense<T>(pool, n, x.keys.data(), from.data(), values.data());
      expect_same_values(values, want_values);
    });
    if (this->HasFatalFailure()) return;
  }
}

TYPED_TEST(DirectLists, Relu) {
  using T = TypeParam;
  std::mt19937 random(44);
  for (int repeat = 0; repeat < 60; ++repeat) {
    const int64_t volume = 1 + int64_t(random() % 200);
    auto x = random_lists<T>(random, 2, 3, 1 + int64_t(random() % 200), volume, 0.5, kKinds[random() % 4]);
    if (repeat % 2) corrupt(random, x);
    Lists<T> want(x.batch, x.channels, x.capacity, volume);
    for (int64_t list = 0; list < 6; ++list) {
      std::vector<Candidate<Accum<T>>> all;
      for (int64_t i = 0; i < x.stored(list); ++i)
        if (!(x.value(list, i) <= 0)) all.push_back({x.key(list, i), x.value(list, i), int32_t(i)});
      write_list(want, list, all, Rule::kValue);
    }
    on_every_pool([&](auto& pool) {
      Lists<T> got(x.batch, x.channels, x.capacity, volume);
      relu<T>(pool, {x.batch, x.channels, x.capacity}, volume, x.keys.data(), x.values.data(), got.keys.data(),
              got.values.data(), got.found.data(), got.source.data());
      expect_same_lists(got, want, true);
    });
    if (this->HasFatalFailure()) return;
  }
}

TYPED_TEST(DirectLists, TakeAndPutAdd) {
  using T = TypeParam;
  std::mt19937 random(45);
  for (int repeat = 0; repeat < 60; ++repeat) {
    const int64_t slots = 1 + int64_t(random() % 50), out_slots = 1 + int64_t(random() % 80);
    const ListSizes n{2, 3, slots};
    const auto values = random_values<T>(random, 6 * slots, Values::kSpecial);
    const auto grads = random_values<T>(random, 6 * out_slots, repeat % 2 ? Values::kSpecial : Values::kNormal);
    std::vector<int32_t> source;
    for (int64_t i = 0; i < 6 * out_slots; ++i)
      source.push_back(random() % 10 ? int32_t(random() % uint64_t(slots + 2)) - 1 : int32_t(random()));
    std::vector<T> taken, added;
    std::vector<Accum<T>> sums(size_t(6 * slots), 0);
    for (int64_t i = 0; i < 6 * out_slots; ++i) {
      const int32_t s = source[size_t(i)];
      const bool valid = s >= 0 && s < slots;
      const auto at = size_t(i / out_slots * slots + (valid ? s : 0));
      taken.push_back(valid ? values[at] : from_accum<T>(0));
      if (valid) sums[at] += to_accum(grads[size_t(i)]);
    }
    for (auto sum : sums) added.push_back(from_accum<T>(sum));
    on_every_pool([&](auto& pool) {
      std::vector<T> got(size_t(6 * out_slots));
      take<T>(pool, n, out_slots, values.data(), source.data(), got.data());
      expect_same_values(got, taken);
      std::vector<T> back(size_t(6 * slots), from_accum<T>(7));
      Workspace workspace(put_add_bytes<T>(slots));
      put_add<T>(pool, n, out_slots, grads.data(), source.data(), back.data(), workspace.data());
      expect_same_values(back, added);
    });
    if (this->HasFatalFailure()) return;
  }
}

TYPED_TEST(DirectLists, ChannelSum) {
  using T = TypeParam;
  std::mt19937 random(46);
  for (int repeat = 0; repeat < 40; ++repeat) {
    auto x =
        random_lists<T>(random, int64_t(random() % 4), 3, 40, 60, 0.5, repeat % 2 ? Values::kNormal : Values::kSpecial);
    if (repeat % 3 == 0) corrupt(random, x);
    std::vector<T> want;
    for (int64_t c = 0; c < 3; ++c) {
      double total = 0;
      for (int64_t b = 0; b < x.batch; ++b) {
        std::vector<double> terms;
        for (int64_t i = 0; i < x.stored(b * 3 + c); ++i) terms.push_back(double(x.value(b * 3 + c, i)));
        total += sum_in_halves(terms);
      }
      want.push_back(from_accum<T>(Accum<T>(total)));
    }
    on_every_pool([&](auto& pool) {
      std::vector<T> got(3);
      channel_sum<T>(pool, {x.batch, 3, 40}, 60, x.keys.data(), x.values.data(), got.data());
      expect_same_values(got, want);
    });
    if (this->HasFatalFailure()) return;
  }
}

}  // namespace
}  // namespace jaxsparse::test
