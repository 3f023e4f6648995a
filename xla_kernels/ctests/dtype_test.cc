#include "core/dtype.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <vector>

namespace jaxsparse {
namespace {

// The plain meaning of an f16 bit pattern.
double f16_value(uint16_t bits) {
  const int exponent = (bits >> 10) & 31;
  const int mantissa = bits & 1023;
  const double sign = bits & 0x8000 ? -1.0 : 1.0;
  if (exponent == 31) return mantissa ? std::nan("") : sign * std::numeric_limits<double>::infinity();
  if (exponent == 0) return sign * std::ldexp(mantissa, -24);
  return sign * std::ldexp(1024 + mantissa, exponent - 25);
}

TEST(F16, EveryPatternWidensExactly) {
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    const float got = to_accum(F16{static_cast<uint16_t>(bits)});
    const double want = f16_value(static_cast<uint16_t>(bits));
    if (std::isnan(want)) {
      ASSERT_TRUE(std::isnan(got)) << bits;
    } else {
      ASSERT_EQ(static_cast<double>(got), want) << bits;
      ASSERT_EQ(std::signbit(got), (bits & 0x8000) != 0) << bits;
    }
  }
}

TEST(F16, EveryPatternSurvivesTheRoundTrip) {
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    const float wide = to_accum(F16{static_cast<uint16_t>(bits)});
    const uint16_t back = from_accum<F16>(wide).bits;
    if (std::isnan(wide)) {
      ASSERT_GT(back & 0x7fff, 0x7c00) << bits;
      ASSERT_EQ(back & 0x8000, static_cast<int>(bits & 0x8000)) << bits;
    } else {
      ASSERT_EQ(back, bits);
    }
  }
}

// Rounds by looking at both neighbours: nearest, ties to the even mantissa, past the last finite to inf.
uint16_t f16_nearest(float x) {
  const uint16_t sign = std::signbit(x) ? 0x8000 : 0;
  const double magnitude = std::abs(static_cast<double>(x));
  if (magnitude >= 65520.0) return static_cast<uint16_t>(sign | 0x7c00);
  uint16_t low = 0, high = 0x7bff;
  while (low < high) {  // the greatest pattern at or below x
    const auto middle = static_cast<uint16_t>((low + high + 1) / 2);
    if (f16_value(middle) <= magnitude) {
      low = middle;
    } else {
      high = static_cast<uint16_t>(middle - 1);
    }
  }
  if (low == 0x7bff) return static_cast<uint16_t>(sign | low);
  const double below = magnitude - f16_value(low);
  const double above = f16_value(static_cast<uint16_t>(low + 1)) - magnitude;
  if (above < below || (above == below && (low & 1))) ++low;
  return static_cast<uint16_t>(sign | low);
}

TEST(F16, RoundsToNearestEven) {
  std::mt19937 random(1);
  for (int i = 0; i < 300000; ++i) {
    // f16's range and a little on either side
    const uint32_t exponent = 100 + random() % 46;
    uint32_t mantissa = random() & 0x7fffff;
    if (i % 3 == 0) mantissa &= 0x7ff000;  // exact ties
    const float x = float_from_bits((random() & 0x80000000u) | (exponent << 23) | mantissa);
    ASSERT_EQ(from_accum<F16>(x).bits, f16_nearest(x)) << x;
  }
}

TEST(F16, NeighboursOfEveryTie) {
  for (uint32_t bits = 0; bits < 0x7bff; ++bits) {
    const auto tie =
        static_cast<float>((f16_value(static_cast<uint16_t>(bits)) + f16_value(static_cast<uint16_t>(bits + 1))) / 2);
    for (float x : {std::nextafterf(tie, 0.f), tie, std::nextafterf(tie, 1e9f)})
      ASSERT_EQ(from_accum<F16>(x).bits, f16_nearest(x)) << bits;
  }
  EXPECT_EQ(from_accum<F16>(65519.996f).bits, 0x7bff);
  EXPECT_EQ(from_accum<F16>(65520.f).bits, 0x7c00);
  EXPECT_EQ(from_accum<F16>(-std::numeric_limits<float>::infinity()).bits, 0xfc00);
}

TEST(BF16, EveryPatternSurvivesTheRoundTrip) {
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    const float wide = to_accum(BF16{static_cast<uint16_t>(bits)});
    const uint16_t back = from_accum<BF16>(wide).bits;
    if (std::isnan(wide)) {
      ASSERT_GT(back & 0x7fff, 0x7f80) << bits;
    } else {
      ASSERT_EQ(back, bits);
    }
  }
}

TEST(BF16, RoundsToNearestEven) {
  std::mt19937 random(2);
  for (int i = 0; i < 300000; ++i) {
    uint32_t bits = random();
    if (i % 3 == 0) bits = (bits & 0xffff0000u) | 0x8000u;
    const float x = float_from_bits(bits);
    const uint16_t got = from_accum<BF16>(x).bits;
    if (std::isnan(x)) {
      ASSERT_TRUE(std::isnan(to_accum(BF16{got})));
      continue;
    }
    const uint32_t low = bits >> 16, rest = bits & 0xffffu;
    const uint32_t want = low + (rest > 0x8000u || (rest == 0x8000u && (low & 1)) ? 1 : 0);
    ASSERT_EQ(got, want) << bits;
  }
  EXPECT_EQ(from_accum<BF16>(std::numeric_limits<float>::max()).bits, 0x7f80);
}

TEST(Dtype, FiniteMeansNeitherInfNorNaN) {
  const float inf = std::numeric_limits<float>::infinity();
  EXPECT_TRUE(is_finite(0.f) && is_finite(-1e-45f) && is_finite(std::numeric_limits<float>::max()));
  EXPECT_FALSE(is_finite(inf) || is_finite(-inf) || is_finite(std::nanf("")) || is_finite(-std::nanf("")));
  EXPECT_TRUE(is_finite(0.0) && is_finite(-5e-324) && is_finite(1e308));
  EXPECT_FALSE(is_finite(double{inf}) || is_finite(-double{inf}) || is_finite(std::nan("")));
}

}  // namespace
}  // namespace jaxsparse
