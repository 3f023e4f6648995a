// Which blocks of a grid are active: the mask [batch, *shape] pooled over each window, against a threshold.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "../core/dtype.h"
#include "../core/fixed_sum.h"
#include "../core/parallel.h"
#include "../core/select.h"
#include "window.h"

namespace jaxsparse::block {

// NaN is the maximum.
template <class T>
Accum<T> maximum(const Window<T>& window) {
  using A = Accum<T>;
  A most = -std::numeric_limits<A>::infinity();
  for (int64_t r = 0; r < window.count[0] * window.count[1]; ++r) {
    const T* row = window.row(r);
    bool nan = false;
    for (int64_t x = 0; x < window.count[2]; ++x) {
      const A value = pixel_value(row[x]);
      most = value > most ? value : most;
      nan |= value != value;
    }
    if (nan) return std::numeric_limits<A>::quiet_NaN();
  }
  return most;
}

// The sum, in float64 and in the order of fixed_sum.h over the pixels in raster order, over how many they are.
template <class T>
Accum<T> mean(const Window<T>& window) {
  const int64_t pixels = window.pixels();
  double segment[kSumSegment], sum = 0;
  int64_t r = 0, x = 0;
  for (int64_t begin = 0; begin < pixels; begin += kSumSegment) {
    const int64_t n = std::min(kSumSegment, pixels - begin);
    for (int64_t filled = 0; filled < n;) {
      const int64_t some = std::min(n - filled, window.count[2] - x);
      const T* row = window.row(r) + x;
      for (int64_t i = 0; i < some; ++i) segment[filled + i] = static_cast<double>(pixel_value(row[i]));
      filled += some;
      x += some;
      if (x == window.count[2]) {
        ++r;
        x = 0;
      }
    }
    sum += segment_sum(0, n, [&](int64_t i) { return segment[i]; });
  }
  return static_cast<Accum<T>>(sum / static_cast<double>(pixels));
}

// The active blocks in raster order: indices [capacity, 1 + dims], unused rows (batch, 0, ...), and how many there are.
// Of too many the ones of the highest response stay (NaN above all; equal ones: the first). `number` and `response` are
// scratch memory for every block of the batch.
template <class T, class Pool>
void reduce_mask(Pool& pool, const Tiling& t, int64_t batch, int64_t capacity, const T* mask, const Accum<T>* threshold,
                 Pooled pooled, int32_t* indices, int32_t* count, int32_t* number, Accum<T>* response) {
  using A = Accum<T>;
  const int64_t blocks = batch * t.boxes();
  const auto block_of = [&](int64_t raster) {
    Block b{0, {}};
    for (int i = kMaxDims - 1; i >= 0; --i) {
      b.at[i] = raster % t.axis[i].grid;
      raster /= t.axis[i].grid;
    }
    b.batch = raster;
    return b;
  };
  parallel_for(pool, blocks, grain_of(4 * t.box_pixels()), [&](int64_t i, int) {
    const Window<T> window = window_of(t, mask, block_of(i));
    const bool empty = window.pixels() == 0;
    const A value = empty ? A{0} : pooled == Pooled::kMax ? maximum(window) : mean(window);
    response[i] = value;
    number[i] = !empty && (value > *threshold || value != value);
  });
  SubnormalGuard guard;
  Responses<A> active{number, response, nullptr, 0};
  for (int64_t i = 0; i < blocks; ++i) {
    const bool is_active = number[i] != 0;
    number[active.n] = static_cast<int32_t>(i);
    response[active.n] = response[i];
    active.n += is_active;
  }
  *count = static_cast<int32_t>(active.n);
  Responses<A> none{nullptr, nullptr, nullptr, 0};
  if (active.n > capacity) keep_strongest(active, none, capacity, Rule::kValue);
  const int64_t width = t.dims + 1;
  for (int64_t row = 0; row < capacity; ++row) {
    int32_t* to = indices + row * width;
    std::fill(to, to + width, 0);
    to[0] = static_cast<int32_t>(batch);
    if (row >= active.n) continue;
    const Block b = block_of(active.key[row]);
    to[0] = static_cast<int32_t>(b.batch);
    for (int i = 0; i < t.dims; ++i) to[1 + i] = static_cast<int32_t>(b.at[kMaxDims - t.dims + i]);
  }
}

}  // namespace jaxsparse::block
