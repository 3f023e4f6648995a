// The geometry of a direct convolution, reduced to shifts on one line.
//
// Strides split the input voxels into residue classes; within a class a strided, dilated convolution is
// a stride-1 convolution on the quotient coordinates q. Coordinates are linearised over a grid that is
// padded by the largest tap offset, so a tap is one constant shift of the linear position and whatever
// leaves the volume lands in a padding cell: no border test inside a loop, in any dimension.
//
//   input i, tap k:  i + pad = q * stride + residue,  k * dilation = t * stride + residue,  output o = q - t
//   cell(o) = cell(q) - offset(t)
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <numeric>
#include <stdexcept>
#include <vector>

#include "../core/keys.h"

namespace jaxsparse {

inline constexpr int kMaxDims = 4;

struct ConvGeometry {
  int dims = 0;
  int64_t in[kMaxDims] = {}, out[kMaxDims] = {}, kernel[kMaxDims] = {};
  int64_t stride[kMaxDims] = {}, pad[kMaxDims] = {}, dilation[kMaxDims] = {};
};

// Of d axes from lists: `kernel` may have more than d numbers, `padding` has two for each axis. Throws where they do
// not fit.
template <class List, class Kernel>
ConvGeometry make_geometry(const List& in, const List& out, const Kernel& kernel, const List& strides,
                           const List& padding, const List& dilation) {
  const size_t d = in.size();
  if (d < 1 || d > kMaxDims) throw std::invalid_argument("there must be 1 to 4 spatial dimensions");
  if (out.size() != d || kernel.size() < d || strides.size() != d || padding.size() != 2 * d || dilation.size() != d)
    throw std::invalid_argument("out_shape, kernel, strides, padding and dilation must fit spatial_shape");
  ConvGeometry g;
  g.dims = static_cast<int>(d);
  for (size_t i = 0; i < d; ++i) {
    g.in[i] = in[i];
    g.out[i] = out[i];
    g.kernel[i] = kernel[i];
    g.stride[i] = strides[i];
    g.pad[i] = padding[2 * i];
    g.dilation[i] = dilation[i];
  }
  return g;
}

struct Tap {
  int64_t offset;  // cells
  int32_t residue_class;
};

inline int64_t checked_product(int64_t a, int64_t b) {
  int64_t r;
  if (__builtin_mul_overflow(a, b, &r) || r > (int64_t{1} << 60))
    throw std::invalid_argument("the padded volume of this convolution is too large to index");
  return r;
}

class ConvGrid {
 public:
  ConvGrid() = default;
  explicit ConvGrid(const ConvGeometry& geometry) : g_(geometry) {
    check_sizes();
    const int d = g_.dims;
    in_volume_ = out_volume_ = total_ = 1;
    for (int i = d - 1; i >= 0; --i) {
      const int64_t reach = checked_product(g_.kernel[i] - 1, g_.dilation[i]) / g_.stride[i];
      extent_[i] = g_.out[i] + reach;
      unit_[i] = total_;
      out_unit_[i] = out_volume_;
      total_ = checked_product(total_, extent_[i]);
      in_volume_ = checked_product(in_volume_, g_.in[i]);
      out_volume_ = checked_product(out_volume_, g_.out[i]);
      max_offset_ += reach * unit_[i];
    }
    if (in_volume_ > kKeyLimit || out_volume_ > kKeyLimit)
      throw std::invalid_argument("a volume must have at most 2^31 - 1 voxels");
    find_residues();
    list_taps();
    identity_ = true;
    for (int i = 0; i < d; ++i) identity_ &= g_.stride[i] == 1 && g_.pad[i] >= 0 && g_.in[i] + g_.pad[i] <= extent_[i];
    for (int i = 0; i < d; ++i) {
      in_div_[i] = FastDiv(g_.in[i]);
      out_div_[i] = FastDiv(g_.out[i]);
    }
    // About one row a bucket, so that the table is of the order of r^(d-1).
    int64_t bucket = 64;
    while (d == 1 ? bucket * bucket < total_ : bucket < extent_[d - 1]) bucket *= 2;
    while ((int64_t{1} << bucket_shift_) < bucket) ++bucket_shift_;
    buckets_ = (total_ >> bucket_shift_) + 2;
  }

  const ConvGeometry& geometry() const { return g_; }
  int dims() const { return g_.dims; }
  int64_t in_volume() const { return in_volume_; }
  int64_t out_volume() const { return out_volume_; }
  int64_t cells() const { return total_; }
  int64_t max_offset() const { return max_offset_; }
  int64_t row_cells() const { return extent_[g_.dims - 1]; }
  int classes() const { return classes_; }
  const std::vector<Tap>& taps() const { return taps_; }
  // Every input voxel has exactly one position and positions follow the order of the keys.
  bool identity() const { return identity_; }
  int bucket_shift() const { return bucket_shift_; }
  int64_t buckets() const { return buckets_; }

  // The linear position of an input voxel when identity().
  int64_t identity_cell(int32_t key) const {
    uint32_t rest = static_cast<uint32_t>(key);
    int64_t cell = 0;
    for (int i = g_.dims - 1; i > 0; --i) {
      const uint32_t q = in_div_[i](rest);
      cell += (rest - int64_t{q} * g_.in[i] + g_.pad[i]) * unit_[i];
      rest = q;
    }
    return cell + (rest + g_.pad[0]) * unit_[0];
  }

  // The residue class and position of an input voxel; class -1 if no tap takes it anywhere.
  int input_cell(int32_t key, int64_t* cell) const {
    uint32_t rest = static_cast<uint32_t>(key);
    int cls = 0, factor = 1;
    int64_t at = 0;
    for (int i = g_.dims - 1; i >= 0; --i) {
      const uint32_t q = i ? in_div_[i](rest) : 0;
      const int64_t padded = int64_t{rest} - int64_t{q} * g_.in[i] + g_.pad[i];
      rest = q;
      if (padded < 0) return -1;
      const int64_t quotient = g_.stride[i] == 1 ? padded : padded / g_.stride[i];
      if (quotient >= extent_[i]) return -1;
      const int64_t residue = padded - quotient * g_.stride[i];
      const auto& list = residues_[i];
      const auto found = std::find(list.begin(), list.end(), residue);
      if (found == list.end()) return -1;
      cls += factor * static_cast<int>(found - list.begin());
      factor *= static_cast<int>(list.size());
      at += quotient * unit_[i];
    }
    *cell = at;
    return cls;
  }

  // The cell of an output voxel.
  int64_t output_cell(int32_t key) const {
    uint32_t rest = static_cast<uint32_t>(key);
    int64_t cell = 0;
    for (int i = g_.dims - 1; i > 0; --i) {
      const uint32_t q = out_div_[i](rest);
      cell += (rest - int64_t{q} * g_.out[i]) * unit_[i];
      rest = q;
    }
    return cell + rest * unit_[0];
  }

  // Calls visit(begin, end, key) for each run of valid output cells within [begin, end); cell begin is
  // the voxel `key`, the next one key + 1, and so on.
  template <class Visit>
  void for_each_run(int64_t begin, int64_t end, Visit&& visit) const {
    const int last = g_.dims - 1;
    int64_t row = begin / extent_[last];
    int64_t coordinate[kMaxDims] = {};
    int64_t rest = row;
    for (int i = last - 1; i >= 0; --i) {
      coordinate[i] = rest % extent_[i];
      rest /= extent_[i];
    }
    for (; row * extent_[last] < end; ++row) {
      bool valid = true;
      int64_t key = 0;
      for (int i = 0; i < last; ++i) {
        valid &= coordinate[i] < g_.out[i];
        key += coordinate[i] * out_unit_[i];
      }
      if (valid) {
        const int64_t origin = row * extent_[last];
        const int64_t a = std::max(begin, origin), b = std::min(end, origin + g_.out[last]);
        if (a < b) visit(a, b, static_cast<int32_t>(key + (a - origin)));
      }
      for (int i = last - 1; i >= 0; --i) {
        if (++coordinate[i] < extent_[i]) break;
        coordinate[i] = 0;
      }
    }
  }

 private:
  static constexpr int64_t kKeyLimit = std::numeric_limits<int32_t>::max();
  static constexpr int64_t kLargest = int64_t{1} << 60;

  void check_sizes() const {
    int64_t taps = 1;
    for (int i = 0; i < g_.dims; ++i) {
      if (g_.in[i] < 1 || g_.out[i] < 1 || g_.kernel[i] < 1 || g_.stride[i] < 1 || g_.dilation[i] < 1)
        throw std::invalid_argument("shapes, strides and dilations must be at least 1");
      if (g_.in[i] > kKeyLimit || g_.out[i] > kKeyLimit)
        throw std::invalid_argument("a volume must have at most 2^31 - 1 voxels");
      if (g_.pad[i] < -kLargest || g_.pad[i] > kLargest) throw std::invalid_argument("a padding is out of range");
      taps = checked_product(taps, g_.kernel[i]);
    }
    if (taps > (1 << 24)) throw std::invalid_argument("a kernel must have at most 2^24 taps");
  }
  // The residues of taps 0, 1, 2 ... repeat after stride / gcd(stride, dilation).
  void find_residues() {
    classes_ = 1;
    for (int i = 0; i < g_.dims; ++i) {
      const int64_t period = g_.stride[i] / std::gcd(g_.stride[i], g_.dilation[i]);
      for (int64_t k = 0; k < std::min(g_.kernel[i], period); ++k)
        residues_[i].push_back(k * g_.dilation[i] % g_.stride[i]);
      if (checked_product(classes_, static_cast<int64_t>(residues_[i].size())) > (1 << 20))
        throw std::invalid_argument("this convolution has more than 2^20 stride classes");
      classes_ *= static_cast<int>(residues_[i].size());
    }
  }
  void list_taps() {
    int64_t count = 1;
    for (int i = 0; i < g_.dims; ++i) count *= g_.kernel[i];
    taps_.reserve(static_cast<size_t>(count));
    for (int64_t n = 0; n < count; ++n) {
      Tap tap{0, 0};
      int64_t rest = n;
      int factor = 1;
      for (int i = g_.dims - 1; i >= 0; --i) {
        const int64_t k = rest % g_.kernel[i], at = k * g_.dilation[i];
        rest /= g_.kernel[i];
        const auto residues = static_cast<int64_t>(residues_[i].size());
        tap.residue_class += factor * static_cast<int>(k % residues);
        factor *= static_cast<int>(residues);
        tap.offset += (at / g_.stride[i]) * unit_[i];
      }
      taps_.push_back(tap);
    }
  }

  ConvGeometry g_;
  int64_t extent_[kMaxDims] = {}, unit_[kMaxDims] = {}, out_unit_[kMaxDims] = {};
  int64_t in_volume_ = 0, out_volume_ = 0, total_ = 0, max_offset_ = 0;
  int classes_ = 1;
  std::vector<int64_t> residues_[kMaxDims];
  std::vector<Tap> taps_;
  bool identity_ = false;
  FastDiv in_div_[kMaxDims], out_div_[kMaxDims];
  int bucket_shift_ = 0;
  int64_t buckets_ = 0;
};

}  // namespace jaxsparse
