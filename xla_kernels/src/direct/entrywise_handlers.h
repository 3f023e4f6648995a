// FFI handlers of the operations on single entries, for the CPU and the GPU. To be included behind their functions, of
// entrywise.h or of entrywise_cuda.cu.
#pragma once

#include "../bindings/ffi_util.h"
#include "../bindings/handlers.h"

namespace jaxsparse {
namespace {

ListSizes read_sizes(ffi::Span<const int64_t> lists) { return {lists[0], lists[1], lists[2]}; }

template <class Context>
ffi::Error Relu(Context context, ffi::AnyBuffer x_keys, ffi::AnyBuffer x_values, ffi::Result<ffi::AnyBuffer> keys,
                ffi::Result<ffi::AnyBuffer> values, ffi::Result<ffi::AnyBuffer> found,
                ffi::Result<ffi::AnyBuffer> source, ffi::Result<ffi::AnyBuffer> workspace, int64_t volume) {
  return guarded("direct.relu", [&] {
    require_lists(x_keys, x_values);
    require_lists(*keys, *values);
    require(same_shape(x_keys.dimensions(), keys->dimensions()), "relu keeps the capacity");
    require_lists(*source, *values);
    require(x_values.element_type() == values->element_type(), "input and output must have one dtype");
    const ListSizes n = read_sizes(x_keys.dimensions());
    require_counts(*found, n.lists());
    require_volume(volume);
    auto device = device_of(context, workspace);
    dispatch(x_values.element_type(), [&](auto type) {
      using T = decltype(type);
      relu<T>(device, n, volume, data<int32_t>(x_keys), data<T>(x_values), result_data<int32_t>(keys),
              result_data<T>(values), result_data<int32_t>(found), result_data<int32_t>(source));
    });
  });
}

template <class Context>
ffi::Error MaskedScale(Context context, ffi::AnyBuffer keys, ffi::AnyBuffer values, ffi::AnyBuffer mask,
                       ffi::AnyBuffer factors, ffi::Result<ffi::AnyBuffer> out, ffi::Result<ffi::AnyBuffer> workspace,
                       int64_t volume) {
  return guarded("direct masked_scale", [&] {
    require_lists(keys, values);
    require_lists(keys, mask);
    require_lists(keys, *out);
    require(mask.element_type() == ffi::PRED, "the mask must be bool");
    require(values.element_type() == out->element_type(), "input and output must have one dtype");
    require(factors.element_count() == 2, "there must be two factors");
    require_volume(volume);
    auto device = device_of(context, workspace);
    dispatch(values.element_type(), [&](auto type) {
      using T = decltype(type);
      require(factors.element_type() == (std::is_same_v<Accum<T>, double> ? ffi::F64 : ffi::F32),
              "the factors must have the accumulator's dtype");
      masked_scale<T>(device, read_sizes(keys.dimensions()), volume, data<int32_t>(keys), data<T>(values),
                      data<bool>(mask), data<Accum<T>>(factors), result_data<T>(out));
    });
  });
}

template <class Context>
ffi::Error Take(Context context, ffi::AnyBuffer values, ffi::AnyBuffer source, ffi::Result<ffi::AnyBuffer> out,
                ffi::Result<ffi::AnyBuffer> workspace) {
  return guarded("direct take", [&] {
    require_lists(source, *out);
    require(values.dimensions().size() == 3 && dim(values, 0) == dim(source, 0) && dim(values, 1) == dim(source, 1),
            "values and source must agree in batch and channels");
    require(values.element_type() == out->element_type(), "input and output must have one dtype");
    auto device = device_of(context, workspace);
    dispatch(values.element_type(), [&](auto type) {
      using T = decltype(type);
      take<T>(device, {dim(values, 0), dim(values, 1), std::max<int64_t>(1, dim(values, 2))}, dim(source, 2),
              data<T>(values), data<int32_t>(source), result_data<T>(out));
    });
  });
}

template <class Context>
ffi::Error PutAdd(Context context, ffi::AnyBuffer values, ffi::AnyBuffer source, ffi::Result<ffi::AnyBuffer> out,
                  ffi::Result<ffi::AnyBuffer> workspace) {
  return guarded("direct put_add", [&] {
    require_lists(source, values);
    require(out->dimensions().size() == 3 && dim(*out, 0) == dim(source, 0) && dim(*out, 1) == dim(source, 1) &&
                dim(*out, 2) >= 1,
            "out and source must agree in batch and channels");
    require(values.element_type() == out->element_type(), "input and output must have one dtype");
    auto device = device_of(context, workspace);
    dispatch(values.element_type(), [&](auto type) {
      using T = decltype(type);
      run_with_workspace<Context>(
          type, workspace, [&](auto t) { return put_add_bytes<decltype(t)>(dim(*out, 2)); },
          [&](auto... scratch) {
            put_add<T>(device, read_sizes(out->dimensions()), dim(source, 2), data<T>(values), data<int32_t>(source),
                       result_data<T>(out), scratch...);
          });
    });
  });
}

template <class Context>
ffi::Error ChannelSum(Context context, ffi::AnyBuffer keys, ffi::AnyBuffer values, ffi::Result<ffi::AnyBuffer> out,
                      ffi::Result<ffi::AnyBuffer> workspace, int64_t volume) {
  return guarded("direct channel_sum", [&] {
    require_lists(keys, values);
    require(values.element_type() == out->element_type(), "input and output must have one dtype");
    require(static_cast<int64_t>(out->element_count()) == dim(keys, 1), "out must have one number a channel");
    require_volume(volume);
    auto device = device_of(context, workspace);
    dispatch(values.element_type(), [&](auto type) {
      using T = decltype(type);
      channel_sum<T>(device, read_sizes(keys.dimensions()), volume, data<int32_t>(keys), data<T>(values),
                     result_data<T>(out));
    });
  });
}

}  // namespace
}  // namespace jaxsparse
