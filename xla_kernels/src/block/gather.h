// Boxes of images [batch, *shape, channels] into blocks [capacity, *size, channels] or [capacity, channels, *size].
#pragma once

#include <cstdint>
#include <cstring>
#include <vector>

#include "../core/pages.h"
#include "../core/parallel.h"
#include "tiling.h"

namespace jaxsparse::block {

// A run of pixels along the last dimension, in an image and in a block. T is any type of the width of an element.
template <class T>
struct Run {
  T* block;         // the first pixel of the run (channels first: of channel 0)
  int64_t channel;  // from one channel to the next in the block, if they come first
};

// Pixel `x` of row (r0, r1) of block `row`.
template <class T>
Run<T> run_at(const Tiling& t, const MoveSizes& n, T* blocks, int64_t row, int64_t r0, int64_t r1, int64_t x) {
  const int64_t pixel = (r0 * t.axis[1].size + r1) * t.axis[2].size + x, pixels = t.box_pixels();
  if (n.channels_first) return {blocks + row * n.channels * pixels + pixel, pixels};
  return {blocks + (row * pixels + pixel) * n.channels, 0};
}

// Channels whose places in a block are written together: a cache line of the image each.
inline constexpr int64_t kTogether = 16;

// f(image element, block element) for `count` pixels of a run.
template <class Image, class T, class F>
void for_each_element(const MoveSizes& n, Image* image, const Run<T>& run, int64_t count, F&& f) {
  if (!n.channels_first) {
    for (int64_t i = 0; i < count * n.channels; ++i) f(image[i], run.block[i]);
    return;
  }
  for (int64_t c0 = 0; c0 < n.channels; c0 += kTogether) {
    const int64_t c1 = std::min(c0 + kTogether, n.channels);
    for (int64_t x = 0; x < count; ++x)
      for (int64_t c = c0; c < c1; ++c) f(image[x * n.channels + c], run.block[c * run.channel + x]);
  }
}

template <class T>
void clear_run(const MoveSizes& n, const Run<T>& run, int64_t count) {
  if (count <= 0) return;
  const int64_t pieces = n.channels_first ? n.channels : 1, each = n.channels_first ? count : count * n.channels;
  for (int64_t c = 0; c < pieces; ++c)
    std::memset(static_cast<void*>(run.block + c * run.channel), 0, sizeof(T) * static_cast<size_t>(each));
}

// Pixels of row (r0, r1) of block `row` that a later block covers, too, are set to 0.
template <class T>
void clear_hidden(const Tiling& t, const MoveSizes& n, const int32_t* indices,
                  const std::vector<int32_t>& first_of_line, int64_t row, const Block& b, int64_t r0, int64_t r1,
                  T* blocks) {
  const Axis *a = t.axis, &last = t.axis[2];
  const int64_t o0 = a[0].start(b.at[0]) + r0, o1 = a[1].start(b.at[1]) + r1, begin = last.start(b.at[2]);
  for (int64_t i0 = std::max(b.at[0], a[0].first_over(o0)); i0 <= a[0].last_over(o0); ++i0) {
    for (int64_t i1 = i0 == b.at[0] ? b.at[1] : a[1].first_over(o1); i1 <= a[1].last_over(o1); ++i1) {
      const size_t line = static_cast<size_t>(line_of(t, {b.batch, {i0, i1, 0}}));
      const bool own = i0 == b.at[0] && i1 == b.at[1];
      for (int64_t other = own ? row + 1 : first_of_line[line]; other < first_of_line[line + 1]; ++other) {
        const int64_t start = last.start(read_block(indices, other, t.dims).at[2]);
        if (start >= begin + last.size) break;  // ascending
        const int64_t from = std::max(start, begin), to = std::min(start, begin) + last.size;
        clear_run(n, run_at(t, n, blocks, row, r0, r1, from - begin), to - from);
      }
    }
  }
}

// Pixels outside the image are 0, and so are rows of the list that do not count. `shown`: pixels that a later block
// covers are 0, too: the adjoint of scattering blocks of which the later one wins.
template <class T, class Pool>
void gather(Pool& pool, const Tiling& t, const MoveSizes& n, const T* x, const int32_t* indices, bool shown,
            T* blocks) {
  std::vector<int32_t> first_of_line;
  shown = shown && t.overlaps();
  const int64_t stored = stored_blocks(t, n.batch, indices, n.capacity, shown ? &first_of_line : nullptr);
  prefer_huge_pages(blocks, n.capacity * t.box_pixels() * n.channels * static_cast<int64_t>(sizeof(T)));
  const Axis* a = t.axis;
  const int64_t rows = a[0].size * a[1].size, row_bytes = a[2].size * n.channels * static_cast<int64_t>(sizeof(T));

  parallel_for(pool, stored, grain_of(rows * row_bytes), [&](int64_t row, int) {
    const Block b = read_block(indices, row, t.dims);
    const int64_t begin = a[2].begin(b.at[2]), end = a[2].end(b.at[2]);
    for (int64_t r0 = 0; r0 < a[0].size; ++r0) {
      for (int64_t r1 = 0; r1 < a[1].size; ++r1) {
        const int64_t o0 = a[0].start(b.at[0]) + r0, o1 = a[1].start(b.at[1]) + r1;
        const bool inside = o0 >= 0 && o0 < a[0].shape && o1 >= 0 && o1 < a[1].shape && begin < end;
        if (!inside) {
          clear_run(n, run_at(t, n, blocks, row, r0, r1, 0), a[2].size);
          continue;
        }
        clear_run(n, run_at(t, n, blocks, row, r0, r1, 0), begin);
        clear_run(n, run_at(t, n, blocks, row, r0, r1, end), a[2].size - end);
        const int64_t pixel = ((b.batch * a[0].shape + o0) * a[1].shape + o1) * a[2].shape + a[2].start(b.at[2]);
        const T* from = x + (pixel + begin) * n.channels;
        const Run<T> to = run_at(t, n, blocks, row, r0, r1, begin);
        if (n.channels_first)
          for_each_element(n, from, to, end - begin, [](const T& image, T& block) { block = image; });
        else
          std::memcpy(to.block, from, sizeof(T) * static_cast<size_t>((end - begin) * n.channels));
        if (shown) clear_hidden(t, n, indices, first_of_line, row, b, r0, r1, blocks);
      }
    }
  });

  const int64_t each = rows * a[2].size * n.channels;
  parallel_for(pool, n.capacity - stored, grain_of(rows * row_bytes), [&](int64_t row, int) {
    std::memset(static_cast<void*>(blocks + (stored + row) * each), 0, sizeof(T) * static_cast<size_t>(each));
  });
}

}  // namespace jaxsparse::block
