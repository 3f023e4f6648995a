// FFI handler of the sum of two tensors, for the CPU and the GPU. To be included behind
// the functions, of merge.h or of merge_cuda.cu.
#pragma once

#include "../bindings/ffi_util.h"
#include "../bindings/handlers.h"

namespace jaxsparse {
namespace {

template <class Context>
ffi::Error Add(Context context, ffi::AnyBuffer x_keys, ffi::AnyBuffer x_values, ffi::AnyBuffer y_keys,
               ffi::AnyBuffer y_values, ffi::Result<ffi::AnyBuffer> keys, ffi::Result<ffi::AnyBuffer> values,
               ffi::Result<ffi::AnyBuffer> found, ffi::Result<ffi::AnyBuffer> x_source,
               ffi::Result<ffi::AnyBuffer> y_source, ffi::Result<ffi::AnyBuffer> workspace, int64_t volume) {
  return guarded("direct.add", [&] {
    require_lists(x_keys, x_values);
    require_lists(y_keys, y_values);
    require_lists(*keys, *values);
    require_lists(*x_source, *values);
    require_lists(*y_source, *values);
    for (size_t i = 0; i < 2; ++i)
      require(dim(x_keys, i) == dim(*keys, i) && dim(y_keys, i) == dim(*keys, i), "batch and channels must agree");
    require(x_values.element_type() == values->element_type() && y_values.element_type() == values->element_type(),
            "inputs and output must have one dtype");
    require_counts(*found, dim(*keys, 0) * dim(*keys, 1));
    require_volume(volume);
    const MergeSizes n{dim(*keys, 0), dim(*keys, 1), dim(x_keys, 2), dim(y_keys, 2), dim(*keys, 2)};
    auto device = device_of(context, workspace);
    dispatch(values->element_type(), [&](auto type) {
      using T = decltype(type);
      run_with_workspace<Context>(
          type, workspace, [&](auto t) { return merge_bytes(t, n); },
          [&](auto... scratch) {
            add<T>(device, n, volume, data<int32_t>(x_keys), data<T>(x_values), data<int32_t>(y_keys),
                   data<T>(y_values), result_data<int32_t>(keys), result_data<T>(values), result_data<int32_t>(found),
                   result_data<int32_t>(x_source), result_data<int32_t>(y_source), scratch...);
          });
    });
  });
}

}  // namespace
}  // namespace jaxsparse
