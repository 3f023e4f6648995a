// Which input sites meet which output sites, tap by tap: along every axis, input i and output o are related at tap k
// iff
//
//   in_stride * i = out_stride * o + offset + k * step
//
// A convolution has in_stride 1, a transposed one out_stride 1. For one tap the relation is injective both ways, and
// rises: the larger i, the larger o.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <stdexcept>

namespace jaxsparse::voxel {

inline constexpr int kMaxDims = 4;
inline constexpr int64_t kMostSites = std::numeric_limits<int32_t>::max();

struct Axis {
  int64_t in = 1, out = 1, kernel = 1, in_stride = 1, out_stride = 1, offset = 0, step = 1;

  Axis reversed() const { return {out, in, kernel, out_stride, in_stride, -offset, -step}; }
};

struct Relation {
  int dims = 1;
  Axis axis[kMaxDims];

  Relation reversed() const {
    Relation r = *this;
    for (int a = 0; a < dims; ++a) r.axis[a] = axis[a].reversed();
    return r;
  }
  bool in_stride_is_one() const {
    bool one = true;
    for (int a = 0; a < dims; ++a) one &= axis[a].in_stride == 1;
    return one;
  }

  int64_t taps() const {
    int64_t n = 1;
    for (int a = 0; a < dims; ++a) n *= axis[a].kernel;
    return n;
  }
};

// Throws unless the numbers make sense and no sum of them overflows.
template <class List>
Relation make_relation(const List& in, const List& out, const List& kernel, const List& in_stride,
                       const List& out_stride, const List& offset, const List& step) {
  const size_t d = in.size();
  if (d < 1 || d > kMaxDims) throw std::invalid_argument("there must be 1 to 4 spatial dimensions");
  for (size_t n : {out.size(), kernel.size(), in_stride.size(), out_stride.size(), offset.size(), step.size()})
    if (n != d) throw std::invalid_argument("the geometry must fit the spatial dimensions");
  const auto within = [](int64_t n, int64_t least, int64_t most) {
    if (n < least || n > most) throw std::invalid_argument("sizes, strides, offsets or steps are out of range");
  };
  Relation r;
  r.dims = static_cast<int>(d);
  int64_t in_volume = 1, out_volume = 1, taps = 1;
  for (size_t a = 0; a < d; ++a) {
    for (int64_t n : {in[a], out[a], kernel[a], in_stride[a], out_stride[a]}) within(n, 1, kMostSites);
    within(offset[a], -(int64_t{1} << 61), int64_t{1} << 61);
    within(step[a], -kMostSites, kMostSites);
    within(in_volume *= in[a], 1, kMostSites);
    within(out_volume *= out[a], 1, kMostSites);
    within(taps *= kernel[a], 1, int64_t{1} << 24);
    r.axis[a] = {in[a], out[a], kernel[a], in_stride[a], out_stride[a], offset[a], step[a]};
  }
  if (!r.in_stride_is_one() && !r.reversed().in_stride_is_one())
    throw std::invalid_argument("all of in_stride or all of out_stride must be 1");
  return r;
}

}  // namespace jaxsparse::voxel
