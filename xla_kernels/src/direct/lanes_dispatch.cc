// Chooses the leaf loops for the processor at hand, once.
#include "../core/isa.h"
#include "lanes.h"

namespace jaxsparse {

const char* instruction_set() {
  switch (isa()) {
    case Isa::kAvx512:
      return "avx512";
    case Isa::kAvx2:
      return "avx2";
    default:
      return "portable";
  }
}

template <>
const LaneOps<float>& lane_ops<float>(int lanes) {
#if defined(__x86_64__)
  if (isa() == Isa::kAvx512) return avx512::lane_ops_f32(lanes);
  if (isa() == Isa::kAvx2) return avx2::lane_ops_f32(lanes);
#endif
  return portable::lane_ops_f32(lanes);
}

template <>
const LaneOps<double>& lane_ops<double>(int lanes) {
#if defined(__x86_64__)
  if (isa() == Isa::kAvx512) return avx512::lane_ops_f64(lanes);
  if (isa() == Isa::kAvx2) return avx2::lane_ops_f64(lanes);
#endif
  return portable::lane_ops_f64(lanes);
}

}  // namespace jaxsparse
