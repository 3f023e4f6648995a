// Pooling windows that do not overlap: none is longer than its stride, so every voxel lies in one window at most.
//
// The windows of a contiguous range of outputs take a few contiguous ranges of keys, which are found by bisection. No
// tap is listed and nothing is sorted: a window may be as large as the volume.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <stdexcept>

#include "../core/keys.h"
#include "grid.h"

namespace jaxsparse {

class DisjointWindows {
 public:
  static bool fits(const ConvGeometry& g) {
    bool yes = true;
    for (int i = 0; i < g.dims; ++i) yes &= g.kernel[i] <= g.stride[i] && g.pad[i] == 0 && g.dilation[i] == 1;
    return yes;
  }

  explicit DisjointWindows(const ConvGeometry& geometry) : g_(geometry) {
    const int d = g_.dims;
    constexpr int64_t kKeyLimit = std::numeric_limits<int32_t>::max();
    for (int i = d - 1; i >= 0; --i) {
      if (g_.in[i] < 1 || g_.kernel[i] < 1 || g_.stride[i] < 1)
        throw std::invalid_argument("shapes, windows and strides must be at least 1");
      if (g_.in[i] > kKeyLimit) throw std::invalid_argument("a volume must have at most 2^31 - 1 voxels");
      const int64_t stride = std::min(g_.stride[i], g_.in[i]);  // longer ones leave one window, too
      if (g_.out[i] != (g_.in[i] + stride - 1) / stride)
        throw std::invalid_argument("the output of a pooling must have ceil(size / stride) voxels");
      in_div_[i] = FastDiv(g_.in[i]);
      stride_div_[i] = FastDiv(stride);
      g_.stride[i] = stride;
      g_.kernel[i] = std::min(g_.kernel[i], stride);
      in_unit_[i] = in_volume_;
      out_unit_[i] = out_volume_;
      in_volume_ = checked_product(in_volume_, g_.in[i]);
      out_volume_ = checked_product(out_volume_, g_.out[i]);
    }
    if (in_volume_ > kKeyLimit) throw std::invalid_argument("a volume must have at most 2^31 - 1 voxels");
    while (out_unit_[split_] > kTile) ++split_;
    rows_ = std::min(kTile / out_unit_[split_], g_.out[split_]);
  }

  int64_t in_volume() const { return in_volume_; }
  int64_t out_volume() const { return out_volume_; }
  // Outputs of the largest tile.
  int64_t tile_cells() const { return rows_ * out_unit_[split_]; }

  // For each tile, a contiguous range of outputs, ascending: calls visit(slot, cell) for its entries, keys ascending,
  // then, if there was one, close(key, cells); cell c is the output voxel key + c. `keys` are n stored entries.
  template <class Visit, class Close>
  void for_each_tile(const int32_t* keys, int64_t n, Visit&& visit, Close&& close) const {
    if (n == 0) return;
    int64_t at[kMaxDims] = {};  // output coordinates in front of the split
    do {
      int64_t first_key = 0;
      for (int i = 0; i < split_; ++i) first_key += at[i] * out_unit_[i];
      for (int64_t a = 0; a < g_.out[split_]; a += rows_) {
        const int64_t b = std::min(a + rows_, g_.out[split_]);
        if (visit_tile(keys, n, at, a, b, visit))
          close(static_cast<int32_t>(first_key + a * out_unit_[split_]), (b - a) * out_unit_[split_]);
      }
    } while (advance(at, g_.out));
  }

 private:
  static constexpr int64_t kTile = 1 << 16;

  // The next coordinates in front of the split, row-major; false behind the last.
  bool advance(int64_t* at, const int64_t* sizes) const {
    for (int i = split_ - 1; i >= 0; --i) {
      if (++at[i] < sizes[i]) return true;
      at[i] = 0;
    }
    return false;
  }

  // Rows [a, b) of the split dimension behind the output coordinates `at`.
  template <class Visit>
  bool visit_tile(const int32_t* keys, int64_t n, const int64_t* at, int64_t a, int64_t b, Visit&& visit) const {
    const int64_t begin = a * g_.stride[split_] * in_unit_[split_];
    const int64_t end = std::min((b - 1) * g_.stride[split_] + g_.kernel[split_], g_.in[split_]) * in_unit_[split_];
    int64_t sizes[kMaxDims], in[kMaxDims] = {};  // of the part of a window in front of the split
    for (int i = 0; i < split_; ++i) sizes[i] = std::min(g_.kernel[i], g_.in[i] - at[i] * g_.stride[i]);
    bool any = false;
    do {
      int64_t origin = 0;
      for (int i = 0; i < split_; ++i) origin += (at[i] * g_.stride[i] + in[i]) * in_unit_[i];
      const int32_t* key = std::lower_bound(keys, keys + n, origin + begin);
      for (; key < keys + n && *key < origin + end; ++key) {
        auto rest = static_cast<uint32_t>(*key - origin);
        int64_t cell = -a * out_unit_[split_];
        bool inside = true;
        for (int i = g_.dims - 1; i >= split_; --i) {
          const uint32_t q = i > split_ ? in_div_[i](rest) : 0;
          const auto coordinate = static_cast<uint32_t>(rest - q * static_cast<uint32_t>(g_.in[i]));
          const uint32_t window = stride_div_[i](coordinate);
          inside &= coordinate - window * static_cast<uint32_t>(g_.stride[i]) < static_cast<uint32_t>(g_.kernel[i]);
          cell += window * out_unit_[i];
          rest = q;
        }
        if (!inside) continue;
        visit(static_cast<int32_t>(key - keys), cell);
        any = true;
      }
    } while (advance(in, sizes));
    return any;
  }

  ConvGeometry g_;
  int64_t in_unit_[kMaxDims] = {}, out_unit_[kMaxDims] = {};
  int64_t in_volume_ = 1, out_volume_ = 1;
  int split_ = 0;     // a tile is some rows of this dimension, whole in the dimensions behind
  int64_t rows_ = 1;  // of a tile
  FastDiv in_div_[kMaxDims], stride_div_[kMaxDims];
};

}  // namespace jaxsparse
