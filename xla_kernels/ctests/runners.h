// Calls of the direct kernels on whole lists, with a workspace of exactly the stated size.
#pragma once

#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

#include "direct/conv_grad.h"
#include "direct/convert.h"
#include "direct/merge.h"
#include "direct/windows.h"
#include "lists.h"
#include "oracle.h"

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

template <template <class> class Join, class T, class Pool>
Lists<T> run_pool(Pool& pool, const ConvGeometry& g, const Lists<T>& x, int64_t out_capacity) {
  const PoolWindows windows(g);
  const PoolSizes n{x.batch, x.channels, x.capacity, out_capacity};
  int64_t bytes = 0;
  lay_out_pool<T>(windows, n, nullptr, &bytes);
  Workspace workspace(bytes);
  Lists<T> y(x.batch, x.channels, out_capacity, windows.out_volume());
  pool_lists<Join, T>(pool, windows, n, x.keys.data(), x.values.data(), y.keys.data(), y.values.data(), y.found.data(),
                      y.source.data(), workspace.data());
  return y;
}

template <class T, class Pool>
Lists<T> run_max_pool(Pool& pool, const ConvGeometry& g, const Lists<T>& x, int64_t out_capacity) {
  return run_pool<Maximum, T>(pool, g, x, out_capacity);
}

// Runs body(grid, sizes, workspace) for the windows between fine and coarse lists.
template <class T, class Body>
void with_windows(const ConvGeometry& g, const Lists<T>& fine, const Lists<T>& coarse, Body&& body) {
  const ConvGrid grid(g);
  const PoolSizes n{fine.batch, fine.channels, fine.capacity, coarse.capacity};
  int64_t bytes = 0;
  lay_out_windows<T>(grid, n, nullptr, &bytes);
  Workspace workspace(bytes);
  body(grid, n, workspace.data());
}

template <class T, class Pool>
std::vector<T> run_window_sum(Pool& pool, const ConvGeometry& g, const Lists<T>& fine, const Lists<T>& coarse,
                              const std::vector<int32_t>& count) {
  Lists<T> out(coarse.batch, coarse.channels, coarse.capacity, coarse.volume);
  with_windows(g, fine, coarse, [&](const ConvGrid& grid, const PoolSizes& n, void* workspace) {
    window_sum<T>(pool, grid, n, fine.keys.data(), fine.values.data(), coarse.keys.data(),
                  count.empty() ? nullptr : count.data(), out.values.data(), workspace);
  });
  return out.values;
}

template <class T, class Pool>
std::vector<T> run_window_spread(Pool& pool, const ConvGeometry& g, const Lists<T>& fine, const Lists<T>& coarse,
                                 const std::vector<int32_t>& count) {
  Lists<T> out(fine.batch, fine.channels, fine.capacity, fine.volume);
  with_windows(g, fine, coarse, [&](const ConvGrid& grid, const PoolSizes& n, void* workspace) {
    window_spread<T>(pool, grid, n, fine.keys.data(), coarse.keys.data(), coarse.values.data(),
                     count.empty() ? nullptr : count.data(), out.values.data(), workspace);
  });
  return out.values;
}

template <class T, class Pool>
Lists<T> run_add(Pool& pool, const Lists<T>& x, const Lists<T>& y, int64_t out_capacity,
                 std::vector<int32_t>* y_source) {
  const MergeSizes n{x.batch, x.channels, x.capacity, y.capacity, out_capacity};
  int64_t bytes = 0;
  lay_out_merge<T>(n, nullptr, &bytes);
  Workspace workspace(bytes);
  Lists<T> sum(x.batch, x.channels, out_capacity, x.volume);
  y_source->assign(sum.keys.size(), 0x5a5a5a5a);
  add<T>(pool, n, x.volume, x.keys.data(), x.values.data(), y.keys.data(), y.values.data(), sum.keys.data(),
         sum.values.data(), sum.found.data(), sum.source.data(), y_source->data(), workspace.data());
  return sum;
}

template <class T, class Pool>
Lists<T> run_from_dense(Pool& pool, const DenseSizes& n, const std::vector<T>& x, Rule rule) {
  Workspace workspace(lay_out_from_dense<T>(n, nullptr).bytes);
  Lists<T> y(n.batch, n.channels, n.capacity, n.volume);
  from_dense<T>(pool, n, x.data(), rule, y.keys.data(), y.values.data(), y.found.data(), workspace.data());
  return y;
}

}  // namespace jaxsparse::test
