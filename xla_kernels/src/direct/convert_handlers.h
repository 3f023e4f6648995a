// FFI handlers of the conversions between dense arrays and lists, for the CPU and the GPU. To be included behind
// the functions, of convert.h or of convert_cuda.cu.
#pragma once

#include "../bindings/ffi_util.h"
#include "../bindings/handlers.h"

namespace jaxsparse {
namespace {

// Sizes from a dense array [batch, *spatial, channels] and lists [batch, channels, capacity].
DenseSizes read_sizes(ffi::Span<const int64_t> dense, ffi::Span<const int64_t> lists) {
  require(dense.size() >= 3 && dense.size() <= kMaxDims + 2,
          "the dense array must have shape [batch, *spatial, channels]");
  const int64_t volume = product(ffi::Span<const int64_t>(dense.begin() + 1, dense.size() - 2));
  require(dense[0] == lists[0] && dense[dense.size() - 1] == lists[1], "batch and channels must agree");
  require(volume >= 1 && volume <= std::numeric_limits<int32_t>::max(), "a volume must have 1 to 2^31 - 1 voxels");
  return {dense[0], volume, lists[1], lists[2]};
}

template <class Context>
ffi::Error FromDense(Context context, ffi::AnyBuffer x, ffi::Result<ffi::AnyBuffer> keys,
                     ffi::Result<ffi::AnyBuffer> values, ffi::Result<ffi::AnyBuffer> found,
                     ffi::Result<ffi::AnyBuffer> workspace, int64_t select) {
  return guarded("direct.from_dense", [&] {
    require_lists(*keys, *values);
    const DenseSizes n = read_sizes(x.dimensions(), keys->dimensions());
    require(x.element_type() == values->element_type(), "x and values must have one dtype");
    require_counts(*found, n.batch * n.channels);
    require(select >= 0 && select <= 2, "select must be 0, 1 or 2");
    if (n.batch == 0 || n.channels == 0) return;
    auto device = device_of(context, workspace);
    dispatch(x.element_type(), [&](auto type) {
      using T = decltype(type);
      run_with_workspace<Context>(
          type, workspace, [&](auto t) { return lay_out_from_dense<decltype(t)>(n, nullptr).bytes; },
          [&](auto... scratch) {
            from_dense<T>(device, n, data<T>(x), static_cast<Rule>(select), result_data<int32_t>(keys),
                          result_data<T>(values), result_data<int32_t>(found), scratch...);
          });
    });
  });
}

template <class Context>
ffi::Error ToDense(Context context, ffi::AnyBuffer keys, ffi::AnyBuffer values, ffi::Result<ffi::AnyBuffer> dense,
                   ffi::Result<ffi::AnyBuffer> workspace) {
  return guarded("direct.to_dense", [&] {
    require_lists(keys, values);
    const DenseSizes n = read_sizes(dense->dimensions(), keys.dimensions());
    require(values.element_type() == dense->element_type(), "values and the dense array must have one dtype");
    if (n.batch == 0 || n.channels == 0) return;
    auto device = device_of(context, workspace);
    dispatch(values.element_type(), [&](auto type) {
      using T = decltype(type);
      to_dense<T>(device, n, data<int32_t>(keys), data<T>(values), result_data<T>(dense));
    });
  });
}

template <class Context>
ffi::Error GatherDense(Context context, ffi::AnyBuffer keys, ffi::AnyBuffer dense, ffi::Result<ffi::AnyBuffer> values,
                       ffi::Result<ffi::AnyBuffer> workspace) {
  return guarded("direct.gather_dense", [&] {
    require_lists(keys, *values);
    const DenseSizes n = read_sizes(dense.dimensions(), keys.dimensions());
    require(values->element_type() == dense.element_type(), "values and the dense array must have one dtype");
    auto device = device_of(context, workspace);
    dispatch(dense.element_type(), [&](auto type) {
      using T = decltype(type);
      gather_dense<T>(device, n, data<int32_t>(keys), data<T>(dense), result_data<T>(values));
    });
  });
}

}  // namespace
}  // namespace jaxsparse
