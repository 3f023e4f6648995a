// FFI handlers of pooling over whole lists, for the CPU and the GPU. To be included behind
// the functions, of global_pool.h or of global_pool_cuda.cu.
#pragma once

#include "../bindings/ffi_util.h"
#include "../bindings/handlers.h"

namespace jaxsparse {
namespace {

template <class Buffer>
ListSizes read_sizes(const Buffer& keys) {
  return {dim(keys, 0), dim(keys, 1), dim(keys, 2)};
}

template <class Buffer>
void require_one_a_list(const Buffer& x, const ListSizes& n) {
  require(static_cast<int64_t>(x.element_count()) == n.lists(), "there must be one number for each list");
}

template <class Context>
ffi::Error GlobalMaxPool(Context context, ffi::AnyBuffer x_keys, ffi::AnyBuffer x_values,
                         ffi::Result<ffi::AnyBuffer> keys, ffi::Result<ffi::AnyBuffer> values,
                         ffi::Result<ffi::AnyBuffer> found, ffi::Result<ffi::AnyBuffer> source,
                         ffi::Result<ffi::AnyBuffer> workspace, int64_t volume) {
  return guarded("direct.global_max_pool", [&] {
    require_lists(x_keys, x_values);
    const ListSizes n = read_sizes(x_keys);
    require_lists(*keys, *values);
    require_lists(*source, *values);
    require_one_a_list(*values, n);
    require(x_values.element_type() == values->element_type(), "input and output must have one dtype");
    require_counts(*found, n.lists());
    require_volume(volume);
    auto device = device_of(context, workspace);
    dispatch(x_values.element_type(), [&](auto type) {
      using T = decltype(type);
      global_max_pool<T>(device, n, volume, data<int32_t>(x_keys), data<T>(x_values), result_data<int32_t>(keys),
                         result_data<T>(values), result_data<int32_t>(found), result_data<int32_t>(source));
    });
  });
}

template <class Context>
ffi::Error GlobalAvgPool(Context context, ffi::AnyBuffer keys, ffi::AnyBuffer values, ffi::Result<ffi::AnyBuffer> out,
                         ffi::Result<ffi::AnyBuffer> workspace, int64_t volume) {
  return guarded("direct.global_avg_pool", [&] {
    require_lists(keys, values);
    const ListSizes n = read_sizes(keys);
    require_one_a_list(*out, n);
    require(values.element_type() == out->element_type(), "input and output must have one dtype");
    require_volume(volume);
    auto device = device_of(context, workspace);
    dispatch(values.element_type(), [&](auto type) {
      using T = decltype(type);
      global_avg_pool<T>(device, n, volume, data<int32_t>(keys), data<T>(values), result_data<T>(out));
    });
  });
}

template <class Context>
ffi::Error GlobalAvgPoolGrad(Context context, ffi::AnyBuffer keys, ffi::AnyBuffer g, ffi::Result<ffi::AnyBuffer> out,
                             ffi::Result<ffi::AnyBuffer> workspace, int64_t volume) {
  return guarded("direct global_avg_pool_grad", [&] {
    require_lists(keys, *out);
    const ListSizes n = read_sizes(keys);
    require_one_a_list(g, n);
    require(g.element_type() == out->element_type(), "input and output must have one dtype");
    require_volume(volume);
    auto device = device_of(context, workspace);
    dispatch(g.element_type(), [&](auto type) {
      using T = decltype(type);
      global_avg_pool_grad<T>(device, n, volume, data<int32_t>(keys), data<T>(g), result_data<T>(out));
    });
  });
}

}  // namespace
}  // namespace jaxsparse
