// FFI handlers that make lists of sites and kernel maps. To be included behind the functions.
#pragma once

#include "../bindings/handlers.h"
#include "attributes.h"

namespace jaxsparse::voxel {
namespace {

template <class Context>
ffi::Error SortRows(Context context, ffi::AnyBuffer coords, ffi::AnyBuffer used, ffi::Result<ffi::AnyBuffer> out_coords,
                    ffi::Result<ffi::AnyBuffer> count, ffi::Result<ffi::AnyBuffer> row_of,
                    ffi::Result<ffi::AnyBuffer> order, ffi::Result<ffi::AnyBuffer> starts,
                    ffi::Result<ffi::AnyBuffer> workspace, int64_t batch, Attribute spatial_shape) {
  return guarded("voxel.sort_rows", [&] {
    const Box box = make_box(batch, spatial_shape);
    require_batch(batch);
    require_sites(coords, box.dims);
    require_sites(*out_coords, box.dims);
    const int64_t rows = dim(coords, 0), capacity = dim(*out_coords, 0);
    require_int32(used, 1, "count must be one int32");
    require_int32(*count, 1, "count must be one int32");
    require_int32(*row_of, rows, "row_of must be int32[rows]");
    require_int32(*order, rows, "order must be int32[rows]");
    require_int32(*starts, capacity + 1, "starts must be int32[capacity + 1]");
    auto device = device_of(context, workspace);
    sort_rows(device, box, data<int32_t>(coords), rows, data<int32_t>(used), capacity,
              Sorted{result_data<int32_t>(out_coords), result_data<int32_t>(count), result_data<int32_t>(row_of),
                     result_data<int32_t>(order), result_data<int32_t>(starts)});
  });
}

template <class Context>
ffi::Error Sites(Context context, ffi::AnyBuffer coords, ffi::Result<ffi::AnyBuffer> out_coords,
                 ffi::Result<ffi::AnyBuffer> count, ffi::Result<ffi::AnyBuffer> workspace, int64_t batch,
                 Attribute in_shape, Attribute out_shape, Attribute kernel, Attribute in_stride, Attribute out_stride,
                 Attribute offset, Attribute step) {
  return guarded("voxel.sites", [&] {
    const Relation r = make_relation(in_shape, out_shape, kernel, in_stride, out_stride, offset, step);
    require_batch(batch);
    require_sites(coords, r.dims);
    require_sites(*out_coords, r.dims);
    require_int32(*count, 1, "count must be one int32");
    auto device = device_of(context, workspace);
    sites(device, r, batch, data<int32_t>(coords), dim(coords, 0), dim(*out_coords, 0),
          result_data<int32_t>(out_coords), result_data<int32_t>(count));
  });
}

template <class Context>
ffi::Error KernelMap(Context context, ffi::AnyBuffer coords, ffi::AnyBuffer out_coords, ffi::Result<ffi::AnyBuffer> map,
                     ffi::Result<ffi::AnyBuffer> workspace, int64_t batch, Attribute in_shape, Attribute out_shape,
                     Attribute kernel, Attribute in_stride, Attribute out_stride, Attribute offset, Attribute step) {
  return guarded("voxel.kernel_map", [&] {
    const Relation r = make_relation(in_shape, out_shape, kernel, in_stride, out_stride, offset, step);
    require_batch(batch);
    require_sites(coords, r.dims);
    require_sites(out_coords, r.dims);
    require_int32(*map, checked_product(r.taps(), dim(out_coords, 0)), "the map must be int32[taps, output rows]");
    auto device = device_of(context, workspace);
    kernel_map(device, r, batch, data<int32_t>(coords), dim(coords, 0), data<int32_t>(out_coords), dim(out_coords, 0),
               result_data<int32_t>(map));
  });
}

}  // namespace
}  // namespace jaxsparse::voxel
