// Blocks onto images [batch, *shape, channels], in raster order of the blocks at every pixel whatever the threads do.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <vector>

#include "../core/dtype.h"
#include "../core/parallel.h"
#include "gather.h"
#include "tiling.h"

namespace jaxsparse::block {

// Calls f(row, r0, r1, begin, end, x) for every piece of a stored block on pixel row (o0, o1) of an image, blocks in
// raster order: pixels [begin, end) of the block's row (r0, r1), the first of them at x.
template <class F>
void for_each_piece(const Tiling& t, const int32_t* indices, const std::vector<int32_t>& first_of_line, int64_t batch,
                    int64_t o0, int64_t o1, F&& f) {
  const Axis *a = t.axis, &last = t.axis[2];
  const int64_t last0 = a[0].last_over(o0), first1 = a[1].first_over(o1), last1 = a[1].last_over(o1);
  for (int64_t i0 = a[0].first_over(o0); i0 <= last0; ++i0) {
    for (int64_t i1 = first1; i1 <= last1; ++i1) {
      const size_t line = static_cast<size_t>(line_of(t, {batch, {i0, i1, 0}}));
      for (int64_t row = first_of_line[line]; row < first_of_line[line + 1]; ++row) {
        const int64_t i2 = read_block(indices, row, t.dims).at[2], begin = last.begin(i2), end = last.end(i2);
        if (begin < end) f(row, o0 - a[0].start(i0), o1 - a[1].start(i1), begin, end, last.start(i2) + begin);
      }
    }
  }
}

// `begin(row, to, elements)` makes row `to` of `out`; then f(worker, row of pixels, function that calls its argument
// for every piece of that row).
template <class T, class Pool, class Begin, class F>
void for_each_row_begun(Pool& pool, const Tiling& t, const MoveSizes& n, const std::vector<int32_t>& first_of_line,
                        const int32_t* indices, T* out, Begin&& begin, F&& f) {
  const Axis* a = t.axis;
  const int64_t row_elements = a[2].shape * n.channels, rows = n.batch * a[0].shape * a[1].shape;
  const int64_t row_bytes = row_elements * static_cast<int64_t>(sizeof(T));
  parallel_for(pool, rows, grain_of(row_bytes), [&](int64_t row, int worker) {
    T* to = out + row * row_elements;
    begin(row, to, row_elements);
    const int64_t o1 = row % a[1].shape, o0 = row / a[1].shape % a[0].shape, batch = row / a[1].shape / a[0].shape;
    f(worker, to, [&](auto&& piece) { for_each_piece(t, indices, first_of_line, batch, o0, o1, piece); });
  });
}

// The same, and `out` starts as `base`, which may be the same memory.
template <class T, class Pool, class F>
void for_each_row(Pool& pool, const Tiling& t, const MoveSizes& n, const int32_t* indices, const T* base, T* out,
                  F&& f) {
  std::vector<int32_t> first_of_line;
  const int64_t stored = stored_blocks(t, n.batch, indices, n.capacity, &first_of_line);
  const bool in_place = out == base;
  if (stored == 0 && in_place) return;
  const auto copy = [&](int64_t row, T* to, int64_t elements) {
    if (!in_place) std::memcpy(to, base + row * elements, sizeof(T) * static_cast<size_t>(elements));
  };
  for_each_row_begun(pool, t, n, first_of_line, indices, out, copy, f);
}

// Puts pieces of blocks into a row of an image: what for_each_row calls.
template <class T>
auto putting(const Tiling& t, const MoveSizes& n, const T* blocks) {
  return [&t, &n, blocks](int, T* to, auto&& for_each_piece_of_row) {
    for_each_piece_of_row([&](int64_t row, int64_t r0, int64_t r1, int64_t begin, int64_t end, int64_t x) {
      const Run<const T> from = run_at(t, n, blocks, row, r0, r1, begin);
      T* image = to + x * n.channels;
      if (n.channels_first)
        for_each_element(n, image, from, end - begin, [](T& image, const T& block) { image = block; });
      else
        std::memcpy(image, from.block, sizeof(T) * static_cast<size_t>((end - begin) * n.channels));
    });
  };
}

// The later block wins. T is any type of the width of an element.
template <class T, class Pool>
void scatter(Pool& pool, const Tiling& t, const MoveSizes& n, const T* blocks, const int32_t* indices, const T* base,
             T* out) {
  for_each_row(pool, t, n, indices, base, out, putting(t, n, blocks));
}

// Onto a new image of one value. XLA makes such an image on small pages, whose faults take longer than the tiles.
template <class T, class Pool>
void scatter_new(Pool& pool, const Tiling& t, const MoveSizes& n, const T* blocks, const int32_t* indices, T value,
                 T* out) {
  std::vector<int32_t> first_of_line;
  stored_blocks(t, n.batch, indices, n.capacity, &first_of_line);
  prefer_huge_pages(out, n.batch * t.pixels() * n.channels * static_cast<int64_t>(sizeof(T)));
  const auto fill = [value](int64_t, T* to, int64_t elements) { std::fill(to, to + elements, value); };
  for_each_row_begun(pool, t, n, first_of_line, indices, out, fill, putting(t, n, blocks));
}

// What the blocks cover becomes 0: the gradient of the base under `scatter`.
template <class T, class Pool>
void erase(Pool& pool, const Tiling& t, const MoveSizes& n, const int32_t* indices, const T* base, T* out) {
  for_each_row(pool, t, n, indices, base, out, [&](int, T* to, auto&& for_each_piece_of_row) {
    for_each_piece_of_row([&](int64_t, int64_t, int64_t, int64_t begin, int64_t end, int64_t x) {
      std::memset(static_cast<void*>(to + x * n.channels), 0,
                  sizeof(T) * static_cast<size_t>((end - begin) * n.channels));
    });
  });
}

// A pixel is base + block + block + ... in the accumulator, rounded last.
template <class T, class Pool>
void scatter_add(Pool& pool, const Tiling& t, const MoveSizes& n, const T* blocks, const int32_t* indices,
                 const T* base, T* out) {
  using A = Accum<T>;
  const auto add = [&](auto* image, int64_t row, int64_t r0, int64_t r1, int64_t begin, int64_t end) {
    using Sum = std::remove_reference_t<decltype(*image)>;
    for_each_element(n, image, run_at(t, n, blocks, row, r0, r1, begin), end - begin,
                     [](Sum& sum, const T& term) { sum = from_accum<Sum>(to_accum(sum) + to_accum(term)); });
  };
  if (std::is_same_v<T, A> || !t.overlaps()) {
    for_each_row(pool, t, n, indices, base, out, [&](int, T* to, auto&& for_each_piece_of_row) {
      for_each_piece_of_row([&](int64_t row, int64_t r0, int64_t r1, int64_t begin, int64_t end, int64_t x) {
        add(to + x * n.channels, row, r0, r1, begin, end);
      });
    });
    return;
  }
  // Several terms for a pixel: a row of sums for each worker, of pixels that are touched.
  const int64_t shape = t.axis[2].shape;
  struct Scratch {
    std::vector<A> sums;
    std::vector<char> touched;
  };
  std::vector<Scratch> of_worker(kMaxWorkers);
  for_each_row(pool, t, n, indices, base, out, [&](int worker, T* to, auto&& for_each_piece_of_row) {
    Scratch& s = of_worker[static_cast<size_t>(worker)];
    s.sums.resize(static_cast<size_t>(shape * n.channels));
    s.touched.assign(static_cast<size_t>(shape), 0);
    bool any = false;
    for_each_piece_of_row([&](int64_t row, int64_t r0, int64_t r1, int64_t begin, int64_t end, int64_t x) {
      any = true;
      for (int64_t p = x; p < x + end - begin; ++p) {
        if (s.touched[static_cast<size_t>(p)]) continue;
        s.touched[static_cast<size_t>(p)] = 1;
        for (int64_t i = p * n.channels; i < (p + 1) * n.channels; ++i)
          s.sums[static_cast<size_t>(i)] = to_accum(to[i]);
      }
      add(s.sums.data() + x * n.channels, row, r0, r1, begin, end);
    });
    for (int64_t p = 0; any && p < shape; ++p)
      if (s.touched[static_cast<size_t>(p)])
        for (int64_t i = p * n.channels; i < (p + 1) * n.channels; ++i)
          to[i] = from_accum<T>(s.sums[static_cast<size_t>(i)]);
  });
}

}  // namespace jaxsparse::block
