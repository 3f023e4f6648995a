// FFI handlers of pooling on CPU.
#include "pool.h"

#include "../bindings/ffi_util.h"
#include "../bindings/handlers.h"
#include "windows.h"

namespace jaxsparse {
namespace {

using Attribute = ffi::Span<const int64_t>;

ConvGeometry read_windows(Attribute spatial_shape, Attribute out_shape, Attribute window, Attribute strides) {
  const size_t d = spatial_shape.size();
  require(d >= 1 && d <= kMaxDims && out_shape.size() == d && window.size() == d && strides.size() == d,
          "out_shape, window and strides must fit spatial_shape (1 to 4 dimensions)");
  return pool_geometry(static_cast<int>(d), spatial_shape.begin(), out_shape.begin(), window.begin(), strides.begin());
}

template <template <class> class Join>
ffi::Error PoolLists(FfiPool pool, ffi::AnyBuffer x_keys, ffi::AnyBuffer x_values, ffi::Result<ffi::AnyBuffer> keys,
                     ffi::Result<ffi::AnyBuffer> values, ffi::Result<ffi::AnyBuffer> found,
                     ffi::Result<ffi::AnyBuffer> extra, ffi::Result<ffi::AnyBuffer> workspace, Attribute spatial_shape,
                     Attribute out_shape, Attribute window, Attribute strides) {
  return guarded(Join<float>::kName, [&] {
    require_lists(x_keys, x_values);
    require_lists(*keys, *values);
    require_lists(*extra, *values);
    require(dim(x_keys, 0) == dim(*keys, 0) && dim(x_keys, 1) == dim(*keys, 1), "batch and channels must agree");
    require(x_values.element_type() == values->element_type(), "input and output must have one dtype");
    require_counts(*found, dim(*keys, 0) * dim(*keys, 1));
    const PoolSizes n{dim(x_keys, 0), dim(x_keys, 1), dim(x_keys, 2), dim(*keys, 2)};
    const PoolWindows windows(read_windows(spatial_shape, out_shape, window, strides));
    dispatch(x_values.element_type(), [&](auto type) {
      using T = decltype(type);
      int64_t bytes;
      lay_out_pool<T>(windows, n, nullptr, &bytes);
      require(static_cast<int64_t>(workspace->size_bytes()) >= bytes, "the workspace is too small");
      pool_lists<Join, T>(pool, windows, n, data<int32_t>(x_keys), data<T>(x_values), result_data<int32_t>(keys),
                          result_data<T>(values), result_data<int32_t>(found), result_data<int32_t>(extra),
                          workspace->untyped_data());
    });
  });
}

// Runs body(type, grid, sizes) for fine lists (in the windows' input) and coarse ones (one entry a window).
template <class Body>
void with_windows(const ffi::AnyBuffer& fine_keys, const ffi::AnyBuffer& coarse_keys, const ffi::AnyBuffer& count,
                  const ffi::AnyBuffer& values, ffi::Result<ffi::AnyBuffer>& out,
                  ffi::Result<ffi::AnyBuffer>& workspace, Attribute spatial_shape, Attribute out_shape,
                  Attribute window, Attribute strides, Body&& body) {
  require_lists(fine_keys, fine_keys);
  require_lists(coarse_keys, coarse_keys);
  require(dim(fine_keys, 0) == dim(coarse_keys, 0) && dim(fine_keys, 1) == dim(coarse_keys, 1),
          "batch and channels must agree");
  require(is_absent(count) || same_shape(count.dimensions(), coarse_keys.dimensions()),
          "there must be one count a window");
  require(count.element_type() == ffi::S32, "counts must be int32");
  require(values.element_type() == out->element_type(), "input and output must have one dtype");
  const ConvGrid grid(read_windows(spatial_shape, out_shape, window, strides));
  const PoolSizes n{dim(fine_keys, 0), dim(fine_keys, 1), dim(fine_keys, 2), dim(coarse_keys, 2)};
  dispatch(values.element_type(), [&](auto type) {
    int64_t bytes;
    lay_out_windows<decltype(type)>(grid, n, nullptr, &bytes);
    require(static_cast<int64_t>(workspace->size_bytes()) >= bytes, "the workspace is too small");
    body(type, grid, n);
  });
}

ffi::Error WindowSum(FfiPool pool, ffi::AnyBuffer fine_keys, ffi::AnyBuffer fine_values, ffi::AnyBuffer coarse_keys,
                     ffi::AnyBuffer count, ffi::Result<ffi::AnyBuffer> coarse_values,
                     ffi::Result<ffi::AnyBuffer> workspace, Attribute spatial_shape, Attribute out_shape,
                     Attribute window, Attribute strides) {
  return guarded("direct window_sum", [&] {
    require_lists(fine_keys, fine_values);
    require_lists(coarse_keys, *coarse_values);
    with_windows(fine_keys, coarse_keys, count, fine_values, coarse_values, workspace, spatial_shape, out_shape, window,
                 strides, [&](auto type, const ConvGrid& grid, const PoolSizes& n) {
                   using T = decltype(type);
                   window_sum<T>(pool, grid, n, data<int32_t>(fine_keys), data<T>(fine_values),
                                 data<int32_t>(coarse_keys), is_absent(count) ? nullptr : data<int32_t>(count),
                                 result_data<T>(coarse_values), workspace->untyped_data());
                 });
  });
}

ffi::Error WindowSpread(FfiPool pool, ffi::AnyBuffer fine_keys, ffi::AnyBuffer coarse_keys,
                        ffi::AnyBuffer coarse_values, ffi::AnyBuffer count, ffi::Result<ffi::AnyBuffer> fine_values,
                        ffi::Result<ffi::AnyBuffer> workspace, Attribute spatial_shape, Attribute out_shape,
                        Attribute window, Attribute strides) {
  return guarded("direct window_spread", [&] {
    require_lists(fine_keys, *fine_values);
    require_lists(coarse_keys, coarse_values);
    with_windows(fine_keys, coarse_keys, count, coarse_values, fine_values, workspace, spatial_shape, out_shape, window,
                 strides, [&](auto type, const ConvGrid& grid, const PoolSizes& n) {
                   using T = decltype(type);
                   window_spread<T>(pool, grid, n, data<int32_t>(fine_keys), data<int32_t>(coarse_keys),
                                    data<T>(coarse_values), is_absent(count) ? nullptr : data<int32_t>(count),
                                    result_data<T>(fine_values), workspace->untyped_data());
                 });
  });
}

}  // namespace

JAXSPARSE_HANDLER(JaxsparseDirectMaxPool, PoolLists<Maximum>, "spatial_shape", "out_shape", "window", "strides");
JAXSPARSE_HANDLER(JaxsparseDirectAvgPool, PoolLists<Mean>, "spatial_shape", "out_shape", "window", "strides");
JAXSPARSE_HANDLER(JaxsparseDirectWindowSum, WindowSum, "spatial_shape", "out_shape", "window", "strides");
JAXSPARSE_HANDLER(JaxsparseDirectWindowSpread, WindowSpread, "spatial_shape", "out_shape", "window", "strides");

}  // namespace jaxsparse
