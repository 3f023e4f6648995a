// Division by a number that is known at the launch.
#pragma once

#include "../core/keys.h"
#include "../core/portable.h"

namespace jaxsparse::cuda {

// Of numbers below 2^31 by a multiplication, of larger ones by a division: which it is, is the same for whole warps but
// one.
struct Divisor {
  int64_t by = 1;
  FastDiv fast;

  Divisor() = default;
  // At least 1.
  explicit Divisor(int64_t n) : by(n), fast(n >> 31 ? 1 : n) {}

  JAXSPARSE_ANYWHERE int64_t quotient(int64_t n) const {
    if (n >> 31) return n / by;
    return by >> 31 ? 0 : fast(static_cast<uint32_t>(n));
  }
  // n becomes the quotient; returns the remainder.
  JAXSPARSE_ANYWHERE int64_t divide(int64_t& n) const {
    const int64_t all = n;
    n = quotient(all);
    return all - n * by;
  }
};

}  // namespace jaxsparse::cuda
