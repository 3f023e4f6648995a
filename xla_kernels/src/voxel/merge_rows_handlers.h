// FFI handlers that merge rows of one site. To be included behind the functions.
#pragma once

#include "../bindings/handlers.h"
#include "attributes.h"

namespace jaxsparse::voxel {
namespace {

// From [rows, channels] and [groups, channels].
template <class Rows, class PerGroup>
void require_rows(const Rows& rows, const PerGroup& per_group) {
  require(rows.dimensions().size() == 2 && per_group.dimensions().size() == 2, "rows must have shape [N, channels]");
  require(dim(rows, 1) == dim(per_group, 1), "rows and groups must have the same channels");
  const int64_t most = kMostSites - 1;
  require(dim(rows, 0) <= most && dim(per_group, 0) <= most, "there must be less than 2^31 - 1 rows");
  checked_product(checked_product(dim(rows, 0), dim(rows, 1)), 8);
  checked_product(checked_product(dim(per_group, 0), dim(rows, 1)), 8);
}

template <class Rows, class PerGroup, class Order, class Starts>
Groups read_groups(const Rows& rows, const PerGroup& per_group, const Order& order, const Starts& starts) {
  require_rows(rows, per_group);
  require_int32(order, dim(rows, 0), "order must be int32[rows]");
  require_int32(starts, dim(per_group, 0) + 1, "starts must be int32[groups + 1]");
  return {data<int32_t>(order), data<int32_t>(starts), dim(rows, 0), dim(per_group, 0)};
}

template <class Context>
ffi::Error MergeRows(Context context, ffi::AnyBuffer features, ffi::AnyBuffer order, ffi::AnyBuffer starts,
                     ffi::Result<ffi::AnyBuffer> out, ffi::Result<ffi::AnyBuffer> workspace, int64_t mean) {
  return guarded("voxel.merge_rows", [&] {
    const Groups g = read_groups(features, *out, order, starts);
    require(features.element_type() == out->element_type(), "features and result must have one dtype");
    auto device = device_of(context, workspace);
    dispatch(features.element_type(), [&](auto type) {
      using T = decltype(type);
      merge_rows<T>(device, g, dim(features, 1), mean != 0, data<T>(features), result_data<T>(out));
    });
  });
}

template <class Context>
ffi::Error SpreadRows(Context context, ffi::AnyBuffer values, ffi::AnyBuffer order, ffi::AnyBuffer starts,
                      ffi::AnyBuffer row_of, ffi::Result<ffi::AnyBuffer> out, ffi::Result<ffi::AnyBuffer> workspace,
                      int64_t mean) {
  return guarded("voxel.spread_rows", [&] {
    const Groups g = read_groups(*out, values, order, starts);
    require_int32(row_of, g.rows, "row_of must be int32[rows]");
    require(values.element_type() == out->element_type(), "values and result must have one dtype");
    auto device = device_of(context, workspace);
    dispatch(values.element_type(), [&](auto type) {
      using T = decltype(type);
      spread_rows<T>(device, g, data<int32_t>(row_of), dim(values, 1), mean != 0, data<T>(values), result_data<T>(out));
    });
  });
}

template <class Context>
ffi::Error MaxRows(Context context, ffi::AnyBuffer features, ffi::AnyBuffer order, ffi::AnyBuffer starts,
                   ffi::Result<ffi::AnyBuffer> winner, ffi::Result<ffi::AnyBuffer> workspace) {
  return guarded("voxel.max_rows", [&] {
    const Groups g = read_groups(features, *winner, order, starts);
    require(winner->element_type() == ffi::S32, "winner must be int32");
    auto device = device_of(context, workspace);
    dispatch(features.element_type(), [&](auto type) {
      using T = decltype(type);
      max_rows<T>(device, g, dim(features, 1), data<T>(features), result_data<int32_t>(winner));
    });
  });
}

template <class Context>
ffi::Error PickRows(Context context, ffi::AnyBuffer features, ffi::AnyBuffer winner, ffi::Result<ffi::AnyBuffer> out,
                    ffi::Result<ffi::AnyBuffer> workspace) {
  return guarded("voxel.pick_rows", [&] {
    require_rows(features, *out);
    const int64_t rows = dim(features, 0), groups = dim(*out, 0), channels = dim(features, 1);
    require_int32(winner, groups * channels, "winner must be int32[groups, channels]");
    require(features.element_type() == out->element_type(), "features and result must have one dtype");
    auto device = device_of(context, workspace);
    dispatch(features.element_type(), [&](auto type) {
      using T = decltype(type);
      pick_rows<T>(device, rows, groups, channels, data<T>(features), data<int32_t>(winner), result_data<T>(out));
    });
  });
}

template <class Context>
ffi::Error PlaceRows(Context context, ffi::AnyBuffer values, ffi::AnyBuffer row_of, ffi::AnyBuffer winner,
                     ffi::Result<ffi::AnyBuffer> out, ffi::Result<ffi::AnyBuffer> workspace) {
  return guarded("voxel.place_rows", [&] {
    require_rows(*out, values);
    const int64_t rows = dim(*out, 0), groups = dim(values, 0), channels = dim(values, 1);
    require_int32(row_of, rows, "row_of must be int32[rows]");
    require_int32(winner, groups * channels, "winner must be int32[groups, channels]");
    require(values.element_type() == out->element_type(), "values and result must have one dtype");
    auto device = device_of(context, workspace);
    dispatch(values.element_type(), [&](auto type) {
      using T = decltype(type);
      place_rows<T>(device, rows, groups, channels, data<T>(values), data<int32_t>(row_of), data<int32_t>(winner),
                    result_data<T>(out));
    });
  });
}

}  // namespace
}  // namespace jaxsparse::voxel
