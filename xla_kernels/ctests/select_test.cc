#include "core/select.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "types.h"

namespace jaxsparse {
namespace {

template <class A>
struct Item {
  int32_t key;
  A value;
};

template <class A>
using Items = std::vector<Item<A>>;

// The rule in words: by rank, equal ranks by the lower key, what is kept in key order.
template <class A>
Items<A> strongest(Items<A> items, size_t capacity, Rule rule) {
  std::sort(items.begin(), items.end(), [](auto& a, auto& b) { return a.key < b.key; });
  std::stable_sort(items.begin(), items.end(),
                   [&](auto& a, auto& b) { return rank_of(a.value, rule) > rank_of(b.value, rule); });
  items.resize(std::min(items.size(), capacity));
  std::sort(items.begin(), items.end(), [](auto& a, auto& b) { return a.key < b.key; });
  return items;
}

template <class A>
struct Lists {
  std::vector<int32_t> key, extra;
  std::vector<A> value;
  Responses<A> view{};
  Lists(const Items<A>& items, size_t room) : key(room), extra(room), value(room) {
    for (size_t i = 0; i < items.size(); ++i) {
      key[i] = items[i].key;
      value[i] = items[i].value;
      extra[i] = ~items[i].key;
    }
    view = {key.data(), value.data(), extra.data(), static_cast<int64_t>(items.size())};
  }
};

template <class A>
void expect_kept(const Responses<A>& got, const Items<A>& want) {
  ASSERT_EQ(got.n, static_cast<int64_t>(want.size()));
  for (size_t i = 0; i < want.size(); ++i) {
    ASSERT_EQ(got.key[i], want[i].key) << i;
    ASSERT_EQ(0, std::memcmp(&got.value[i], &want[i].value, sizeof(A))) << i;
    ASSERT_EQ(got.extra[i], ~want[i].key) << "the payload moves along";
  }
}

enum class Flavour { kNormal, kFewDistinct, kAllEqual, kSpecial, kClose, kSomeNaN };

template <class A>
Items<A> random_items(std::mt19937& random, size_t n, Flavour flavour) {
  using L = std::numeric_limits<A>;
  const A special[] = {L::quiet_NaN(), -L::quiet_NaN(), L::infinity(), -L::infinity(), A(0),
                       -A(0),          L::denorm_min(), L::max(),      A(1),           A(-1)};
  std::normal_distribution<double> normal;
  Items<A> items(n);
  int32_t key = 0;
  for (auto& item : items) {
    key += 1 + static_cast<int32_t>(random() % 3);
    item.key = key;
    switch (flavour) {
      case Flavour::kNormal:
        item.value = A(normal(random));
        break;
      case Flavour::kFewDistinct:
        item.value = A(int(random() % 5) - 2);
        break;
      case Flavour::kAllEqual:
        item.value = A(-3);
        break;
      case Flavour::kSpecial:
        item.value = special[random() % 10];
        break;
      case Flavour::kClose:
        item.value = A(1) + A(random() % 7) * L::epsilon();
        break;
      case Flavour::kSomeNaN:
        item.value = random() % 8 ? A(normal(random)) : special[random() % 4];
        break;
    }
  }
  return items;
}

constexpr Flavour kFlavours[] = {Flavour::kNormal,  Flavour::kFewDistinct, Flavour::kAllEqual,
                                 Flavour::kSpecial, Flavour::kClose,       Flavour::kSomeNaN};
constexpr Rule kRules[] = {Rule::kValue, Rule::kMagnitude, Rule::kRelu};

template <class A>
class Select : public testing::Test {};
using Accumulators = test::Wide;
TYPED_TEST_SUITE(Select, Accumulators);

TYPED_TEST(Select, KeepsTheStrongestOfTwoLists) {
  using A = TypeParam;
  std::mt19937 random(8);
  for (int repeat = 0; repeat < 600; ++repeat) {
    for (Flavour flavour : kFlavours) {
      const Rule rule = kRules[random() % 3];
      const auto all = random_items<A>(random, 1 + random() % 80, flavour);
      const size_t capacity = 1 + random() % all.size();
      Items<A> first, second;
      for (auto& item : all) (random() % 2 ? first : second).push_back(item);
      Lists<A> main(first, all.size()), side(second, all.size());
      keep_strongest(main.view, side.view, static_cast<int64_t>(capacity), rule);
      EXPECT_EQ(side.view.n, 0);
      expect_kept(main.view, strongest(all, capacity, rule));
      if (this->HasFatalFailure()) return;
    }
  }
}

// The end of a run: what waits in the side lists of all workers at once.
TYPED_TEST(Select, SideListsOfSeveralWorkers) {
  using A = TypeParam;
  std::mt19937 random(18);
  for (int repeat = 0; repeat < 200; ++repeat) {
    for (Flavour flavour : kFlavours) {
      const Rule rule = kRules[random() % 3];
      const auto all = random_items<A>(random, 20 + random() % 200, flavour);
      const size_t workers = 1 + random() % kMaxWorkers, capacity = 1 + random() % (all.size() - 1);
      std::vector<Items<A>> items(workers + 1);
      for (size_t i = 0; i < all.size(); ++i) items[i < capacity ? 0 : 1 + random() % workers].push_back(all[i]);
      Lists<A> main(items[0], capacity);
      std::vector<Lists<A>> sides;
      std::vector<Responses<A>> views;
      for (size_t w = 1; w <= workers; ++w) views.push_back(sides.emplace_back(items[w], all.size()).view);
      const auto bound =
          keep_strongest(main.view, views.data(), static_cast<int64_t>(workers), static_cast<int64_t>(capacity), rule);
      const auto want = strongest(all, capacity, rule);
      expect_kept(main.view, want);
      if (this->HasFatalFailure()) return;
      for (const auto& view : views) EXPECT_EQ(view.n, 0);
      for (const auto& item : want) {
        const auto rank = rank_of(item.value, rule);
        EXPECT_TRUE(rank > bound.rank || (rank == bound.rank && item.key <= bound.key));
      }
    }
  }
}

// What the kernels do: fill up, then merge batches of what beats the last bound. Batches come in any order.
TYPED_TEST(Select, StreamThroughAReservoir) {
  using A = TypeParam;
  std::mt19937 random(9);
  for (int repeat = 0; repeat < 200; ++repeat) {
    for (Flavour flavour : kFlavours) {
      const Rule rule = kRules[random() % 3];
      const auto all = random_items<A>(random, 20 + random() % 300, flavour);
      const size_t capacity = 1 + random() % (all.size() - 1);
      const size_t room = 1 + random() % 12;
      Items<A> head(all.begin(), all.begin() + static_cast<long>(capacity));
      Lists<A> main(head, all.size() + room);
      Bound<A> bound;
      std::vector<Items<A>> batches;
      for (size_t at = capacity; at < all.size(); at += room)
        batches.emplace_back(all.begin() + static_cast<long>(at),
                             all.begin() + static_cast<long>(std::min(all.size(), at + room)));
      std::shuffle(batches.begin(), batches.end(), random);
      for (const auto& batch : batches) {
        Items<A> waiting;
        for (const auto& item : batch) {
          const A score = rule == Rule::kMagnitude ? std::abs(item.value) : item.value;
          if (score < bound.score) continue;  // the vector test
          const auto rank = rank_of(item.value, rule);
          if (rank < bound.rank || (rank == bound.rank && item.key > bound.key)) continue;
          waiting.push_back(item);
        }
        Lists<A> side(waiting, room);
        bound = keep_strongest(main.view, side.view, static_cast<int64_t>(capacity), rule);
      }
      expect_kept(main.view, strongest(all, capacity, rule));
      if (this->HasFatalFailure()) return;
    }
  }
}

TYPED_TEST(Select, AllOfThemAndOneOfThem) {
  using A = TypeParam;
  std::mt19937 random(10);
  for (Flavour flavour : kFlavours) {
    for (Rule rule : kRules) {
      const auto all = random_items<A>(random, 50, flavour);
      for (size_t capacity : {size_t{1}, all.size()}) {
        Lists<A> main(all, all.size()), side({}, 1);
        keep_strongest(main.view, side.view, static_cast<int64_t>(capacity), rule);
        expect_kept(main.view, strongest(all, capacity, rule));
      }
    }
  }
}

}  // namespace
}  // namespace jaxsparse
