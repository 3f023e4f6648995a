// The instruction set of the leaf loops. Included by the files that choose them, which see no -m flags.
#pragma once

#include <cstdlib>
#include <cstring>

namespace jaxsparse {

enum class Isa { kPortable, kAvx2, kAvx512 };

inline Isa detect_isa() {
  Isa best = Isa::kPortable;
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2") &&
                    __builtin_cpu_supports("f16c");
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

// That of the processor at hand; the environment variable JAXSPARSE_ISA lowers it. Found out once.
inline Isa isa() {
  static const Isa chosen = detect_isa();
  return chosen;
}

}  // namespace jaxsparse
