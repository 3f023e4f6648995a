// FFI handlers of the convolution over a kernel map and of its kernel gradient. To be included behind their functions.
#pragma once

#include "../bindings/ffi_util.h"
#include "../bindings/handlers.h"

namespace jaxsparse::voxel {
namespace {

// Sizes from two lists of features, [rows, channels], a kernel [taps, channels of a group, channels] and a map
// [taps, rows of the second list]. `transposed`: the kernel leads from the second list to the first.
template <class X, class Y, class Kernel, class Map>
ConvSizes read_sizes(const X& x, const Y& y, const Kernel& kernel, const Map& map, int64_t groups, bool transposed) {
  require(x.dimensions().size() == 2 && y.dimensions().size() == 2, "features must have shape [rows, channels]");
  require(kernel.dimensions().size() == 3, "the kernel must have shape [taps, channels of a group, channels]");
  require(map.element_type() == ffi::S32, "the map must be int32");
  require(map.dimensions().size() == 2, "the map must have shape [taps, rows]");
  const ConvSizes n{dim(kernel, 0), dim(x, 0), dim(y, 0), dim(x, 1), dim(y, 1), groups};
  require(groups >= 1 && n.in_channels >= 1 && n.out_channels >= 1, "there must be channels and groups");
  require(n.in_channels % groups == 0 && n.out_channels % groups == 0, "the channels must fall into the groups");
  require(dim(kernel, 1) == (transposed ? n.out_group() : n.in_group()) &&
              dim(kernel, 2) == (transposed ? n.in_channels : n.out_channels),
          "the kernel does not fit the channels");
  require(dim(map, 0) == n.taps && dim(map, 1) == n.out_rows, "the map does not fit taps and rows");
  for (const int64_t rows : {n.in_rows, n.out_rows})
    require(rows <= std::numeric_limits<int32_t>::max(), "there must be at most 2^31 - 1 rows");
  return n;
}

inline void require_accumulator(ffi::DataType result, ffi::DataType operand) {
  require(result == (operand == ffi::F64 ? ffi::F64 : ffi::F32),
          "the result must be float64 of float64, float32 otherwise");
}

template <class Context>
ffi::Error MapConv(Context context, ffi::AnyBuffer features, ffi::AnyBuffer kernel, ffi::AnyBuffer map,
                   ffi::Result<ffi::AnyBuffer> out, ffi::Result<ffi::AnyBuffer> workspace, int64_t groups,
                   int64_t transposed) {
  return guarded("voxel.map_conv", [&] {
    const ConvSizes n = read_sizes(features, *out, kernel, map, groups, transposed != 0);
    require(features.element_type() == kernel.element_type(), "features and kernel must have one dtype");
    require_accumulator(out->element_type(), features.element_type());
    auto device = device_of(context, workspace);
    dispatch(features.element_type(), [&](auto type) {
      using T = decltype(type);
      run_with_workspace<Context>(
          type, workspace, [&](auto t) { return conv_bytes(t, n); },
          [&](auto... scratch) {
            conv<T>(device, n, data<T>(features), data<T>(kernel), transposed != 0, data<int32_t>(map),
                    result_data<Accum<T>>(out), scratch...);
          });
    });
  });
}

template <class Context>
ffi::Error MapConvKernelGrad(Context context, ffi::AnyBuffer features, ffi::AnyBuffer cotangent, ffi::AnyBuffer map,
                             ffi::Result<ffi::AnyBuffer> out, ffi::Result<ffi::AnyBuffer> workspace, int64_t groups) {
  return guarded("voxel.map_conv_kernel_grad", [&] {
    const ConvSizes n = read_sizes(features, cotangent, *out, map, groups, false);
    require(features.element_type() == cotangent.element_type(), "features and cotangent must have one dtype");
    require_accumulator(out->element_type(), features.element_type());
    auto device = device_of(context, workspace);
    dispatch(features.element_type(), [&](auto type) {
      using T = decltype(type);
      run_with_workspace<Context>(
          type, workspace, [&](auto t) { return kernel_grad_bytes(t, n); },
          [&](auto... scratch) {
            conv_kernel_grad<T>(device, n, data<T>(features), data<T>(cotangent), data<int32_t>(map),
                                result_data<Accum<T>>(out), scratch...);
          });
    });
  });
}

}  // namespace
}  // namespace jaxsparse::voxel
