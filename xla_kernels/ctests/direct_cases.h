// What the tests of the direct kernels share: random problems, every pool, comparing lists.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "geometry_cases.h"
#include "lists.h"
#include "oracle.h"
#include "pools.h"
#include "runners.h"

namespace jaxsparse::test {

// Under sanitizers everything takes many times as long: long lists of large cases are thinned out.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool kSanitized = true;
#else
inline constexpr bool kSanitized = false;
#endif

// Calls run(pool) for a serial pool and real ones of 1, 2 and 4 threads.
template <class Run>
void on_every_pool(Run&& run) {
  {
    SCOPED_TRACE("serial");
    SerialPool pool;
    run(pool);
  }
  for (int threads : {1, 2, 4}) {
    if (testing::Test::HasFatalFailure()) return;
    SCOPED_TRACE(std::to_string(threads) + " threads");
    ThreadPool pool(threads);
    run(pool);
  }
}

template <class T>
void expect_same_values(const std::vector<T>& got, const std::vector<T>& want) {
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < got.size(); ++i)
    ASSERT_TRUE(same(got[i], want[i])) << "slot " << i << ": " << to_accum(got[i]) << ", not " << to_accum(want[i]);
}

template <class T>
void expect_same_lists(const Lists<T>& got, const Lists<T>& want, bool with_source = false) {
  ASSERT_EQ(got.found, want.found);
  ASSERT_EQ(got.keys, want.keys);
  expect_same_values(got.values, want.values);
  if (with_source) {
    ASSERT_EQ(got.source, want.source);
  }
}

template <class T>
Problem<T> random_problem(std::mt19937& random, const ConvGeometry& g, int64_t batch, int64_t in, int64_t out,
                          double density, Values kind, double alive = 1.0, bool bias = true) {
  const PlainGeometry plain(g);
  Problem<T> p;
  p.geometry = g;
  p.out_channels = out;
  const auto capacity = std::max<int64_t>(1, static_cast<int64_t>(1.2 * density * double(plain.in_volume)));
  p.x = random_lists<T>(random, batch, in, capacity, plain.in_volume, density, kind);
  p.kernel = random_values<T>(random, plain.taps * in * out, kind);
  if (bias) p.bias = random_values<T>(random, out, kind == Values::kSpecial ? Values::kIntegers : kind);
  if (alive < 1.0) {
    std::bernoulli_distribution live(alive);
    for (int64_t i = 0; i < plain.taps * in * out; ++i) p.mask.push_back(live(random) ? 1 : 0);
  }
  return p;
}

// Output lists with cotangents: the keys that a convolution kept, values drawn anew.
template <class T>
Lists<T> random_cotangents(std::mt19937& random, const Problem<T>& p, int64_t out_capacity, double density,
                           Values kind) {
  const PlainGeometry plain(p.geometry);
  return random_lists<T>(random, p.x.batch, p.out_channels, out_capacity, plain.out_volume, density, kind);
}

}  // namespace jaxsparse::test
