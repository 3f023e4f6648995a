// What the tests of the direct kernels share: running a kernel with a workspace of exactly the stated size, on several
// pools, and comparing lists.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "direct/conv_grad.h"
#include "geometry_cases.h"
#include "lists.h"
#include "oracle.h"
#include "pools.h"

namespace jaxsparse::test {

// Exactly `bytes`, from an odd address and full of garbage: nothing may rely on zeros or alignment.
class Workspace {
 public:
  explicit Workspace(int64_t bytes) : buffer_(new unsigned char[static_cast<size_t>(bytes) + 1]) {
    std::memset(buffer_.get(), 0xab, static_cast<size_t>(bytes) + 1);
  }
  void* data() { return buffer_.get() + 1; }

 private:
  std::unique_ptr<unsigned char[]> buffer_;
};

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

template <class T>
ConvSizes sizes(const Problem<T>& p, int64_t out_capacity) {
  return {p.x.batch, p.x.channels, p.out_channels, p.x.capacity, out_capacity};
}

template <class T>
const bool* mask_of(const Problem<T>& p) {
  static_assert(sizeof(bool) == 1);
  return p.mask.empty() ? nullptr : reinterpret_cast<const bool*>(p.mask.data());
}

template <class T, class Pool>
Lists<T> run_conv(Pool& pool, const Problem<T>& p, int64_t out_capacity, Rule rule) {
  const ConvGrid grid(p.geometry);
  const ConvSizes n = sizes(p, out_capacity);
  Workspace workspace(lay_out_conv<T>(grid, n, nullptr, true).bytes);
  Lists<T> y(n.batch, n.out_channels, out_capacity, grid.out_volume());
  conv_forward<T>(pool, grid, n, p.x.keys.data(), p.x.values.data(), p.kernel.data(),
                  p.bias.empty() ? nullptr : p.bias.data(), mask_of(p), rule, y.keys.data(), y.values.data(),
                  y.found.data(), workspace.data());
  return y;
}

template <class T, class Pool>
std::vector<T> run_conv_at(Pool& pool, const Problem<T>& p, const Lists<T>& y) {
  const ConvGrid grid(p.geometry);
  const ConvSizes n = sizes(p, y.capacity);
  Workspace workspace(lay_out_conv<T>(grid, n, nullptr, false).bytes);
  Lists<T> out(y.batch, y.channels, y.capacity, y.volume);
  conv_at<T>(pool, grid, n, p.x.keys.data(), p.x.values.data(), p.kernel.data(), mask_of(p), y.keys.data(),
             out.values.data(), workspace.data());
  return out.values;
}

template <class T, class Pool>
std::vector<T> run_input_grad(Pool& pool, const Problem<T>& p, const Lists<T>& y) {
  const ConvGrid grid(p.geometry);
  const ConvSizes n = sizes(p, y.capacity);
  Workspace workspace(lay_out_grad<T>(grid, n, GradOf::kInput, nullptr).bytes);
  Lists<T> out(p.x.batch, p.x.channels, p.x.capacity, p.x.volume);
  conv_input_grad<T>(pool, grid, n, p.x.keys.data(), p.kernel.data(), mask_of(p), y.keys.data(), y.values.data(),
                     out.values.data(), workspace.data());
  return out.values;
}

template <class T, class Pool>
std::vector<T> run_kernel_grad(Pool& pool, const Problem<T>& p, const Lists<T>& y) {
  const ConvGrid grid(p.geometry);
  const ConvSizes n = sizes(p, y.capacity);
  Workspace workspace(lay_out_grad<T>(grid, n, GradOf::kKernel, nullptr).bytes);
  std::vector<T> out(p.kernel.size());
  std::memset(static_cast<void*>(out.data()), 0x5a, out.size() * sizeof(T));
  conv_kernel_grad<T>(pool, grid, n, p.x.keys.data(), p.x.values.data(), mask_of(p), y.keys.data(), y.values.data(),
                      out.data(), workspace.data());
  return out;
}

// Output lists with cotangents: the keys that a convolution kept, values drawn anew.
template <class T>
Lists<T> random_cotangents(std::mt19937& random, const Problem<T>& p, int64_t out_capacity, double density,
                           Values kind) {
  const PlainGeometry plain(p.geometry);
  return random_lists<T>(random, p.x.batch, p.out_channels, out_capacity, plain.out_volume, density, kind);
}

}  // namespace jaxsparse::test
