// The attributes and sizes that handlers of convolutions share.
#pragma once

#include "../bindings/ffi_util.h"
#include "conv.h"

namespace jaxsparse {
namespace {

using Attribute = ffi::Span<const int64_t>;

struct Shapes {
  Attribute spatial_shape, out_shape, strides, padding, dilation;
};

// The geometry from the attributes and the kernel's shape [*kernel, in, out].
inline ConvGeometry read_geometry(const Shapes& s, ffi::Span<const int64_t> kernel) {
  require(kernel.size() == s.spatial_shape.size() + 2, "kernel must have shape [*window, in, out]");
  return make_geometry(s.spatial_shape, s.out_shape, kernel, s.strides, s.padding, s.dilation);
}

inline ConvSizes read_sizes(ffi::Span<const int64_t> x, ffi::Span<const int64_t> y, ffi::Span<const int64_t> kernel) {
  const size_t d = kernel.size() - 2;
  require(x[0] == y[0], "inputs and outputs must have one batch size");
  require(kernel[d] == x[1] && kernel[d + 1] == y[1], "kernel channels must fit the lists");
  return {x[0], x[1], y[1], x[2], y[2]};
}

inline const bool* read_mask(const ffi::AnyBuffer& mask, ffi::Span<const int64_t> kernel) {
  require(mask.element_type() == ffi::PRED, "mask must be bool");
  if (mask.element_count() == 0) return nullptr;
  require(same_shape(mask.dimensions(), kernel), "mask must have the kernel's shape");
  return data<bool>(mask);
}

inline void require_type(ffi::DataType a, ffi::DataType b) { require(a == b, "values and kernel must have one dtype"); }

}  // namespace
}  // namespace jaxsparse
