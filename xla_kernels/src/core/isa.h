// The instruction set of the leaf loops. Included by the files that choose them, which see no -m flags.
#pragma once

#include <cstdlib>
#include <cstring>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace jaxsparse {

enum class Isa { kPortable, kAvx2, kAvx512 };

#if defined(__x86_64__)
// Not every compiler's __builtin_cpu_supports knows it by name.
inline bool has_f16c() {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  return __get_cpuid(1, &eax, &ebx, &ecx, &edx) && (ecx & bit_F16C);
}
#endif

inline Isa detect_isa() {
  Isa best = Isa::kPortable;
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool avx2 =
      __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2") && has_f16c();
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
