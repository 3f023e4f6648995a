// FFI handlers that move blocks between images and lists on CPU.
#include "gather.h"
#include "scatter.h"

#include "move_handlers.h"

namespace jaxsparse::block {
namespace {

template <class Context>
ffi::Error ScatterNew(Context context, ffi::AnyBuffer blocks, ffi::AnyBuffer indices, ffi::AnyBuffer value,
                      ffi::Result<ffi::AnyBuffer> out, ffi::Result<ffi::AnyBuffer> workspace, Attribute size,
                      Attribute stride, Attribute offset, Attribute grid, int64_t channels_first) {
  return guarded("block.scatter_new", [&] {
    const Tiling t = read_tiling(out->dimensions(), true, size, stride, offset, grid);
    require_indices(indices, t);
    const MoveSizes n =
        read_sizes(out->dimensions(), indices.dimensions(), blocks.dimensions(), size, channels_first != 0);
    require(out->element_type() == blocks.element_type() && value.element_type() == blocks.element_type(),
            "blocks, value and result must have one dtype");
    require(value.dimensions().size() == 0, "the value must be a scalar");
    if (n.channels == 0) return;
    auto device = device_of(context, workspace);
    by_width(out->element_type(), [&](auto type) {
      using T = decltype(type);
      scatter_new<T>(device, t, n, data<T>(blocks), data<int32_t>(indices), *data<T>(value), result_data<T>(out));
    });
  });
}

}  // namespace

JAXSPARSE_HANDLER(JaxsparseBlockGather, Gather<FfiPool>, "size", "stride", "offset", "grid", "channels_first", "shown");
JAXSPARSE_HANDLER(JaxsparseBlockScatter, Scatter<FfiPool>, "size", "stride", "offset", "grid", "channels_first");
JAXSPARSE_HANDLER(JaxsparseBlockScatterAdd, ScatterAdd<FfiPool>, "size", "stride", "offset", "grid", "channels_first");
JAXSPARSE_HANDLER(JaxsparseBlockScatterNew, ScatterNew<FfiPool>, "size", "stride", "offset", "grid", "channels_first");
JAXSPARSE_HANDLER(JaxsparseBlockErase, Erase<FfiPool>, "size", "stride", "offset", "grid");

}  // namespace jaxsparse::block
