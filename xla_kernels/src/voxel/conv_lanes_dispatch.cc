// Chooses the leaf loops for the processor at hand, once.
#include "../core/isa.h"
#include "conv_lanes.h"

namespace jaxsparse::voxel {

template <>
const ConvOps<float>& conv_ops<float>() {
#if defined(__x86_64__)
  if (isa() == Isa::kAvx512) return avx512::conv_ops_f32();
  if (isa() == Isa::kAvx2) return avx2::conv_ops_f32();
#endif
  return portable::conv_ops_f32();
}

template <>
const ConvOps<double>& conv_ops<double>() {
#if defined(__x86_64__)
  if (isa() == Isa::kAvx512) return avx512::conv_ops_f64();
  if (isa() == Isa::kAvx2) return avx2::conv_ops_f64();
#endif
  return portable::conv_ops_f64();
}

void widen_f16(const uint16_t* from, float* to, int64_t n) {
#if defined(__x86_64__)
  if (isa() == Isa::kAvx512) return avx512::widen_f16(from, to, n);
  if (isa() == Isa::kAvx2) return avx2::widen_f16(from, to, n);
#endif
  portable::widen_f16(from, to, n);
}

}  // namespace jaxsparse::voxel
