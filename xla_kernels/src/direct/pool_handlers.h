// FFI handlers of pooling, for the CPU and the GPU. To be included behind their functions, of pool.h or of
// pool_cuda.cu.
#pragma once

#include "../bindings/handlers.h"
#include "pool_attributes.h"

namespace jaxsparse {
namespace {

template <class Context, template <class> class Join>
ffi::Error PoolLists(Context context, ffi::AnyBuffer x_keys, ffi::AnyBuffer x_values, ffi::Result<ffi::AnyBuffer> keys,
                     ffi::Result<ffi::AnyBuffer> values, ffi::Result<ffi::AnyBuffer> found,
                     ffi::Result<ffi::AnyBuffer> extra, ffi::Result<ffi::AnyBuffer> workspace, Attribute spatial_shape,
                     Attribute out_shape, Attribute window, Attribute strides) {
  return guarded(Join<float>::kName, [&] {
    require_lists(x_keys, x_values);
    require_lists(*keys, *values);
    require_lists(*extra, *values);
    require(dim(x_keys, 0) == dim(*keys, 0) && dim(x_keys, 1) == dim(*keys, 1), "batch and channels must agree");
    require(x_values.element_type() == values->element_type(), "input and output must have one dtype");
    require_counts(*found, dim(*keys, 0) * dim(*keys, 1));
    const PoolSizes n{dim(x_keys, 0), dim(x_keys, 1), dim(x_keys, 2), dim(*keys, 2)};
    const PoolWindows windows(read_windows(spatial_shape, out_shape, window, strides));
    auto device = device_of(context, workspace);
    dispatch(x_values.element_type(), [&](auto type) {
      using T = decltype(type);
      run_with_workspace<Context>(
          type, workspace, [&](auto t) { return pool_bytes(t, windows, n); },
          [&](auto... scratch) {
            pool_lists<Join, T>(device, windows, n, data<int32_t>(x_keys), data<T>(x_values),
                                result_data<int32_t>(keys), result_data<T>(values), result_data<int32_t>(found),
                                result_data<int32_t>(extra), scratch...);
          });
    });
  });
}

template <class Context>
inline constexpr auto kMaxPool = &PoolLists<Context, Maximum>;
template <class Context>
inline constexpr auto kAvgPool = &PoolLists<Context, Mean>;

}  // namespace
}  // namespace jaxsparse
