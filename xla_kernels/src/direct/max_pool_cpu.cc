// FFI handler of max-pooling on CPU.
#include "max_pool.h"

#include "../bindings/ffi_util.h"
#include "../bindings/handlers.h"

namespace jaxsparse {
namespace {

using Attribute = ffi::Span<const int64_t>;

ffi::Error MaxPool(ffi::ThreadPool threads, ffi::AnyBuffer x_keys, ffi::AnyBuffer x_values,
                   ffi::Result<ffi::AnyBuffer> keys, ffi::Result<ffi::AnyBuffer> values,
                   ffi::Result<ffi::AnyBuffer> found, ffi::Result<ffi::AnyBuffer> source,
                   ffi::Result<ffi::AnyBuffer> workspace, Attribute spatial_shape, Attribute out_shape,
                   Attribute window, Attribute strides) {
  return guarded("direct.max_pool", [&] {
    require_lists(x_keys, x_values);
    require_lists(*keys, *values);
    require_lists(*source, *values);
    require(dim(x_keys, 0) == dim(*keys, 0) && dim(x_keys, 1) == dim(*keys, 1), "batch and channels must agree");
    require(x_values.element_type() == values->element_type(), "input and output must have one dtype");
    require_counts(*found, dim(*keys, 0) * dim(*keys, 1));
    const size_t d = spatial_shape.size();
    require(d >= 1 && d <= kMaxDims && out_shape.size() == d && window.size() == d && strides.size() == d,
            "out_shape, window and strides must fit spatial_shape (1 to 4 dimensions)");
    const PoolSizes n{dim(x_keys, 0), dim(x_keys, 1), dim(x_keys, 2), dim(*keys, 2)};
    const PoolWindows windows(
        pool_geometry(static_cast<int>(d), spatial_shape.begin(), out_shape.begin(), window.begin(), strides.begin()));
    FfiPool pool{threads};
    dispatch(x_values.element_type(), [&](auto type) {
      using T = decltype(type);
      int64_t bytes;
      lay_out_pool<T>(windows, n, nullptr, &bytes);
      require(static_cast<int64_t>(workspace->size_bytes()) >= bytes, "the workspace is too small");
      max_pool<T>(pool, windows, n, data<int32_t>(x_keys), data<T>(x_values), result_data<int32_t>(keys),
                  result_data<T>(values), result_data<int32_t>(found), result_data<int32_t>(source),
                  workspace->untyped_data());
    });
  });
}

}  // namespace
}  // namespace jaxsparse

using xla::ffi::AnyBuffer;
using SizeList = xla::ffi::Span<const int64_t>;

XLA_FFI_DEFINE_HANDLER_SYMBOL(JaxsparseDirectMaxPool, jaxsparse::MaxPool,
                              xla::ffi::Ffi::Bind()
                                  .Ctx<xla::ffi::ThreadPool>()
                                  .Arg<AnyBuffer>()
                                  .Arg<AnyBuffer>()
                                  .Ret<AnyBuffer>()
                                  .Ret<AnyBuffer>()
                                  .Ret<AnyBuffer>()
                                  .Ret<AnyBuffer>()
                                  .Ret<AnyBuffer>()
                                  .Attr<SizeList>("spatial_shape")
                                  .Attr<SizeList>("out_shape")
                                  .Attr<SizeList>("window")
                                  .Attr<SizeList>("strides"));
