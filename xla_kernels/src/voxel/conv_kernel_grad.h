// The kernel's gradient of a convolution over a kernel map: for each tap the sum over its pairs, in the order of the
// output rows, of the outer product of an input row and a cotangent row.
//
// Output rows are cut into blocks. A block's sum starts at 0 and is one chain of fused multiply-adds. The blocks of a
// segment are added in order, then the segments. Blocks and segments follow from the shapes alone, so no result depends
// on the number of threads.
#pragma once

#include "conv_rows.h"

namespace jaxsparse::voxel {

inline int64_t grad_block_rows(const ConvSizes& n) { return n.in_channels + n.out_channels <= 96 ? 128 : 64; }

// How the work is shared out: `segments` stretches of output rows, each with sums of its own, times `parts` of the
// taps.
struct GradShares {
  static constexpr int64_t kMostBytes = int64_t{32} << 20;
  static constexpr int64_t kLeastRows = 1024;

  int64_t segments;
  int64_t rows;  // of a segment
  int64_t parts;
  int64_t taps;  // of a part

  GradShares(const ConvSizes& n, int64_t bytes) {
    const int64_t fit = kMostBytes / std::max<int64_t>(bytes, 1);
    segments = std::clamp<int64_t>(std::min(fit, n.out_rows / kLeastRows), 1, kMaxWorkers);
    const int64_t block = grad_block_rows(n);
    rows = std::max<int64_t>(block, ((n.out_rows + segments - 1) / segments + block - 1) / block * block);
    parts = std::min<int64_t>(n.taps, (kMaxWorkers + segments - 1) / segments);
    taps = (n.taps + parts - 1) / parts;
  }
};

template <class T>
struct GradScratch {
  using A = Accum<T>;
  struct Worker {
    PairList list;
    A* rows;
    A* cotangent;
  };
  explicit GradScratch(const GradShares& s) : shares(s) {}

  GradShares shares;
  A* sums = nullptr;  // [segments][taps][in_group][pitch]
  Worker worker[kMaxWorkers];
  int64_t bytes = 0;
};

template <class T>
GradScratch<T> lay_out_kernel_grad(const ConvSizes& n, void* workspace) {
  using A = Accum<T>;
  Arena arena(workspace);
  const int64_t size = n.taps * n.in_group() * sums_pitch<A>(n);
  GradScratch<T> s(GradShares(n, size * static_cast<int64_t>(sizeof(A))));
  const bool alone = s.shares.segments == 1 && sums_in_place<A>(n);
  s.sums = arena.take<A>(alone ? 0 : s.shares.segments * size);
  const int64_t rows = grad_block_rows(n);
  const InputRows<T> inputs(n);
  for (auto& worker : s.worker) {
    worker.list = PairList::take(arena, rows);
    worker.rows = arena.take<A>(inputs.room(rows));
    worker.cotangent = arena.take<A>(std::is_same_v<T, A> && sums_in_place<A>(n) ? 0 : rows * sums_pitch<A>(n));
  }
  s.bytes = arena.bytes();
  return s;
}

template <class T>
int64_t kernel_grad_bytes(T, const ConvSizes& n) {
  return lay_out_kernel_grad<T>(n, nullptr).bytes;
}

// Rows of the cotangent in the accumulator's type, each group padded with zeros to whole panels.
template <class T>
void widen_cotangent(const ConvSizes& n, const T* from, int64_t rows, Accum<T>* to) {
  using A = Accum<T>;
  const int64_t columns = n.out_group(), pad = group_pitch<A>(n) - columns;
  for (int64_t i = 0; i < rows * n.groups; ++i, from += columns, to += columns + pad) {
    widen(from, to, columns);
    std::fill_n(to + columns, pad, A{0});
  }
}

// features[in_rows, in_channels], cotangent[out_rows, out_channels], inputs[taps, out_rows] -> out[taps, in_group,
// out_channels].
template <class T, class Pool>
void conv_kernel_grad(Pool& pool, const ConvSizes& n, const T* features, const T* cotangent, const int32_t* inputs,
                      Accum<T>* out, void* workspace) {
  using A = Accum<T>;
  const ConvOps<A>& ops = conv_ops<A>();
  const GradScratch<T> s = lay_out_kernel_grad<T>(n, workspace);
  const GradShares& shares = s.shares;
  const InputRows<T> rows(n);
  const int64_t pitch = sums_pitch<A>(n), depth = n.in_group(), per_tap = depth * pitch, block = grad_block_rows(n);
  const bool in_place = std::is_same_v<T, A> && sums_in_place<A>(n);  // the cotangent's rows
  const bool alone = sums_in_place<A>(n) && shares.segments == 1;
  A* all = alone ? out : s.sums;
  parallel_for(pool, shares.segments * shares.parts, 1, [&](int64_t item, int w) {
    const auto& mine = s.worker[w];
    const int64_t segment = item / shares.parts, part = item % shares.parts;
    const int64_t first = part * shares.taps, last = std::min(n.taps, first + shares.taps);
    A* sums = all + segment * n.taps * per_tap;
    if (first < last) std::fill_n(sums + first * per_tap, (last - first) * per_tap, A{0});
    const int64_t end = std::min(n.out_rows, (segment + 1) * shares.rows);
    for (int64_t begin = segment * shares.rows; begin < end; begin += block) {
      const int64_t here = std::min(block, end - begin);
      const A* g = mine.cotangent;
      if constexpr (std::is_same_v<T, A>) {
        if (in_place) g = cotangent + begin * n.out_channels;
      }
      bool ready = in_place;
      for (int64_t tap = first; tap < last; ++tap) {
        PairList list = mine.list;
        list.n = ops.compact(inputs + tap * n.out_rows + begin, here, n.in_rows, list.row, list.at);
        if (list.n == 0) continue;
        if (!ready) widen_cotangent(n, cotangent + begin * n.out_channels, here, mine.cotangent);
        ready = true;
        const A* x;
        rows.gather(features, list.row, list.n, mine.rows, &x);
        A* to = sums + tap * per_tap;
        if (n.depthwise()) {
          ops.dots({list.pairs(), x, rows.pitch(), 1, g, pitch, n.out_channels, to, pitch});
          continue;
        }
        const int64_t columns = padded<A>(n.out_group());
        for (int64_t group = 0; group < n.groups; ++group) {
          ops.outer_products({list.pairs(), x + group * depth, rows.pitch(), depth, g + group * columns, pitch,
                              n.out_group(), to + group * columns, pitch});
        }
      }
    }
  });
  if (alone) return;
  // A row for each tap and input channel of a group.
  parallel_for(pool, n.taps * depth, 16, [&](int64_t row, int) {
    A* to = out + row * n.out_channels;
    for (int64_t group = 0; group < n.groups; ++group) {
      for (int64_t j = 0; j < n.out_group(); ++j) {
        const A* from = all + row * pitch + group * group_pitch<A>(n) + j;
        A sum = *from;
        for (int64_t segment = 1; segment < shares.segments; ++segment) sum += from[segment * n.taps * per_tap];
        *to++ = sum;
      }
    }
  });
}

}  // namespace jaxsparse::voxel
