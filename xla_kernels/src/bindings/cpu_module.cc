// The Python module xla_kernels._cpu: handlers as capsules, and the workspace sizes that go with them.
#include <nanobind/nanobind.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <cstdint>
#include <initializer_list>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

#include "../direct/conv.h"
#include "../direct/conv_grad.h"
#include "../direct/convert.h"
#include "../direct/entrywise.h"
#include "../direct/lanes.h"
#include "../direct/merge.h"
#include "../direct/windows.h"
#include "../voxel/conv.h"
#include "../voxel/conv_kernel_grad.h"
#include "cuda_workspace.h"
#include "module_util.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace jaxsparse {
namespace {

using Sizes = std::vector<int64_t>;

void require_dims(size_t d, const Sizes& sizes, const char* name) {
  if (d < 1 || d > kMaxDims) throw std::invalid_argument("there must be 1 to 4 spatial dimensions");
  if (sizes.size() != d) throw std::invalid_argument(std::string(name) + " does not fit the spatial dimensions");
}

// What an int32 counts.
void require_counts(std::initializer_list<int64_t> counts) {
  for (int64_t n : counts)
    if (n < 1 || n > std::numeric_limits<int32_t>::max())
      throw std::invalid_argument("channels and capacities must be 1 to 2^31 - 1");
}

int64_t conv_workspace_bytes(const std::string& op, const Sizes& spatial_shape, const Sizes& out_shape,
                             const Sizes& kernel_shape, const Sizes& strides, const Sizes& padding,
                             const Sizes& dilation, int64_t in_channels, int64_t out_channels, int64_t capacity,
                             int64_t out_capacity, int64_t itemsize) {
  const size_t d = spatial_shape.size();
  require_dims(d, out_shape, "out_shape");
  require_dims(d, kernel_shape, "kernel_shape");
  require_dims(d, strides, "strides");
  require_dims(d, dilation, "dilation");
  if (padding.size() != 2 * d) throw std::invalid_argument("padding does not fit the spatial dimensions");
  if (in_channels < 1 || out_channels < 1) return 64;
  require_counts({in_channels, out_channels, capacity, out_capacity});
  if (in_channels > (1 << 20)) throw std::invalid_argument("there must be at most 2^20 input channels");
  const ConvGrid grid(make_geometry(spatial_shape, out_shape, kernel_shape, strides, padding, dilation));
  const ConvSizes n{1, in_channels, out_channels, capacity, out_capacity};
  return by_itemsize(itemsize, [&](auto type) -> int64_t {
    using T = decltype(type);
    if (op == "conv") return lay_out_conv<T>(grid, n, nullptr, true).bytes;
    if (op == "conv_at") return lay_out_conv<T>(grid, n, nullptr, false).bytes;
    if (op == "conv_input_grad") return lay_out_grad<T>(grid, n, GradOf::kInput, nullptr).bytes;
    if (op == "conv_kernel_grad") return lay_out_grad<T>(grid, n, GradOf::kKernel, nullptr).bytes;
    throw std::invalid_argument("unknown convolution '" + op + "'");
  });
}

int64_t from_dense_workspace_bytes(const Sizes& spatial_shape, int64_t channels, int64_t out_capacity,
                                   int64_t itemsize) {
  int64_t volume = 1;
  require_dims(spatial_shape.size(), spatial_shape, "spatial_shape");
  for (int64_t s : spatial_shape) {
    if (s < 1) throw std::invalid_argument("sizes must be at least 1");
    volume = checked_product(volume, s);
  }
  if (channels < 1) return 64;
  require_counts({volume, channels, out_capacity});
  return by_itemsize(itemsize, [&](auto type) {
    return lay_out_from_dense<decltype(type)>({1, volume, channels, out_capacity}, nullptr).bytes;
  });
}

// For max_pool and avg_pool, and (`capacity` entries, `out_capacity` windows) for window_sum and window_spread.
int64_t pool_workspace_bytes(const std::string& op, const Sizes& spatial_shape, const Sizes& out_shape,
                             const Sizes& window, const Sizes& strides, int64_t capacity, int64_t out_capacity,
                             int64_t itemsize) {
  const size_t d = spatial_shape.size();
  require_dims(d, out_shape, "out_shape");
  require_dims(d, window, "window");
  require_dims(d, strides, "strides");
  require_counts({capacity, out_capacity});
  const ConvGeometry geometry =
      pool_geometry(static_cast<int>(d), spatial_shape.data(), out_shape.data(), window.data(), strides.data());
  return by_itemsize(itemsize, [&](auto type) {
    const PoolSizes n{1, 1, capacity, out_capacity};
    if (op == "max_pool" || op == "avg_pool") return pool_bytes(type, PoolWindows(geometry), n);
    if (op == "window_sum" || op == "window_spread") return windows_bytes(type, ConvGrid(geometry), n);
    throw std::invalid_argument("unknown pooling '" + op + "'");
  });
}

int64_t add_workspace_bytes(int64_t x_capacity, int64_t y_capacity, int64_t out_capacity, int64_t itemsize) {
  require_counts({x_capacity, y_capacity, out_capacity});
  const MergeSizes n{1, 1, x_capacity, y_capacity, out_capacity};
  return by_itemsize(itemsize, [&](auto type) { return merge_bytes(type, n); });
}

int64_t put_add_workspace_bytes(int64_t capacity, int64_t itemsize) {
  require_counts({capacity});
  return by_itemsize(itemsize, [&](auto type) { return put_add_bytes<decltype(type)>(capacity); });
}

// For map_conv and map_conv_kernel_grad: a convolution over a kernel map.
int64_t map_conv_workspace_bytes(const std::string& op, int64_t taps, int64_t in_rows, int64_t out_rows,
                                 int64_t in_channels, int64_t out_channels, int64_t groups, int64_t itemsize) {
  require_counts({taps, in_channels, out_channels, groups});
  if (in_rows < 0 || out_rows < 0 || std::max(in_rows, out_rows) > std::numeric_limits<int32_t>::max())
    throw std::invalid_argument("rows must be 0 to 2^31 - 1");
  if (in_channels % groups || out_channels % groups)
    throw std::invalid_argument("the channels do not fall into groups");
  const voxel::ConvSizes n{taps, in_rows, out_rows, in_channels, out_channels, groups};
  return by_itemsize(itemsize, [&](auto type) -> int64_t {
    using T = decltype(type);
    if (op == "map_conv") return voxel::lay_out_conv<T>(n, nullptr).bytes;
    if (op == "map_conv_kernel_grad") return voxel::lay_out_kernel_grad<T>(n, nullptr).bytes;
    throw std::invalid_argument("unknown convolution '" + op + "'");
  });
}

}  // namespace
}  // namespace jaxsparse

NB_MODULE(_cpu, m) {
  JAXSPARSE_DEFINE_TARGETS(m, JAXSPARSE_ALL_HANDLERS);
  // What the CUDA module has, wherever it is.
  m.def("cuda_targets", [] {
#define JAXSPARSE_NAME(name, symbol) name,
    return std::vector<std::string>{JAXSPARSE_HANDLERS(JAXSPARSE_NAME)};
#undef JAXSPARSE_NAME
  });
  m.def("isa", [] { return std::string(jaxsparse::instruction_set()); });
  m.def("conv_workspace_bytes", &jaxsparse::conv_workspace_bytes, "op"_a, nb::kw_only(), "spatial_shape"_a,
        "out_shape"_a, "kernel_shape"_a, "strides"_a, "padding"_a, "dilation"_a, "in_channels"_a, "out_channels"_a,
        "capacity"_a, "out_capacity"_a, "itemsize"_a);
  m.def("from_dense_workspace_bytes", &jaxsparse::from_dense_workspace_bytes, nb::kw_only(), "spatial_shape"_a,
        "channels"_a, "out_capacity"_a, "itemsize"_a);
  m.def("pool_workspace_bytes", &jaxsparse::pool_workspace_bytes, "op"_a, nb::kw_only(), "spatial_shape"_a,
        "out_shape"_a, "window"_a, "strides"_a, "capacity"_a, "out_capacity"_a, "itemsize"_a);
  m.def("add_workspace_bytes", &jaxsparse::add_workspace_bytes, nb::kw_only(), "x_capacity"_a, "y_capacity"_a,
        "out_capacity"_a, "itemsize"_a);
  m.def("put_add_workspace_bytes", &jaxsparse::put_add_workspace_bytes, nb::kw_only(), "capacity"_a, "itemsize"_a);
  m.def("map_conv_workspace_bytes", &jaxsparse::map_conv_workspace_bytes, "op"_a, nb::kw_only(), "taps"_a, "in_rows"_a,
        "out_rows"_a, "in_channels"_a, "out_channels"_a, "groups"_a, "itemsize"_a);
  m.def("cuda_workspace_bytes", &jaxsparse::cuda_workspace_bytes, "op"_a, "batch"_a.none(), "sizes"_a);
}
