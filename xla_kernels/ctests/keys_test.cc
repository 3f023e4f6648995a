#include "core/keys.h"

#include <gtest/gtest.h>

#include <limits>
#include <random>
#include <vector>

#include "core/arena.h"

namespace jaxsparse {
namespace {

constexpr int32_t kMax = std::numeric_limits<int32_t>::max();
constexpr int32_t kMin = std::numeric_limits<int32_t>::min();

int64_t plain_prefix(const std::vector<int32_t>& keys, int64_t volume) {
  int64_t n = 0, last = -1;
  for (int32_t key : keys) {
    if (key <= last || key >= volume) break;
    last = key;
    ++n;
  }
  return n;
}

TEST(StoredEntries, FindsWhereTheListBreaks) {
  for (int64_t capacity : {0, 1, 2, 63, 64, 65, 128, 129, 300}) {
    std::vector<int32_t> keys(static_cast<size_t>(capacity));
    for (size_t i = 0; i < keys.size(); ++i) keys[i] = static_cast<int32_t>(3 * i);
    const int64_t volume = 3 * capacity + 1;
    EXPECT_EQ(stored_entries(keys.data(), capacity, volume), capacity);
    for (size_t at = 0; at < keys.size(); ++at) {
      for (int32_t bad : {kMin, -1, 0, at ? keys[at - 1] : -1, static_cast<int32_t>(volume), kMax}) {
        auto broken = keys;
        broken[at] = bad;
        ASSERT_EQ(stored_entries(broken.data(), capacity, volume), plain_prefix(broken, volume))
            << capacity << " " << at;
      }
    }
  }
}

TEST(StoredEntries, SurvivesRandomContents) {
  std::mt19937 random(3);
  for (int repeat = 0; repeat < 2000; ++repeat) {
    std::vector<int32_t> keys(random() % 200);
    const int64_t volume = 1 + random() % 400;
    int32_t next = 0;
    for (auto& key : keys) {
      next += 1 + static_cast<int32_t>(random() % 4);
      key = random() % 150 == 0 ? static_cast<int32_t>(random()) : next;
    }
    ASSERT_EQ(stored_entries(keys.data(), static_cast<int64_t>(keys.size()), volume), plain_prefix(keys, volume));
  }
}

TEST(StoredEntries, LargestVolume) {
  std::vector<int32_t> keys(100);
  for (int i = 0; i < 100; ++i) keys[static_cast<size_t>(i)] = kMax - 100 + i;
  EXPECT_EQ(stored_entries(keys.data(), 100, kMax), 100);
  EXPECT_EQ(stored_entries(keys.data(), 100, kMax - 1), 99);
  keys.back() = kMax;
  EXPECT_EQ(stored_entries(keys.data(), 100, kMax), 99);
}

TEST(FastDiv, IsExact) {
  std::mt19937 random(4);
  std::vector<uint32_t> divisors = {1,   2,     3,     5,     7,          10,         255,       256,
                                    257, 65535, 65536, 65537, 0x3fffffff, 0x40000000, 0x7fffffff};
  for (int i = 0; i < 200; ++i) divisors.push_back(1 + random() % (1u << (1 + random() % 30)));
  for (uint32_t d : divisors) {
    const FastDiv divide(d);
    auto check = [&](uint64_t n) {
      if (n > 0x7fffffffu) return;
      ASSERT_EQ(divide(static_cast<uint32_t>(n)), n / d) << n << " / " << d;
    };
    for (uint64_t n = 0; n < 300; ++n) check(n);
    for (int i = 0; i < 500; ++i) {
      const uint64_t multiple = (uint64_t{random() & 0x7fffffffu} / d) * d;
      if (multiple) check(multiple - 1);
      check(multiple);
      check(multiple + 1);
      check(random() & 0x7fffffffu);
    }
    check(0x7fffffffu);
    check(0x7ffffffeu);
  }
}

TEST(Arena, MeasuresWhatItHandsOut) {
  for (size_t misalign : {0, 1, 8, 63}) {
    Arena measure;
    measure.take<char>(3);
    measure.take<double>(7);
    measure.take<int32_t>(0);
    measure.take<float>(17);
    std::vector<char> buffer(static_cast<size_t>(measure.bytes()) + misalign);
    char* base = buffer.data() + misalign;
    Arena arena(base);
    char* a = arena.take<char>(3);
    double* b = arena.take<double>(7);
    arena.take<int32_t>(0);
    float* c = arena.take<float>(17);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(a) % 64, 0u);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(b) % 64, 0u);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(c) % 64, 0u);
    EXPECT_GE(a, base);
    EXPECT_LE(reinterpret_cast<char*>(c + 17), base + measure.bytes());
    EXPECT_EQ(arena.bytes(), measure.bytes());
  }
}

}  // namespace
}  // namespace jaxsparse
