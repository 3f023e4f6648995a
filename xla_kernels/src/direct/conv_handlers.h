// FFI handlers of the convolution, for the CPU and the GPU. To be included behind their functions, of conv.h or of
// conv_cuda.cu.
#pragma once

#include "../bindings/handlers.h"
#include "conv_attributes.h"

namespace jaxsparse {
namespace {

template <class Context>
ffi::Error Conv(Context context, ffi::AnyBuffer x_keys, ffi::AnyBuffer x_values, ffi::AnyBuffer kernel,
                ffi::AnyBuffer bias, ffi::AnyBuffer mask, ffi::Result<ffi::AnyBuffer> keys,
                ffi::Result<ffi::AnyBuffer> values, ffi::Result<ffi::AnyBuffer> found,
                ffi::Result<ffi::AnyBuffer> workspace, Attribute spatial_shape, Attribute out_shape, Attribute strides,
                Attribute padding, Attribute dilation, int64_t select) {
  return guarded("direct.conv", [&] {
    require_lists(x_keys, x_values);
    require_lists(*keys, *values);
    const ConvGrid grid(read_geometry({spatial_shape, out_shape, strides, padding, dilation}, kernel.dimensions()));
    const ConvSizes n = read_sizes(x_keys.dimensions(), keys->dimensions(), kernel.dimensions());
    const bool* live = read_mask(mask, kernel.dimensions());
    require_type(x_values.element_type(), kernel.element_type());
    require_type(x_values.element_type(), values->element_type());
    require_type(x_values.element_type(), bias.element_type());
    const int64_t bias_size = static_cast<int64_t>(bias.element_count());
    require(bias_size == 0 || bias_size == n.out_channels, "bias must have one number an output channel");
    require_counts(*found, n.batch * n.out_channels);
    require(select >= 0 && select <= 2, "select must be 0, 1 or 2");
    if (n.batch == 0 || n.out_channels == 0) return;
    auto device = device_of(context, workspace);
    dispatch(x_values.element_type(), [&](auto type) {
      using T = decltype(type);
      run_with_workspace<Context>(
          type, workspace, [&](auto t) { return lay_out_conv<decltype(t)>(grid, n, nullptr, true).bytes; },
          [&](auto... scratch) {
            conv_forward<T>(device, grid, n, data<int32_t>(x_keys), data<T>(x_values), data<T>(kernel),
                            bias_size ? data<T>(bias) : nullptr, live, static_cast<Rule>(select),
                            result_data<int32_t>(keys), result_data<T>(values), result_data<int32_t>(found),
                            scratch...);
          });
    });
  });
}

template <class Context>
ffi::Error ConvAt(Context context, ffi::AnyBuffer x_keys, ffi::AnyBuffer x_values, ffi::AnyBuffer kernel,
                  ffi::AnyBuffer mask, ffi::AnyBuffer y_keys, ffi::Result<ffi::AnyBuffer> y_values,
                  ffi::Result<ffi::AnyBuffer> workspace, Attribute spatial_shape, Attribute out_shape,
                  Attribute strides, Attribute padding, Attribute dilation) {
  return guarded("direct.conv at given keys", [&] {
    require_lists(x_keys, x_values);
    require_lists(y_keys, *y_values);
    const ConvGrid grid(read_geometry({spatial_shape, out_shape, strides, padding, dilation}, kernel.dimensions()));
    const ConvSizes n = read_sizes(x_keys.dimensions(), y_keys.dimensions(), kernel.dimensions());
    const bool* live = read_mask(mask, kernel.dimensions());
    require_type(x_values.element_type(), kernel.element_type());
    require_type(x_values.element_type(), y_values->element_type());
    if (n.batch == 0 || n.out_channels == 0) return;
    auto device = device_of(context, workspace);
    dispatch(x_values.element_type(), [&](auto type) {
      using T = decltype(type);
      run_with_workspace<Context>(
          type, workspace, [&](auto t) { return lay_out_conv<decltype(t)>(grid, n, nullptr, false).bytes; },
          [&](auto... scratch) {
            conv_at<T>(device, grid, n, data<int32_t>(x_keys), data<T>(x_values), data<T>(kernel), live,
                       data<int32_t>(y_keys), result_data<T>(y_values), scratch...);
          });
    });
  });
}

}  // namespace
}  // namespace jaxsparse
