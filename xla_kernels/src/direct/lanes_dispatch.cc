// Chooses the leaf loops for the processor at hand, once.
#include <cstdlib>
#include <cstring>

#include "lanes.h"

namespace jaxsparse {
namespace {

enum class Isa { kPortable, kAvx2, kAvx512 };

Isa detect() {
  Isa best = Isa::kPortable;
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
                      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq");
  best = avx512 ? Isa::kAvx512 : avx2 ? Isa::kAvx2 : Isa::kPortable;
#endif
  if (const char* wish = std::getenv("JAXSPARSE_ISA")) {
    if (!std::strcmp(wish, "portable")) best = Isa::kPortable;
    if (!std::strcmp(wish, "avx2") && best == Isa::kAvx512) best = Isa::kAvx2;
  }
  return best;
}

Isa isa() {
  static const Isa chosen = detect();
  return chosen;
}

}  // namespace

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
