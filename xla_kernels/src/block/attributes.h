// What handlers of blocks share: the attributes of a tiling, the shapes of lists and blocks.
#pragma once

#include "../bindings/ffi_util.h"
#include "tiling.h"

namespace jaxsparse::block {
namespace {

using Attribute = ffi::Span<const int64_t>;
using Shape = ffi::Span<const int64_t>;

// Of images of shape [batch, *spatial] or, with `channels`, [batch, *spatial, channels].
inline Tiling read_tiling(Shape image, bool channels, Attribute size, Attribute stride, Attribute offset,
                          Attribute grid) {
  const size_t others = channels ? 2 : 1;
  require(image.size() > others, "an image must have shape [batch, *spatial] and, unless it is a mask, channels");
  const Attribute spatial(image.begin() + 1, image.size() - others);
  const Tiling t = make_tiling(spatial, size, stride, offset, grid);
  bounded_product({image[0], t.boxes()}, std::numeric_limits<int32_t>::max(), "there must be at most 2^31 - 1 blocks");
  return t;
}

template <class Buffer>
void require_indices(const Buffer& indices, const Tiling& t) {
  require(indices.element_type() == ffi::S32, "indices must be int32");
  require(indices.dimensions().size() == 2 && dim(indices, 1) == t.dims + 1,
          "indices must have shape [capacity, 1 + spatial dimensions]");
  require(dim(indices, 0) <= std::numeric_limits<int32_t>::max(), "there must be at most 2^31 - 1 rows of indices");
}

// Calls f with a value of an unsigned type of the element's width.
template <class F>
void by_width(ffi::DataType type, F&& f) {
  switch (ffi::ByteWidth(type)) {
    case 1:
      return f(uint8_t{});
    case 2:
      return f(uint16_t{});
    case 4:
      return f(uint32_t{});
    case 8:
      return f(uint64_t{});
    default:
      throw std::invalid_argument("elements must have 1, 2, 4 or 8 bytes");
  }
}

}  // namespace
}  // namespace jaxsparse::block
