// FFI handlers of the convolution's gradients, for the CPU and the GPU. To be included behind their functions, of
// conv_grad.h or of conv_grad_cuda.cu.
#pragma once

#include "../bindings/handlers.h"
#include "conv_attributes.h"

namespace jaxsparse {
namespace {

template <class Context>
ffi::Error ConvInputGrad(Context context, ffi::AnyBuffer x_keys, ffi::AnyBuffer kernel, ffi::AnyBuffer mask,
                         ffi::AnyBuffer y_keys, ffi::AnyBuffer grads, ffi::Result<ffi::AnyBuffer> x_grads,
                         ffi::Result<ffi::AnyBuffer> workspace, Attribute spatial_shape, Attribute out_shape,
                         Attribute strides, Attribute padding, Attribute dilation) {
  return guarded("direct.conv input gradient", [&] {
    require_lists(x_keys, *x_grads);
    require_lists(y_keys, grads);
    const ConvGrid grid(read_geometry({spatial_shape, out_shape, strides, padding, dilation}, kernel.dimensions()));
    const ConvSizes n = read_sizes(x_keys.dimensions(), y_keys.dimensions(), kernel.dimensions());
    const bool* live = read_mask(mask, kernel.dimensions());
    require_type(grads.element_type(), kernel.element_type());
    require_type(grads.element_type(), x_grads->element_type());
    if (n.batch == 0 || n.in_channels == 0) return;
    auto device = device_of(context, workspace);
    dispatch(grads.element_type(), [&](auto type) {
      using T = decltype(type);
      run_with_workspace<Context>(
          type, workspace, [&](auto t) { return grad_bytes(t, grid, n, GradOf::kInput); },
          [&](auto... scratch) {
            conv_input_grad<T>(device, grid, n, data<int32_t>(x_keys), data<T>(kernel), live, data<int32_t>(y_keys),
                               data<T>(grads), result_data<T>(x_grads), scratch...);
          });
    });
  });
}

template <class Context>
ffi::Error ConvKernelGrad(Context context, ffi::AnyBuffer x_keys, ffi::AnyBuffer x_values, ffi::AnyBuffer mask,
                          ffi::AnyBuffer y_keys, ffi::AnyBuffer grads, ffi::Result<ffi::AnyBuffer> kernel_grads,
                          ffi::Result<ffi::AnyBuffer> workspace, Attribute spatial_shape, Attribute out_shape,
                          Attribute strides, Attribute padding, Attribute dilation) {
  return guarded("direct.conv kernel gradient", [&] {
    require_lists(x_keys, x_values);
    require_lists(y_keys, grads);
    const auto kernel = kernel_grads->dimensions();
    const ConvGrid grid(read_geometry({spatial_shape, out_shape, strides, padding, dilation}, kernel));
    const ConvSizes n = read_sizes(x_keys.dimensions(), y_keys.dimensions(), kernel);
    const bool* live = read_mask(mask, kernel);
    require_type(grads.element_type(), x_values.element_type());
    require_type(grads.element_type(), kernel_grads->element_type());
    auto device = device_of(context, workspace);
    dispatch(grads.element_type(), [&](auto type) {
      using T = decltype(type);
      if (n.in_channels == 0 || n.out_channels == 0) return;
      run_with_workspace<Context>(
          type, workspace, [&](auto t) { return grad_bytes(t, grid, n, GradOf::kKernel); },
          [&](auto... scratch) {
            conv_kernel_grad<T>(device, grid, n, data<int32_t>(x_keys), data<T>(x_values), live, data<int32_t>(y_keys),
                                data<T>(grads), result_data<T>(kernel_grads), scratch...);
          });
    });
  });
}

}  // namespace
}  // namespace jaxsparse
