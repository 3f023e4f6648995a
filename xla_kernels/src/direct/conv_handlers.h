// FFI handlers of the convolution, for the CPU and the GPU. To be included behind their functions, of conv.h or of
// conv_cuda.cu.
#pragma once

#include "../bindings/ffi_util.h"
#include "../bindings/handlers.h"

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
  return make_geometry(s.spatial_shape, s.out_shape, kernel, s.strides, s.padding, s.dilation);
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
      const auto run = [&](auto... scratch) {
        conv_forward<T>(device, grid, n, data<int32_t>(x_keys), data<T>(x_values), data<T>(kernel),
                        bias_size ? data<T>(bias) : nullptr, live, static_cast<Rule>(select),
                        result_data<int32_t>(keys), result_data<T>(values), result_data<int32_t>(found), scratch...);
      };
      if constexpr (kOnHost<Context>)
        run(workspace_of(workspace, lay_out_conv<T>(grid, n, nullptr, true).bytes));
      else
        run();
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
      const auto run = [&](auto... scratch) {
        conv_at<T>(device, grid, n, data<int32_t>(x_keys), data<T>(x_values), data<T>(kernel), live,
                   data<int32_t>(y_keys), result_data<T>(y_values), scratch...);
      };
      if constexpr (kOnHost<Context>)
        run(workspace_of(workspace, lay_out_conv<T>(grid, n, nullptr, false).bytes));
      else
        run();
    });
  });
}

}  // namespace
}  // namespace jaxsparse
