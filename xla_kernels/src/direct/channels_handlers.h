// FFI handlers of the operations with one number a channel, for the CPU and the GPU. To be included behind
// the functions, of channels.h or of channels_cuda.cu.
#pragma once

#include "../bindings/ffi_util.h"
#include "../bindings/handlers.h"

namespace jaxsparse {
namespace {

// Narrow types are widened before they come here.
template <class F>
void dispatch_wide(ffi::DataType type, F&& f) {
  if (type == ffi::F32) return f(float{});
  if (type == ffi::F64) return f(double{});
  throw std::invalid_argument("values must be float32 or float64");
}

template <class Buffer>
void require_channels(const Buffer& x, int64_t channels, ffi::DataType type) {
  require(x.element_type() == type, "all numbers must have one dtype");
  require(static_cast<int64_t>(x.element_count()) == channels, "there must be one number a channel");
}

template <class T>
ChannelTerm<T> read_term(const ffi::AnyBuffer& keys, const ffi::AnyBuffer& values, const ffi::AnyBuffer& shift,
                         ffi::DataType type) {
  ChannelTerm<T> term{nullptr, nullptr};
  if (!is_absent(values)) {
    require_lists(keys, values);
    require(values.element_type() == type, "all numbers must have one dtype");
    term.values = data<T>(values);
  }
  if (!is_absent(shift)) {
    require_channels(shift, dim(keys, 1), type);
    term.shift = data<T>(shift);
  }
  return term;
}

ListSizes read_sizes(const ffi::AnyBuffer& keys) {
  require_lists(keys, keys);
  return {dim(keys, 0), dim(keys, 1), dim(keys, 2)};
}

template <class Context>
ffi::Error ChannelDot(Context context, ffi::AnyBuffer keys, ffi::AnyBuffer a, ffi::AnyBuffer a_shift, ffi::AnyBuffer b,
                      ffi::AnyBuffer b_shift, ffi::Result<ffi::AnyBuffer> out, ffi::Result<ffi::AnyBuffer> workspace,
                      int64_t volume) {
  return guarded("direct channel_dot", [&] {
    const ListSizes n = read_sizes(keys);
    const ffi::DataType type = out->element_type();
    require_channels(*out, n.channels, type);
    require_volume(volume);
    auto device = device_of(context, workspace);
    dispatch_wide(type, [&](auto number) {
      using T = decltype(number);
      channel_dot<T>(device, n, volume, data<int32_t>(keys), read_term<T>(keys, a, a_shift, type),
                     read_term<T>(keys, b, b_shift, type), result_data<T>(out));
    });
  });
}

template <class Context>
ffi::Error ChannelAffine(Context context, ffi::AnyBuffer keys, ffi::AnyBuffer x, ffi::AnyBuffer shift,
                         ffi::AnyBuffer scale, ffi::AnyBuffer offset, ffi::Result<ffi::AnyBuffer> out,
                         ffi::Result<ffi::AnyBuffer> workspace, int64_t volume) {
  return guarded("direct channel_affine", [&] {
    const ListSizes n = read_sizes(keys);
    const ffi::DataType type = out->element_type();
    require_lists(keys, *out);
    require_channels(scale, n.channels, type);
    if (!is_absent(offset)) require_channels(offset, n.channels, type);
    require_volume(volume);
    auto device = device_of(context, workspace);
    dispatch_wide(type, [&](auto number) {
      using T = decltype(number);
      channel_affine<T>(device, n, volume, data<int32_t>(keys), read_term<T>(keys, x, shift, type), data<T>(scale),
                        is_absent(offset) ? nullptr : data<T>(offset), result_data<T>(out));
    });
  });
}

}  // namespace
}  // namespace jaxsparse
