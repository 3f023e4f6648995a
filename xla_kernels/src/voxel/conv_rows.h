// What the convolution and its kernel gradient share: sizes, weights and rows in the accumulator's type.
#pragma once

#include <algorithm>
#include <cstdint>
#include <stdexcept>
#include <type_traits>

#include "../core/arena.h"
#include "../core/dtype.h"
#include "../core/parallel.h"
#include "conv_lanes.h"
#include "conv_sizes.h"

namespace jaxsparse::voxel {

template <class A>
int64_t padded(int64_t columns) {
  return (columns + kPanel<A> - 1) / kPanel<A> * kPanel<A>;
}

// Numbers of a row of sums: every group padded to whole panels, unless nothing is multiplied as a matrix.
template <class A>
int64_t sums_pitch(const ConvSizes& n) {
  return n.depthwise() ? n.out_channels : n.groups * padded<A>(n.out_group());
}
// Whether a row of sums has the layout of a row of the result, so that it needs no memory of its own.
template <class A>
bool sums_in_place(const ConvSizes& n) {
  return sums_pitch<A>(n) == n.out_channels;
}
// Numbers from one group to the next in a row of sums.
template <class A>
int64_t group_pitch(const ConvSizes& n) {
  return n.depthwise() ? n.out_group() : padded<A>(n.out_group());
}

inline void widen(const float* from, float* to, int64_t n) { std::copy_n(from, n, to); }
inline void widen(const double* from, double* to, int64_t n) { std::copy_n(from, n, to); }
inline void widen(const BF16* from, float* to, int64_t n) {
  for (int64_t i = 0; i < n; ++i) to[i] = to_accum(from[i]);
}
inline void widen(const F16* from, float* to, int64_t n) { widen_f16(&from->bits, to, n); }

// Rows as the leaf loops want them: in the accumulator's type, and for groups of one channel each number as often as it
// has outputs.
template <class T>
class InputRows {
 public:
  using A = Accum<T>;

  explicit InputRows(const ConvSizes& n) : n_(n), repeat_(n.depthwise() ? n.out_group() : 1) {}
  bool in_place() const { return std::is_same_v<T, A> && repeat_ == 1; }
  int64_t pitch() const { return n_.in_channels * repeat_; }

  // Numbers of scratch for `rows` rows.
  int64_t room(int64_t rows) const { return in_place() ? 0 : rows * (pitch() + (repeat_ > 1 ? n_.in_channels : 0)); }

  // Makes the rows that `row` names available; row[i] becomes where in *x they are then.
  void gather(const T* features, int32_t* row, int64_t rows, A* scratch, const A** x) const {
    if constexpr (std::is_same_v<T, A>) {
      if (repeat_ == 1) {
        *x = features;
        return;
      }
    }
    A* wide = scratch + (repeat_ > 1 ? rows * pitch() : 0);
    for (int64_t i = 0; i < rows; ++i) {
      A* to = scratch + i * pitch();
      const T* from = features + row[i] * n_.in_channels;
      row[i] = static_cast<int32_t>(i);
      if (repeat_ == 1) {
        widen(from, to, n_.in_channels);
        continue;
      }
      widen(from, wide, n_.in_channels);
      for (int64_t c = 0; c < n_.in_channels; ++c)
        for (int64_t r = 0; r < repeat_; ++r) *to++ = wide[c];
    }
    *x = scratch;
  }

 private:
  ConvSizes n_;
  int64_t repeat_;
};

// The entries of a map for some rows, tap by tap.
struct PairList {
  int32_t* row;
  int32_t* at;
  int64_t n;

  static PairList take(Arena& arena, int64_t rows) {
    PairList list{};
    list.row = arena.take<int32_t>(rows + 16);
    list.at = arena.take<int32_t>(rows + 16);
    return list;
  }
  Pairs pairs() const { return {row, at, n}; }
};

}  // namespace jaxsparse::voxel
