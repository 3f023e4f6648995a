// A sliding window over the cotangents of one block of output channels.
//
// Backward, an entry at cell p meets the outputs at p - offset(tap). Walking the cells upwards, the stored
// outputs are spread into a ring of cells that reaches back by the largest offset and are wiped when they
// leave it: memory of the order of r^(d-1), work of the order of the stored entries.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "../core/arena.h"
#include "../core/dtype.h"
#include "../core/pages.h"
#include "grid.h"
#include "lanes.h"

namespace jaxsparse {

// The output lists of one batch element: keys and cotangents [channels][capacity].
template <class T>
struct OutputLists {
  const int32_t* keys;
  const T* values;
  const int32_t* stored;  // [channels]
  int64_t capacity;
};

inline int64_t window_tile(const ConvGrid& grid) { return std::min<int64_t>(8192, (grid.cells() + 63) / 64 * 64); }

inline int64_t window_ring(const ConvGrid& grid) {
  return (grid.max_offset() + window_tile(grid) + 128 + 63) / 64 * 64;
}

template <class T>
class GradWindow {
  using A = Accum<T>;

 public:
  // `lanes` is the largest block that will be walked.
  void take(Arena& arena, const ConvGrid& grid, int lanes) {
    tile_ = window_tile(grid);
    ring_ = window_ring(grid);
    cells_ = arena.take<A>((ring_ + tile_) * lanes);
    present_ = arena.take<uint16_t>(ring_ + tile_);
    bits_ = arena.take<uint64_t>(ring_ / 64);
    lanes_ = lanes;
  }
  void prepare() {
    prefer_huge_pages(cells_, (ring_ + tile_) * lanes_ * static_cast<int64_t>(sizeof(A)));
    std::memset(cells_, 0, sizeof(A) * static_cast<size_t>((ring_ + tile_) * lanes_));
    std::memset(present_, 0, sizeof(uint16_t) * static_cast<size_t>(ring_ + tile_));
    std::memset(bits_, 0, sizeof(uint64_t) * static_cast<size_t>(ring_ / 64));
  }

  // Begins at input cell `begin` with channels [first, first + channels).
  void start(const ConvGrid& grid, const OutputLists<T>& out, int64_t first, int64_t channels, int lanes,
             int64_t begin) {
    grid_ = &grid;
    out_ = out;
    first_ = first;
    channels_ = channels;
    lanes_ = lanes;
    // Shifted by a whole number of rings so that window cells are never negative.
    shift_ = (grid.max_offset() / ring_ + 1) * ring_;
    wiped_ = (begin - grid.max_offset() + shift_) / 64 * 64;
    origin_ = wiped_ / ring_ * ring_;
    for (int64_t l = 0; l < channels; ++l) {
      const int32_t* keys = out.keys + (first + l) * out.capacity;
      const int32_t* end = keys + out.stored[first + l];
      next_[l] = std::lower_bound(keys, end, begin - grid.max_offset(),
                                  [&](int32_t key, int64_t cell) { return grid.output_cell(key) < cell; }) -
                 keys;
    }
  }

  // Brings in every output below cell `end`, after which inputs in [end - tile, end) can be served.
  void advance(int64_t end, bool exact) {
    const int64_t keep_from = (end - tile_ - grid_->max_offset() + shift_) / 64 * 64;
    while (wiped_ < keep_from) wipe_word();
    for (int64_t l = 0; l < channels_; ++l) {
      const int32_t* keys = out_.keys + (first_ + l) * out_.capacity;
      const T* values = out_.values + (first_ + l) * out_.capacity;
      const int64_t n = out_.stored[first_ + l];
      int64_t i = next_[l];
      for (; i < n; ++i) {
        const int64_t cell = grid_->output_cell(keys[i]);
        if (cell >= end) break;
        const int64_t at = index(cell + shift_);
        const A value = to_accum(values[i]);
        bits_[at >> 6] |= uint64_t{1} << (at & 63);
        cells_[at * lanes_ + l] = value;
        if (at < tile_) cells_[(at + ring_) * lanes_ + l] = value;
        if (exact) {
          present_[at] |= static_cast<uint16_t>(1u << l);
          if (at < tile_) present_[at + ring_] = present_[at];
        }
      }
      next_[l] = i;
    }
  }

  // Window cell that input cell `begin` meets under a tap offset; the next tile() cells follow it.
  int64_t base(int64_t begin, int64_t offset) const { return index(begin - offset + shift_); }
  const A* cells() const { return cells_; }
  const uint16_t* present() const { return present_; }
  int64_t tile() const { return tile_; }

  void finish() {
    const int64_t end = wiped_ + ring_;
    while (wiped_ < end) wipe_word();
  }

 private:
  int64_t index(int64_t cell) const {
    int64_t at = cell - origin_;
    if (at >= ring_) at -= ring_;
    return at;
  }
  void wipe_word() {
    const int64_t at = wiped_ - origin_;
    for (uint64_t w = bits_[at >> 6]; w; w &= w - 1) {
      const int64_t c = at + __builtin_ctzll(w);
      wipe_cell(c);
      if (c < tile_) wipe_cell(c + ring_);
    }
    bits_[at >> 6] = 0;
    wiped_ += 64;
    if (wiped_ - origin_ >= ring_) origin_ += ring_;
  }
  void wipe_cell(int64_t c) {
    std::memset(cells_ + c * lanes_, 0, sizeof(A) * static_cast<size_t>(lanes_));
    present_[c] = 0;
  }

  A* cells_ = nullptr;
  uint16_t* present_ = nullptr;
  uint64_t* bits_ = nullptr;
  int64_t ring_ = 0, tile_ = 0;
  const ConvGrid* grid_ = nullptr;
  OutputLists<T> out_{};
  int64_t first_ = 0, channels_ = 0;
  int lanes_ = 8;
  int64_t shift_ = 0, wiped_ = 0, origin_ = 0;
  int64_t next_[kMaxLanes] = {};
};

// How many ranges of input cells a batch element is cut into: a function of the shapes alone, because
// sums over entries are grouped by it.
inline int64_t grad_chunks(const ConvGrid& grid) {
  return std::clamp<int64_t>(grid.cells() / (8 * grid.max_offset() + 65536), 1, kMaxWorkers);
}

// Workers whose windows fit in 40 MiB: at very large volumes fewer threads work on a gradient.
inline int64_t window_workers(int64_t bytes_each) {
  return std::clamp<int64_t>((int64_t{40} << 20) / std::max<int64_t>(1, bytes_each), 1, kMaxWorkers);
}

// Whether every stored number of a list is finite.
template <class T>
bool all_finite(const T* values, int64_t n) {
  bool finite = true;
  for (int64_t i = 0; i < n; ++i) finite &= is_finite(to_accum(values[i]));
  return finite;
}

}  // namespace jaxsparse
