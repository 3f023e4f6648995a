// FFI handlers of the sums over windows, for the CPU and the GPU. To be included behind their functions, of windows.h
// or of windows_cuda.cu.
#pragma once

#include "../bindings/handlers.h"
#include "pool_attributes.h"

namespace jaxsparse {
namespace {

// Runs body(type, device, grid, sizes, workspace of the CPU) for fine lists (in the windows' input) and coarse ones
// (one entry a window).
template <class Context, class Body>
void with_windows(const Context& context, const ffi::AnyBuffer& fine_keys, const ffi::AnyBuffer& coarse_keys,
                  const ffi::AnyBuffer& count, const ffi::AnyBuffer& values, ffi::Result<ffi::AnyBuffer>& out,
                  ffi::Result<ffi::AnyBuffer>& workspace, Attribute spatial_shape, Attribute out_shape,
                  Attribute window, Attribute strides, Body&& body) {
  require_lists(fine_keys, fine_keys);
  require_lists(coarse_keys, coarse_keys);
  require(dim(fine_keys, 0) == dim(coarse_keys, 0) && dim(fine_keys, 1) == dim(coarse_keys, 1),
          "batch and channels must agree");
  require(is_absent(count) || same_shape(count.dimensions(), coarse_keys.dimensions()),
          "there must be one count a window");
  require(count.element_type() == ffi::S32, "counts must be int32");
  require(values.element_type() == out->element_type(), "input and output must have one dtype");
  const ConvGrid grid(read_windows(spatial_shape, out_shape, window, strides));
  const PoolSizes n{dim(fine_keys, 0), dim(fine_keys, 1), dim(fine_keys, 2), dim(coarse_keys, 2)};
  auto device = device_of(context, workspace);
  dispatch(values.element_type(), [&](auto type) {
    run_with_workspace<Context>(
        type, workspace, [&](auto t) { return windows_bytes(t, grid, n); },
        [&](auto... scratch) { body(type, device, grid, n, scratch...); });
  });
}

template <class Context>
ffi::Error WindowSum(Context context, ffi::AnyBuffer fine_keys, ffi::AnyBuffer fine_values, ffi::AnyBuffer coarse_keys,
                     ffi::AnyBuffer count, ffi::Result<ffi::AnyBuffer> coarse_values,
                     ffi::Result<ffi::AnyBuffer> workspace, Attribute spatial_shape, Attribute out_shape,
                     Attribute window, Attribute strides) {
  return guarded("direct window_sum", [&] {
    require_lists(fine_keys, fine_values);
    require_lists(coarse_keys, *coarse_values);
    with_windows(
        context, fine_keys, coarse_keys, count, fine_values, coarse_values, workspace, spatial_shape, out_shape, window,
        strides, [&](auto type, auto& device, const ConvGrid& grid, const PoolSizes& n, auto... scratch) {
          using T = decltype(type);
          window_sum<T>(device, grid, n, data<int32_t>(fine_keys), data<T>(fine_values), data<int32_t>(coarse_keys),
                        is_absent(count) ? nullptr : data<int32_t>(count), result_data<T>(coarse_values), scratch...);
        });
  });
}

template <class Context>
ffi::Error WindowSpread(Context context, ffi::AnyBuffer fine_keys, ffi::AnyBuffer coarse_keys,
                        ffi::AnyBuffer coarse_values, ffi::AnyBuffer count, ffi::Result<ffi::AnyBuffer> fine_values,
                        ffi::Result<ffi::AnyBuffer> workspace, Attribute spatial_shape, Attribute out_shape,
                        Attribute window, Attribute strides) {
  return guarded("direct window_spread", [&] {
    require_lists(fine_keys, *fine_values);
    require_lists(coarse_keys, coarse_values);
    with_windows(context, fine_keys, coarse_keys, count, coarse_values, fine_values, workspace, spatial_shape,
                 out_shape, window, strides,
                 [&](auto type, auto& device, const ConvGrid& grid, const PoolSizes& n, auto... scratch) {
                   using T = decltype(type);
                   window_spread<T>(device, grid, n, data<int32_t>(fine_keys), data<int32_t>(coarse_keys),
                                    data<T>(coarse_values), is_absent(count) ? nullptr : data<int32_t>(count),
                                    result_data<T>(fine_values), scratch...);
                 });
  });
}

}  // namespace
}  // namespace jaxsparse
