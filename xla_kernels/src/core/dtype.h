// Storage types and the accumulator each one computes in.
#pragma once

#include <cstdint>
#include <cstring>
#include <stdexcept>

#include "portable.h"

namespace jaxsparse {

struct BF16 {
  uint16_t bits;
};
struct F16 {
  uint16_t bits;
};

// Sums, bias, activity and selection happen in the accumulator type; values are rounded to the
// storage type last.
template <class T>
struct AccumOf {
  using type = float;
};
template <>
struct AccumOf<double> {
  using type = double;
};
template <class T>
using Accum = typename AccumOf<T>::type;

JAXSPARSE_ANYWHERE inline float float_from_bits(uint32_t u) {
  float f;
  std::memcpy(&f, &u, sizeof f);
  return f;
}
JAXSPARSE_ANYWHERE inline uint32_t bits_from_float(float f) {
  uint32_t u;
  std::memcpy(&u, &f, sizeof u);
  return u;
}

JAXSPARSE_ANYWHERE inline float to_accum(float x) { return x; }
JAXSPARSE_ANYWHERE inline double to_accum(double x) { return x; }
JAXSPARSE_ANYWHERE inline float to_accum(BF16 x) { return float_from_bits(uint32_t{x.bits} << 16); }

JAXSPARSE_ANYWHERE inline float to_accum(F16 x) {
#if defined(__CUDA_ARCH__)
  float wide;  // exact, subnormals too
  asm("cvt.f32.f16 %0, %1;" : "=f"(wide) : "h"(x.bits));
  return wide;
#else
  const uint32_t sign = (x.bits & 0x8000u) << 16;
  const uint32_t exponent = (x.bits >> 10) & 31u;
  uint32_t mantissa = x.bits & 1023u;
  if (exponent == 31) return float_from_bits(sign | 0x7f800000u | (mantissa << 13));
  if (exponent != 0) return float_from_bits(sign | ((exponent + 112) << 23) | (mantissa << 13));
  if (mantissa == 0) return float_from_bits(sign);
  uint32_t shift = 0;
  while (!(mantissa & 1024u)) {
    mantissa <<= 1;
    ++shift;
  }
  return float_from_bits(sign | ((113 - shift) << 23) | ((mantissa & 1023u) << 13));
#endif
}

// Round to nearest, ties to even; a NaN stays a NaN.
template <class T>
JAXSPARSE_ANYWHERE T from_accum(Accum<T> x);

template <>
JAXSPARSE_ANYWHERE inline float from_accum<float>(float x) {
  return x;
}
template <>
JAXSPARSE_ANYWHERE inline double from_accum<double>(double x) {
  return x;
}
template <>
JAXSPARSE_ANYWHERE inline BF16 from_accum<BF16>(float x) {
  const uint32_t u = bits_from_float(x);
  if ((u & 0x7fffffffu) > 0x7f800000u) return BF16{static_cast<uint16_t>((u >> 16) | 0x40u)};
  return BF16{static_cast<uint16_t>((u + 0x7fffu + ((u >> 16) & 1u)) >> 16)};
}
template <>
JAXSPARSE_ANYWHERE inline F16 from_accum<F16>(float x) {
  const uint32_t u = bits_from_float(x);
  const uint32_t sign = (u >> 16) & 0x8000u;
  const uint32_t magnitude = u & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return F16{static_cast<uint16_t>(sign | 0x7e00u)};
  if (magnitude >= 0x477ff000u) return F16{static_cast<uint16_t>(sign | 0x7c00u)};  // rounds past 65504
  if (magnitude >= 0x38800000u) {                                                   // normal in f16
    const uint32_t rounded = magnitude + 0xfffu + ((magnitude >> 13) & 1u);
    return F16{static_cast<uint16_t>(sign | ((rounded - 0x38000000u) >> 13))};
  }
  if (magnitude < 0x33000000u) return F16{static_cast<uint16_t>(sign)};  // below half the least subnormal
  const uint32_t shift = 126 - (magnitude >> 23);                        // 14 .. 24
  const uint32_t mantissa = (magnitude & 0x7fffffu) | 0x800000u;
  const uint32_t kept = mantissa >> shift;
  const uint32_t rest = mantissa & ((1u << shift) - 1u);
  const uint32_t half = 1u << (shift - 1);
  const uint32_t up = rest > half || (rest == half && (kept & 1u));
  return F16{static_cast<uint16_t>(sign | (kept + up))};
}

JAXSPARSE_ANYWHERE inline bool is_finite(float x) { return (bits_from_float(x) & 0x7f800000u) != 0x7f800000u; }
JAXSPARSE_ANYWHERE inline bool is_finite(double x) {
  uint64_t u;
  std::memcpy(&u, &x, sizeof u);
  return (u & 0x7ff0000000000000ull) != 0x7ff0000000000000ull;
}

// Calls f with a value of a storage type of that width, to size memory: of the half types F16, which
// has more bits to select by and never needs less.
template <class F>
int64_t by_itemsize(int64_t itemsize, F&& f) {
  switch (itemsize) {
    case 2:
      return f(F16{});
    case 4:
      return f(float{});
    case 8:
      return f(double{});
    default:
      throw std::invalid_argument("itemsize must be 2, 4 or 8");
  }
}

}  // namespace jaxsparse
