// Sums of lists, pooling of whole lists, scaling by a mask, and numbers a channel, against plain loops.
#include <gtest/gtest.h>

#include "direct/channels.h"
#include "direct/global_pool.h"
#include "direct_cases.h"
#include "types.h"

namespace jaxsparse::test {
namespace {

constexpr Values kKinds[] = {Values::kNormal, Values::kIntegers, Values::kSpecial, Values::kSubnormal};

template <class T>
class DirectKit : public testing::Test {};
TYPED_TEST_SUITE(DirectKit, Storage);

// Lists of random sizes; every second time with faults.
template <class T>
Lists<T> some_lists(std::mt19937& random, int repeat, int64_t batch, int64_t volume) {
  auto x = random_lists<T>(random, batch, 3, 1 + int64_t(random() % 120), volume, 0.5, kKinds[random() % 4]);
  if (repeat % 2) corrupt(random, x);
  return x;
}

TEST(FixedSum, IsInTheStatedOrder) {
  std::mt19937 random(50);
  std::normal_distribution<double> normal;
  for (int64_t n : {0, 1, 2, 3, 127, 128, 129, 255, 256, 257, 1000, 8191, 8192, 8193, 20000}) {
    std::vector<double> terms(static_cast<size_t>(n));
    for (double& t : terms) t = normal(random);
    if (n == 2) terms = {-0.0, -0.0};
    const double sum = fixed_sum(n, [&](int64_t i) { return terms[static_cast<size_t>(i)]; });
    const double wanted = sum_in_halves(terms);
    EXPECT_EQ(std::memcmp(&sum, &wanted, sizeof sum), 0) << n;
  }
}

TYPED_TEST(DirectKit, AddRandom) {
  using T = TypeParam;
  std::mt19937 random(51);
  for (int repeat = 0; repeat < 60; ++repeat) {
    const int64_t volume = 1 + int64_t(random() % 150), batch = int64_t(random() % 3);
    const auto x = some_lists<T>(random, repeat, batch, volume), y = some_lists<T>(random, repeat / 2, batch, volume);
    const int64_t capacity = 1 + int64_t(random() % 160);
    std::vector<int32_t> want_source;
    const Lists<T> want = add_plainly(x, y, capacity, &want_source);
    on_every_pool([&](auto& pool) {
      std::vector<int32_t> source;
      expect_same_lists(run_add(pool, x, y, capacity, &source), want, true);
      ASSERT_EQ(source, want_source);
    });
    if (this->HasFatalFailure()) return;
  }
}

TYPED_TEST(DirectKit, AddOfLongLists) {
  using T = TypeParam;
  std::mt19937 random(52);
  const auto x = random_lists<T>(random, 1, 2, 20000, 60000, 0.3, Values::kIntegers);
  const auto y = random_lists<T>(random, 1, 2, 20000, 60000, 0.3, Values::kIntegers);
  for (int64_t capacity : {1, 15000, 40000}) {
    std::vector<int32_t> source, want_source;
    const Lists<T> want = add_plainly(x, y, capacity, &want_source);
    ThreadPool pool(2);
    expect_same_lists(run_add(pool, x, y, capacity, &source), want, true);
    ASSERT_EQ(source, want_source);
  }
}

TYPED_TEST(DirectKit, GlobalPoolsRandom) {
  using T = TypeParam;
  std::mt19937 random(53);
  for (int repeat = 0; repeat < 60; ++repeat) {
    const int64_t volume = 1 + int64_t(random() % 200);
    const auto x = some_lists<T>(random, repeat, 2, volume);
    const ListSizes n{x.batch, x.channels, x.capacity};
    Lists<T> highest(2, 3, 1, 1);
    const auto g = random_values<T>(random, n.lists(), Values::kNormal);
    std::vector<T> mean, shares(x.values.size(), from_accum<T>(0));
    for (int64_t list = 0; list < n.lists(); ++list) {
      std::vector<Candidate<Accum<T>>> best;
      std::vector<double> terms;
      const int64_t stored = x.stored(list);
      for (int64_t i = 0; i < stored; ++i) {
        const Accum<T> value = x.value(list, i);
        if (best.empty() || (std::isnan(value) ? !std::isnan(best[0].value) : value > best[0].value))
          best = {{0, value, int32_t(i)}};
        terms.push_back(double(value));
        shares[size_t(list * x.capacity + i)] = from_accum<T>(to_accum(g[size_t(list)]) / Accum<T>(stored));
      }
      write_list(highest, list, best, Rule::kValue);
      mean.push_back(from_accum<T>(stored ? Accum<T>(sum_in_halves(terms) / double(stored)) : Accum<T>(0)));
    }
    on_every_pool([&](auto& pool) {
      Lists<T> got(2, 3, 1, 1);
      global_max_pool<T>(pool, n, volume, x.keys.data(), x.values.data(), got.keys.data(), got.values.data(),
                         got.found.data(), got.source.data());
      expect_same_lists(got, highest, true);
      std::vector<T> got_mean(mean.size()), got_shares(x.values.size(), from_accum<T>(7));
      global_avg_pool<T>(pool, n, volume, x.keys.data(), x.values.data(), got_mean.data());
      expect_same_values(got_mean, mean);
      global_avg_pool_grad<T>(pool, n, volume, x.keys.data(), g.data(), got_shares.data());
      expect_same_values(got_shares, shares);
    });
    if (this->HasFatalFailure()) return;
  }
}

TYPED_TEST(DirectKit, MaskedScaleRandom) {
  using T = TypeParam;
  using A = Accum<T>;
  std::mt19937 random(54);
  const A choices[] = {0, 1, A(0.3), A(-2.5), A(1e-30)};
  for (int repeat = 0; repeat < 40; ++repeat) {
    const int64_t volume = 1 + int64_t(random() % 200);
    const auto x = some_lists<T>(random, repeat, 2, volume);
    const A factors[2] = {choices[random() % 5], choices[random() % 5]};
    std::vector<char> mask;
    std::vector<T> want;
    for (size_t i = 0; i < x.values.size(); ++i) {
      mask.push_back(char(random() % 2));
      const auto list = int64_t(i) / x.capacity;
      const A factor = factors[mask[i] ? 0 : 1];
      const bool counts = int64_t(i) % x.capacity < x.stored(list) && factor != 0;
      want.push_back(from_accum<T>(counts ? to_accum(x.values[i]) * factor : A(0)));
    }
    on_every_pool([&](auto& pool) {
      std::vector<T> got(x.values.size(), from_accum<T>(7));
      masked_scale<T>(pool, {2, 3, x.capacity}, volume, x.keys.data(), x.values.data(),
                      reinterpret_cast<const bool*>(mask.data()), factors, got.data());
      expect_same_values(got, want);
    });
    if (this->HasFatalFailure()) return;
  }
}

template <class T>
class DirectChannels : public testing::Test {};
TYPED_TEST_SUITE(DirectChannels, Wide);

TYPED_TEST(DirectChannels, DotAndAffineRandom) {
  using T = TypeParam;
  std::mt19937 random(55);
  for (int repeat = 0; repeat < 60; ++repeat) {
    const int64_t volume = 1 + int64_t(random() % 200);
    const auto x = some_lists<T>(random, repeat, int64_t(random() % 4), volume);
    const ListSizes n{x.batch, 3, x.capacity};
    const auto other = random_values<T>(random, n.lists() * n.capacity, Values::kNormal);
    const auto shift = random_values<T>(random, 3, Values::kNormal),
               scale = random_values<T>(random, 3, Values::kNormal);
    const ChannelTerm<T> a{random() % 4 ? x.values.data() : nullptr, random() % 2 ? shift.data() : nullptr};
    const ChannelTerm<T> b{random() % 4 ? other.data() : nullptr, random() % 2 ? scale.data() : nullptr};
    const T* offset = random() % 2 ? shift.data() : nullptr;
    const auto term = [](const ChannelTerm<T>& t, int64_t at, int64_t channel) {
      return t.values ? t.values[at] - (t.shift ? t.shift[channel] : T(0)) : T(1);
    };
    std::vector<T> dot, affine(x.values.size(), T(0));
    for (int64_t c = 0; c < 3; ++c) {
      double total = 0;
      for (int64_t batch = 0; batch < n.batch; ++batch) {
        const int64_t list = batch * 3 + c, base = list * n.capacity;
        std::vector<double> terms;
        for (int64_t i = 0; i < x.stored(list); ++i) {
          terms.push_back(double(term(a, base + i, c)) * double(term(b, base + i, c)));
          affine[size_t(base + i)] = term(a, base + i, c) * scale[size_t(c)] + (offset ? offset[c] : T(0));
        }
        total += sum_in_halves(terms);
      }
      dot.push_back(T(total));
    }
    on_every_pool([&](auto& pool) {
      std::vector<T> got_dot(3), got_affine(x.values.size(), T(7));
      channel_dot<T>(pool, n, volume, x.keys.data(), a, b, got_dot.data());
      expect_same_values(got_dot, dot);
      channel_affine<T>(pool, n, volume, x.keys.data(), a, scale.data(), offset, got_affine.data());
      expect_same_values(got_affine, affine);
    });
    if (this->HasFatalFailure()) return;
  }
}

}  // namespace
}  // namespace jaxsparse::test
