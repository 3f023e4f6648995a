// The output sites of a convolution: those that some input site reaches. Separable: the list is dilated along one axis
// after the other, each time by merging a shifted copy for each tap.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>

#include "site_list.h"

namespace jaxsparse::voxel {

// `keys` of a box in which axis `a` has its input size, to those in which it has its output size. `inner` is the
// product of the sizes behind the axis.
inline std::vector<int64_t> dilate(const Axis& a, int64_t inner, const std::vector<int64_t>& keys) {
  const int64_t n = static_cast<int64_t>(keys.size());
  std::vector<int64_t> rest(keys.size()), at(keys.size());  // the key without the axis, and in_stride * i - offset
  for (int64_t j = 0; j < n; ++j) {
    const int64_t line = keys[j] / inner;
    const int64_t outer = line / a.in;
    rest[j] = outer * a.out * inner + (keys[j] - line * inner);
    at[j] = (line - outer * a.in) * a.in_stride - a.offset;
  }
  const int64_t taps = a.kernel;
  std::vector<int64_t> next(static_cast<size_t>(taps), 0), head(static_cast<size_t>(taps));
  const auto advance = [&](int64_t k) {
    int64_t j = next[k];
    for (; j < n; ++j) {
      const int64_t scaled = at[j] - k * a.step;
      if (scaled < 0) continue;
      const int64_t o = a.out_stride == 1 ? scaled : scaled / a.out_stride;
      if (o >= a.out || o * a.out_stride != scaled) continue;
      head[k] = rest[j] + o * inner;
      next[k] = j + 1;
      return;
    }
    head[k] = kNoKey;
    next[k] = n;
  };
  for (int64_t k = 0; k < taps; ++k) advance(k);
  std::vector<int64_t> found;
  found.reserve(keys.size());
  for (;;) {
    int64_t least = kNoKey;
    for (int64_t k = 0; k < taps; ++k) least = std::min(least, head[k]);
    if (least == kNoKey) return found;
    found.push_back(least);
    for (int64_t k = 0; k < taps; ++k)
      if (head[k] == least) advance(k);
  }
}

// coords [rows, 1 + dims] -> the output sites [capacity, 1 + dims], and how many there are.
template <class Pool>
void sites(Pool&, const Relation& r, int64_t batch, const int32_t* coords, int64_t rows, int64_t capacity,
           int32_t* out_coords, int32_t* count) {
  std::vector<int64_t> keys = stored_keys(in_box(r, batch), coords, rows);
  int64_t inner = 1;
  for (int a = r.dims - 1; a >= 0; --a) {
    keys = dilate(r.axis[a], inner, keys);
    inner *= r.axis[a].out;
  }
  const int64_t found = static_cast<int64_t>(keys.size());
  write_sites(out_box(r, batch), keys.data(), found, capacity, out_coords);
  *count = saturated(found);
}

}  // namespace jaxsparse::voxel
