// FFI handlers of the direct convolution and its gradients on CPU.
#include "../bindings/ffi_util.h"
#include "../bindings/handlers.h"
#include "conv.h"
#include "conv_grad.h"

namespace jaxsparse {
namespace {

using Attribute = ffi::Span<const int64_t>;

struct Shapes {
  Attribute spatial_shape, out_shape, strides, padding, dilation;
};

// The geometry from the attributes and the kernel's shape [*kernel, in, out].
ConvGeometry read_geometry(const Shapes& s, ffi::Span<const int64_t> kernel) {
  const size_t d = s.spatial_shape.size();
  require(d >= 1 && d <= kMaxDims, "there must be 1 to 4 spatial dimensions");
  require(s.out_shape.size() == d && s.strides.size() == d && s.padding.size() == 2 * d && s.dilation.size() == d,
          "out_shape, strides, padding and dilation must fit spatial_shape");
  require(kernel.size() == d + 2, "kernel must have shape [*window, in, out]");
  ConvGeometry g;
  g.dims = static_cast<int>(d);
  for (size_t i = 0; i < d; ++i) {
    g.in[i] = s.spatial_shape[i];
    g.out[i] = s.out_shape[i];
    g.kernel[i] = kernel[i];
    g.stride[i] = s.strides[i];
    g.pad[i] = s.padding[2 * i];
    g.dilation[i] = s.dilation[i];
  }
  return g;
}

ConvSizes read_sizes(ffi::Span<const int64_t> x, ffi::Span<const int64_t> y, ffi::Span<const int64_t> kernel) {
  const size_t d = kernel.size() - 2;
  require(x[0] == y[0], "inputs and outputs must have one batch size");
  require(kernel[d] == x[1] && kernel[d + 1] == y[1], "kernel channels must fit the lists");
  return {x[0], x[1], y[1], x[2], y[2]};
}

const bool* read_mask(const ffi::AnyBuffer& mask, ffi::Span<const int64_t> kernel) {
  require(mask.element_type() == ffi::PRED, "mask must be bool");
  if (mask.element_count() == 0) return nullptr;
  require(same_shape(mask.dimensions(), kernel), "mask must have the kernel's shape");
  return data<bool>(mask);
}

void require_type(ffi::DataType a, ffi::DataType b) { require(a == b, "values and kernel must have one dtype"); }

template <class Layout>
void require_workspace(int64_t have, const Layout& layout) {
  require(have >= layout.bytes, "the workspace is too small");
}

ffi::Error Conv(FfiPool pool, ffi::AnyBuffer x_keys, ffi::AnyBuffer x_values, ffi::AnyBuffer kernel,
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
    dispatch(x_values.element_type(), [&](auto type) {
      using T = decltype(type);
      require_workspace(static_cast<int64_t>(workspace->size_bytes()), lay_out_conv<T>(grid, n, nullptr, true));
      conv_forward<T>(pool, grid, n, data<int32_t>(x_keys), data<T>(x_values), data<T>(kernel),
                      bias_size ? data<T>(bias) : nullptr, live, static_cast<Rule>(select), result_data<int32_t>(keys),
                      result_data<T>(values), result_data<int32_t>(found), workspace->untyped_data());
    });
  });
}

ffi::Error ConvAt(FfiPool pool, ffi::AnyBuffer x_keys, ffi::AnyBuffer x_values, ffi::AnyBuffer kernel,
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
    dispatch(x_values.element_type(), [&](auto type) {
      using T = decltype(type);
      require_workspace(static_cast<int64_t>(workspace->size_bytes()), lay_out_conv<T>(grid, n, nullptr, false));
      conv_at<T>(pool, grid, n, data<int32_t>(x_keys), data<T>(x_values), data<T>(kernel), live, data<int32_t>(y_keys),
                 result_data<T>(y_values), workspace->untyped_data());
    });
  });
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

JAXSPARSE_HANDLER(JaxsparseDirectConv, Conv, "spatial_shape", "out_shape", "strides", "padding", "dilation", "select");
JAXSPARSE_HANDLER(JaxsparseDirectConvAt, ConvAt, "spatial_shape", "out_shape", "strides", "padding", "dilation");
JAXSPARSE_HANDLER(JaxsparseDirectConvInputGrad, ConvInputGrad, "spatial_shape", "out_shape", "strides", "padding",
                  "dilation");
JAXSPARSE_HANDLER(JaxsparseDirectConvKernelGrad, ConvKernelGrad, "spatial_shape", "out_shape", "strides", "padding",
                  "dilation");

}  // namespace jaxsparse
