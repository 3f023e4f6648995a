// Where the boxes of a list of blocks lie in images: box i of an image covers [offset + i * stride, + size) along every
// dimension. Offsets may be negative, boxes may overlap, leave holes, and reach beyond the image.
#pragma once

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <stdexcept>
#include <vector>

#include "../core/portable.h"

namespace jaxsparse::block {

inline constexpr int kMaxDims = 3;

// One dimension. Numbers stay below 2^32, so no product of two overflows.
struct Axis {
  int64_t shape = 1, size = 1, stride = 1, offset = 0, grid = 1;

  JAXSPARSE_ANYWHERE int64_t start(int64_t i) const { return offset + i * stride; }
  // The boxes [first, last] that cover pixel p; none if first > last.
  JAXSPARSE_ANYWHERE int64_t first_over(int64_t p) const {
    const int64_t behind = p - offset - size + 1;  // start(i) >= offset + behind
    return behind <= 0 ? 0 : (behind + stride - 1) / stride;
  }
  JAXSPARSE_ANYWHERE int64_t last_over(int64_t p) const {
    if (p < offset) return -1;
    const int64_t last = (p - offset) / stride;
    return last < grid ? last : grid - 1;
  }
  // The pixels [begin, end) of box i that lie in the image, counted from the box's first; begin == end: none do.
  JAXSPARSE_ANYWHERE int64_t begin(int64_t i) const {
    const int64_t before = -start(i);
    return before < 0 ? 0 : (before < size ? before : size);
  }
  JAXSPARSE_ANYWHERE int64_t end(int64_t i) const {
    const int64_t room = shape - start(i);
    const int64_t last = room < size ? room : size, first = begin(i);
    return last < first ? first : last;
  }
};

// Always three dimensions: missing ones, in front, have one pixel and one box.
struct Tiling {
  Axis axis[kMaxDims];
  int dims = kMaxDims;

  JAXSPARSE_ANYWHERE int64_t box_pixels() const { return axis[0].size * axis[1].size * axis[2].size; }
  JAXSPARSE_ANYWHERE int64_t pixels() const { return axis[0].shape * axis[1].shape * axis[2].shape; }
  JAXSPARSE_ANYWHERE int64_t boxes() const { return axis[0].grid * axis[1].grid * axis[2].grid; }
  JAXSPARSE_ANYWHERE bool overlaps() const {
    bool any = false;
    for (const Axis& a : axis) any |= a.grid > 1 && a.size > a.stride;
    return any;
  }
};

// Images [batch, *shape, channels], and lists [capacity] of blocks [*size, channels] or [channels, *size].
struct MoveSizes {
  int64_t batch, channels, capacity;
  bool channels_first;
};

// Throws `what` where the product exceeds `most`.
inline int64_t bounded_product(std::initializer_list<int64_t> sizes, int64_t most, const char* what) {
  int64_t product = 1;
  for (int64_t n : sizes)
    if (__builtin_mul_overflow(product, n, &product) || product > most) throw std::invalid_argument(what);
  return product;
}

// From lists of one number a dimension. Throws where they do not fit.
template <class List>
Tiling make_tiling(const List& shape, const List& size, const List& stride, const List& offset, const List& grid) {
  const size_t d = shape.size();
  if (d < 1 || d > kMaxDims) throw std::invalid_argument("there must be 1 to 3 spatial dimensions");
  if (size.size() != d || stride.size() != d || offset.size() != d || grid.size() != d)
    throw std::invalid_argument("size, stride, offset and grid must fit the spatial dimensions");
  constexpr int64_t kMost = (int64_t{1} << 31) - 1;
  Tiling t;
  t.dims = static_cast<int>(d);
  for (size_t i = 0; i < d; ++i) {
    const auto within = [](int64_t n, int64_t least) { return n >= least && n <= kMost; };
    if (!within(shape[i], 1) || !within(size[i], 1) || !within(stride[i], 1) || !within(offset[i], -kMost) ||
        !within(grid[i], 1))
      throw std::invalid_argument("shape, size, stride and grid must be 1 to 2^31 - 1, offsets of that magnitude");
    t.axis[kMaxDims - d + i] = {shape[i], size[i], stride[i], offset[i], grid[i]};
  }
  const Axis* a = t.axis;
  bounded_product({a[0].shape, a[1].shape, a[2].shape}, kMost, "an image must have at most 2^31 - 1 pixels");
  bounded_product({a[0].grid, a[1].grid, a[2].grid}, kMost, "an image must have at most 2^31 - 1 blocks");
  bounded_product({a[0].size, a[1].size, a[2].size}, kMost, "a block must have at most 2^31 - 1 pixels");
  return t;
}

// A row of a list: batch element and position in the grid.
struct Block {
  int64_t batch, at[kMaxDims];
};

inline Block read_block(const int32_t* indices, int64_t row, int dims) {
  const int32_t* from = indices + row * (dims + 1);
  Block out{from[0], {0, 0, 0}};
  for (int i = 0; i < dims; ++i) out.at[kMaxDims - dims + i] = from[1 + i];
  return out;
}

// Boxes that differ in the last dimension only form a line; this is its number.
JAXSPARSE_ANYWHERE inline int64_t line_of(const Tiling& t, const Block& b) {
  return (b.batch * t.axis[0].grid + b.at[0]) * t.axis[1].grid + b.at[1];
}

// The rows of a list that count: the longest prefix in strictly ascending raster order inside (batch, grid). Everything
// behind it is ignored, so no content of a list can lead out of bounds. `first_of_line[l]` is the first row at or
// behind line l; it has an entry more than there are lines.
inline int64_t stored_blocks(const Tiling& t, int64_t batch, const int32_t* indices, int64_t capacity,
                             std::vector<int32_t>* first_of_line = nullptr) {
  const int64_t lines = batch * t.axis[0].grid * t.axis[1].grid;
  if (first_of_line) first_of_line->resize(static_cast<size_t>(lines + 1));
  int64_t last = -1, next_line = 0, n = 0;
  for (; n < capacity; ++n) {
    const Block b = read_block(indices, n, t.dims);
    bool inside = b.batch >= 0 && b.batch < batch;
    for (int i = 0; i < kMaxDims; ++i) inside &= b.at[i] >= 0 && b.at[i] < t.axis[i].grid;
    if (!inside) break;
    const int64_t raster = line_of(t, b) * t.axis[2].grid + b.at[2];
    if (raster <= last) break;
    last = raster;
    if (first_of_line)
      for (; next_line <= line_of(t, b); ++next_line)
        (*first_of_line)[static_cast<size_t>(next_line)] = static_cast<int32_t>(n);
  }
  if (first_of_line)
    for (; next_line <= lines; ++next_line) (*first_of_line)[static_cast<size_t>(next_line)] = static_cast<int32_t>(n);
  return n;
}

// Work in pieces of about this many bytes.
inline constexpr int64_t kGrainBytes = int64_t{1} << 16;

inline int64_t grain_of(int64_t bytes_each) {
  return std::max<int64_t>(1, kGrainBytes / std::max<int64_t>(1, bytes_each));
}

}  // namespace jaxsparse::block
