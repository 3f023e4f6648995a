// FFI handlers of pooling. To be included behind the functions, of pool.h and segments.h on the CPU.
#pragma once

#include "../bindings/ffi_util.h"
#include "../bindings/handlers.h"

namespace jaxsparse::voxel {
namespace {

template <class Buffer>
void require_table(const Buffer& table, const char* what) {
  require(table.element_type() == ffi::S32 && table.dimensions().size() == 2, what);
}

// x [inputs, channels] and what says where the outputs' rows are.
template <class Buffer>
PoolSizes read_pool_sizes(const Buffer& x, int64_t outputs, int64_t taps) {
  require(x.dimensions().size() == 2, "features must have shape [rows, channels]");
  const PoolSizes n{dim(x, 0), outputs, taps, dim(x, 1)};
  constexpr int64_t kMost = std::numeric_limits<int32_t>::max() - 1;
  require(n.inputs <= kMost && n.outputs <= kMost, "there must be fewer than 2^31 - 1 rows");
  return n;
}

// What is not there is an empty vector.
template <class T, class Buffer>
const T* background_of(const Buffer& background, const PoolSizes& n) {
  if (is_absent(background) && n.channels != 0) return nullptr;
  require(static_cast<int64_t>(background.element_count()) == n.channels, "the background must have the channels of x");
  return data<T>(background);
}

template <class Buffer>
void require_rows(Buffer& rows, int64_t count, int64_t channels, const char* what) {
  require(rows.dimensions().size() == 2 && dim(rows, 0) == count && dim(rows, 1) == channels, what);
}

template <class Context>
ffi::Error PoolMax(Context context, ffi::AnyBuffer x, ffi::AnyBuffer map, ffi::AnyBuffer background,
                   ffi::Result<ffi::AnyBuffer> y, ffi::Result<ffi::AnyBuffer> source,
                   ffi::Result<ffi::AnyBuffer> workspace) {
  return guarded("voxel.pool_max", [&] {
    require_table(map, "the map must be int32 [taps, outputs]");
    const PoolSizes n = read_pool_sizes(x, dim(map, 1), dim(map, 0));
    require_rows(*y, n.outputs, n.channels, "the result must have shape [outputs, channels]");
    require_table(*source, "source must be int32 [outputs, channels]");
    require_rows(*source, n.outputs, n.channels, "source must have shape [outputs, channels]");
    require(x.element_type() == y->element_type() && x.element_type() == background.element_type(),
            "features, background and result must have one dtype");
    auto device = device_of(context, workspace);
    dispatch(x.element_type(), [&](auto type) {
      using T = decltype(type);
      pool_max<T>(device, n, data<T>(x), data<int32_t>(map), background_of<T>(background, n), result_data<T>(y),
                  result_data<int32_t>(source));
    });
  });
}

template <class Context>
ffi::Error PoolPut(Context context, ffi::AnyBuffer y, ffi::AnyBuffer source, ffi::AnyBuffer reverse,
                   ffi::Result<ffi::AnyBuffer> x, ffi::Result<ffi::AnyBuffer> workspace) {
  return guarded("voxel.pool_put", [&] {
    require_table(source, "source must be int32 [outputs, channels]");
    require_table(reverse, "the reverse map must be int32 [taps, inputs]");
    const PoolSizes n = read_pool_sizes(*x, dim(source, 0), dim(reverse, 0));
    require(dim(reverse, 1) == n.inputs, "the reverse map must be int32 [taps, inputs]");
    require_rows(y, n.outputs, n.channels, "the cotangent must have shape [outputs, channels]");
    require(dim(source, 1) == n.channels, "source must have the channels of x");
    require(x->element_type() == y.element_type(), "cotangent and result must have one dtype");
    auto device = device_of(context, workspace);
    dispatch(y.element_type(), [&](auto type) {
      using T = decltype(type);
      pool_put<T>(device, n, data<T>(y), data<int32_t>(source), data<int32_t>(reverse), result_data<T>(x));
    });
  });
}

template <class Context>
ffi::Error PoolSum(Context context, ffi::AnyBuffer x, ffi::AnyBuffer map, ffi::Result<ffi::AnyBuffer> y,
                   ffi::Result<ffi::AnyBuffer> workspace) {
  return guarded("voxel.pool_sum", [&] {
    require_table(map, "the map must be int32 [taps, outputs]");
    const PoolSizes n = read_pool_sizes(x, dim(map, 1), dim(map, 0));
    require_rows(*y, n.outputs, n.channels, "the result must have shape [outputs, channels]");
    require(x.element_type() == y->element_type(), "features and result must have one dtype");
    auto device = device_of(context, workspace);
    dispatch(x.element_type(), [&](auto type) {
      using T = decltype(type);
      pool_sum<T>(device, n, data<T>(x), data<int32_t>(map), result_data<T>(y));
    });
  });
}

template <class Buffer, class Out>
SegmentSizes read_segment_sizes(const Buffer& x, const Buffer& segment, Out& y) {
  require(x.dimensions().size() == 2 && y.dimensions().size() == 2 && dim(x, 1) == dim(y, 1),
          "features and result must have shapes [rows, channels] and [segments, channels]");
  require(segment.element_type() == ffi::S32 && segment.dimensions().size() == 1 && dim(segment, 0) == dim(x, 0),
          "segment must be int32, one for each row");
  require(x.element_type() == y.element_type(), "features and result must have one dtype");
  const SegmentSizes n{dim(x, 0), dim(y, 0), dim(x, 1)};
  constexpr int64_t kMost = std::numeric_limits<int32_t>::max() - 1;
  require(n.rows <= kMost && n.segments <= kMost, "there must be fewer than 2^31 - 1 rows");
  return n;
}

template <class Context>
ffi::Error SegmentSum(Context context, ffi::AnyBuffer x, ffi::AnyBuffer segment, ffi::Result<ffi::AnyBuffer> y,
                      ffi::Result<ffi::AnyBuffer> workspace) {
  return guarded("voxel.segment_sum", [&] {
    const SegmentSizes n = read_segment_sizes(x, segment, *y);
    auto device = device_of(context, workspace);
    dispatch(x.element_type(), [&](auto type) {
      using T = decltype(type);
      segment_sum<T>(device, n, data<T>(x), data<int32_t>(segment), result_data<T>(y));
    });
  });
}

template <class Context>
ffi::Error SegmentMax(Context context, ffi::AnyBuffer x, ffi::AnyBuffer segment, ffi::Result<ffi::AnyBuffer> y,
                      ffi::Result<ffi::AnyBuffer> source, ffi::Result<ffi::AnyBuffer> workspace) {
  return guarded("voxel.segment_max", [&] {
    const SegmentSizes n = read_segment_sizes(x, segment, *y);
    require_table(*source, "source must be int32 [segments, channels]");
    require_rows(*source, n.segments, n.channels, "source must have the shape of the result");
    auto device = device_of(context, workspace);
    dispatch(x.element_type(), [&](auto type) {
      using T = decltype(type);
      segment_max<T>(device, n, data<T>(x), data<int32_t>(segment), result_data<T>(y), result_data<int32_t>(source));
    });
  });
}

}  // namespace
}  // namespace jaxsparse::voxel
