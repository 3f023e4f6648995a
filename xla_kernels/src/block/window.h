// The pixels of a mask under a block.
#pragma once

#include <cstdint>

#include "../core/dtype.h"
#include "tiling.h"

namespace jaxsparse::block {

enum class Pooled : int { kMax = 0, kMean = 1 };

// Masks may be bool, a byte each.
JAXSPARSE_ANYWHERE inline float pixel_value(uint8_t x) { return x != 0 ? 1.0f : 0.0f; }
template <class T>
JAXSPARSE_ANYWHERE Accum<T> pixel_value(T x) {
  return to_accum(x);
}

// The pixels of a window that lie in the image: rows of one length.
template <class T>
struct Window {
  const T* image;
  int64_t shape1, shape2;
  int64_t from[kMaxDims], count[kMaxDims];

  JAXSPARSE_ANYWHERE int64_t pixels() const { return count[0] * count[1] * count[2]; }
  JAXSPARSE_ANYWHERE const T& pixel(uint32_t i) const {
    const auto n1 = static_cast<uint32_t>(count[1]), n2 = static_cast<uint32_t>(count[2]);
    const uint32_t r = i / n2;
    return image[((from[0] + r / n1) * shape1 + from[1] + r % n1) * shape2 + from[2] + i % n2];
  }
  const T* row(int64_t r) const {
    return image + ((from[0] + r / count[1]) * shape1 + from[1] + r % count[1]) * shape2 + from[2];
  }
};

template <class T>
JAXSPARSE_ANYWHERE Window<T> window_of(const Tiling& t, const T* mask, const Block& b) {
  Window<T> out{mask + b.batch * t.pixels(), t.axis[1].shape, t.axis[2].shape, {}, {}};
  for (int i = 0; i < kMaxDims; ++i) {
    const Axis& a = t.axis[i];
    out.from[i] = a.start(b.at[i]) + a.begin(b.at[i]);
    out.count[i] = a.end(b.at[i]) - a.begin(b.at[i]);
  }
  return out;
}

}  // namespace jaxsparse::block
