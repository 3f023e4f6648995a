// FFI handler of reduce_mask. To be included behind the function, of reduce_mask.h on the CPU.
#pragma once

#include "../bindings/handlers.h"
#include "attributes.h"

namespace jaxsparse::block {
namespace {

// Of bool masks or floating point ones.
template <class F>
void by_mask_type(ffi::DataType type, F&& f) {
  if (type == ffi::PRED) return f(uint8_t{});
  dispatch(type, f);
}

// `number` and `response` are scratch memory, of the size of the batch and therefore results.
template <class Context>
ffi::Error ReduceMask(Context context, ffi::AnyBuffer mask, ffi::AnyBuffer threshold,
                      ffi::Result<ffi::AnyBuffer> indices, ffi::Result<ffi::AnyBuffer> count,
                      ffi::Result<ffi::AnyBuffer> number, ffi::Result<ffi::AnyBuffer> response,
                      ffi::Result<ffi::AnyBuffer> workspace, Attribute size, Attribute stride, Attribute offset,
                      Attribute grid, int64_t mode) {
  return guarded("block.reduce_mask", [&] {
    const Tiling t = read_tiling(mask.dimensions(), false, size, stride, offset, grid);
    require_indices(*indices, t);
    require(count->element_type() == ffi::S32 && count->element_count() == 1, "count must be one int32");
    const int64_t blocks = dim(mask, 0) * t.boxes();
    require(number->element_type() == ffi::S32 && static_cast<int64_t>(number->element_count()) == blocks &&
                static_cast<int64_t>(response->element_count()) == blocks,
            "number and response must have an element for each block");
    require(mode == 0 || mode == 1, "mode must be 0 or 1");
    const ffi::DataType wide = mask.element_type() == ffi::F64 ? ffi::F64 : ffi::F32;
    require(threshold.element_type() == wide && threshold.element_count() == 1 && response->element_type() == wide,
            "threshold and response must be float32, or float64 for a float64 mask");
    auto device = device_of(context, workspace);
    by_mask_type(mask.element_type(), [&](auto type) {
      using T = decltype(type);
      using A = Accum<T>;
      reduce_mask<T>(device, t, dim(mask, 0), dim(*indices, 0), data<T>(mask), data<A>(threshold),
                     static_cast<Pooled>(mode), result_data<int32_t>(indices), result_data<int32_t>(count),
                     result_data<int32_t>(number), result_data<A>(response));
    });
  });
}

}  // namespace
}  // namespace jaxsparse::block
