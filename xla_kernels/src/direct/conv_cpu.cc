// FFI handlers of the direct convolution and its gradients on CPU.
#include "conv.h"
#include "conv_grad.h"
#include "conv_handlers.h"

namespace jaxsparse {
namespace {

template <class Layout>
void require_workspace(int64_t have, const Layout& layout) {
  require(have >= layout.bytes, "the workspace is too small");
}

ffi::Error ConvInputGrad(FfiPool pool, ffi::AnyBuffer x_keys, ffi::AnyBuffer kernel, ffi::AnyBuffer mask,
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
    dispatch(grads.element_type(), [&](auto type) {
      using T = decltype(type);
      require_workspace(static_cast<int64_t>(workspace->size_bytes()),
                        lay_out_grad<T>(grid, n, GradOf::kInput, nullptr));
      conv_input_grad<T>(pool, grid, n, data<int32_t>(x_keys), data<T>(kernel), live, data<int32_t>(y_keys),
                         data<T>(grads), result_data<T>(x_grads), workspace->untyped_data());
    });
  });
}

ffi::Error ConvKernelGrad(FfiPool pool, ffi::AnyBuffer x_keys, ffi::AnyBuffer x_values, ffi::AnyBuffer mask,
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
    dispatch(grads.element_type(), [&](auto type) {
      using T = decltype(type);
      if (n.in_channels == 0 || n.out_channels == 0) return;
      require_workspace(static_cast<int64_t>(workspace->size_bytes()),
                        lay_out_grad<T>(grid, n, GradOf::kKernel, nullptr));
      conv_kernel_grad<T>(pool, grid, n, data<int32_t>(x_keys), data<T>(x_values), live, data<int32_t>(y_keys),
                          data<T>(grads), result_data<T>(kernel_grads), workspace->untyped_data());
    });
  });
}

}  // namespace

JAXSPARSE_HANDLER(JaxsparseDirectConv, Conv<FfiPool>, "spatial_shape", "out_shape", "strides", "padding", "dilation",
                  "select");
JAXSPARSE_HANDLER(JaxsparseDirectConvAt, ConvAt<FfiPool>, "spatial_shape", "out_shape", "strides", "padding",
                  "dilation");
JAXSPARSE_HANDLER(JaxsparseDirectConvInputGrad, ConvInputGrad, "spatial_shape", "out_shape", "strides", "padding",
                  "dilation");
JAXSPARSE_HANDLER(JaxsparseDirectConvKernelGrad, ConvKernelGrad, "spatial_shape", "out_shape", "strides", "padding",
                  "dilation");

}  // namespace jaxsparse
