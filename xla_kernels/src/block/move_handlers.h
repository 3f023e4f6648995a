// FFI handlers that move blocks between images and lists. To be included behind the functions, of gather.h and
// scatter.h on the CPU.
#pragma once

#include "../bindings/handlers.h"
#include "attributes.h"

namespace jaxsparse::block {
namespace {

// Sizes from an image [batch, *spatial, channels], indices, and blocks [capacity, *size, channels] or
// [capacity, channels, *size].
MoveSizes read_sizes(Shape image, Shape indices, Shape blocks, Attribute size, bool channels_first) {
  require(blocks.size() == image.size(), "blocks must have the rank of the image");
  const int64_t channels = image[image.size() - 1];
  require(blocks[0] == indices[0], "there must be a block for each row of indices");
  require(blocks[channels_first ? 1 : blocks.size() - 1] == channels, "blocks must have the channels of the image");
  for (size_t i = 0; i < size.size(); ++i)
    require(blocks[i + (channels_first ? 2 : 1)] == size[i], "blocks must have the spatial shape `size`");
  bounded_product({product(blocks), 8}, int64_t{1} << 62, "the blocks are too large to index");
  bounded_product({product(image), 8}, int64_t{1} << 62, "the image is too large to index");
  return {image[0], channels, indices[0], channels_first};
}

template <class Context>
ffi::Error Gather(Context context, ffi::AnyBuffer x, ffi::AnyBuffer indices, ffi::Result<ffi::AnyBuffer> blocks,
                  ffi::Result<ffi::AnyBuffer> workspace, Attribute size, Attribute stride, Attribute offset,
                  Attribute grid, int64_t channels_first, int64_t shown) {
  return guarded("block.gather", [&] {
    const Tiling t = read_tiling(x.dimensions(), true, size, stride, offset, grid);
    require_indices(indices, t);
    const MoveSizes n =
        read_sizes(x.dimensions(), indices.dimensions(), blocks->dimensions(), size, channels_first != 0);
    require(x.element_type() == blocks->element_type(), "image and blocks must have one dtype");
    if (n.channels == 0) return;
    auto device = device_of(context, workspace);
    by_width(x.element_type(), [&](auto type) {
      using T = decltype(type);
      gather<T>(device, t, n, data<T>(x), data<int32_t>(indices), shown != 0, result_data<T>(blocks));
    });
  });
}

template <class Context>
ffi::Error Scatter(Context context, ffi::AnyBuffer blocks, ffi::AnyBuffer indices, ffi::AnyBuffer base,
                   ffi::Result<ffi::AnyBuffer> out, ffi::Result<ffi::AnyBuffer> workspace, Attribute size,
                   Attribute stride, Attribute offset, Attribute grid, int64_t channels_first) {
  return guarded("block.scatter", [&] {
    const Tiling t = read_tiling(base.dimensions(), true, size, stride, offset, grid);
    require_indices(indices, t);
    const MoveSizes n =
        read_sizes(base.dimensions(), indices.dimensions(), blocks.dimensions(), size, channels_first != 0);
    require(base.element_type() == blocks.element_type(), "base and blocks must have one dtype");
    require(same_shape(base.dimensions(), out->dimensions()) && base.element_type() == out->element_type(),
            "base and result must have one shape and dtype");
    if (n.channels == 0) return;
    auto device = device_of(context, workspace);
    by_width(base.element_type(), [&](auto type) {
      using T = decltype(type);
      scatter<T>(device, t, n, data<T>(blocks), data<int32_t>(indices), data<T>(base), result_data<T>(out));
    });
  });
}

template <class Context>
ffi::Error ScatterAdd(Context context, ffi::AnyBuffer blocks, ffi::AnyBuffer indices, ffi::AnyBuffer base,
                      ffi::Result<ffi::AnyBuffer> out, ffi::Result<ffi::AnyBuffer> workspace, Attribute size,
                      Attribute stride, Attribute offset, Attribute grid, int64_t channels_first) {
  return guarded("block.scatter_add", [&] {
    const Tiling t = read_tiling(base.dimensions(), true, size, stride, offset, grid);
    require_indices(indices, t);
    const MoveSizes n =
        read_sizes(base.dimensions(), indices.dimensions(), blocks.dimensions(), size, channels_first != 0);
    require(base.element_type() == blocks.element_type(), "base and blocks must have one dtype");
    require(same_shape(base.dimensions(), out->dimensions()) && base.element_type() == out->element_type(),
            "base and result must have one shape and dtype");
    if (n.channels == 0) return;
    auto device = device_of(context, workspace);
    dispatch(base.element_type(), [&](auto type) {
      using T = decltype(type);
      scatter_add<T>(device, t, n, data<T>(blocks), data<int32_t>(indices), data<T>(base), result_data<T>(out));
    });
  });
}

template <class Context>
ffi::Error Erase(Context context, ffi::AnyBuffer indices, ffi::AnyBuffer base, ffi::Result<ffi::AnyBuffer> out,
                 ffi::Result<ffi::AnyBuffer> workspace, Attribute size, Attribute stride, Attribute offset,
                 Attribute grid) {
  return guarded("block.erase", [&] {
    const Tiling t = read_tiling(base.dimensions(), true, size, stride, offset, grid);
    require_indices(indices, t);
    require(same_shape(base.dimensions(), out->dimensions()) && base.element_type() == out->element_type(),
            "base and result must have one shape and dtype");
    const MoveSizes n{dim(base, 0), dim(base, base.dimensions().size() - 1), dim(indices, 0), false};
    if (n.channels == 0) return;
    auto device = device_of(context, workspace);
    by_width(base.element_type(), [&](auto type) {
      using T = decltype(type);
      erase<T>(device, t, n, data<int32_t>(indices), data<T>(base), result_data<T>(out));
    });
  });
}

}  // namespace
}  // namespace jaxsparse::block
