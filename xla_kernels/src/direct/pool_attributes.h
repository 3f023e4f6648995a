// The attributes that handlers of poolings share.
#pragma once

#include "../bindings/ffi_util.h"
#include "pool_windows.h"

namespace jaxsparse {
namespace {

using Attribute = ffi::Span<const int64_t>;

ConvGeometry read_windows(Attribute spatial_shape, Attribute out_shape, Attribute window, Attribute strides) {
  const size_t d = spatial_shape.size();
  require(d >= 1 && d <= kMaxDims && out_shape.size() == d && window.size() == d && strides.size() == d,
          "out_shape, window and strides must fit spatial_shape (1 to 4 dimensions)");
  return pool_geometry(static_cast<int>(d), spatial_shape.begin(), out_shape.begin(), window.begin(), strides.begin());
}

}  // namespace
}  // namespace jaxsparse
