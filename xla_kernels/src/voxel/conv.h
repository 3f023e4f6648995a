// Convolution over a kernel map: out[m] = sum over taps, ascending, of features[inputs[tap][m]] times the tap's matrix.
//
// Output rows are worked off in blocks. For each tap the rows of a block that have an input are listed, and their
// products join the block's sums, which stay in the cache. So a number of the result is one chain of fused
// multiply-adds, taps ascending and input channels ascending within a tap, whoever computes it. The result has the
// accumulator's type: who rounds it to the storage type may add a bias before.
#pragma once

#include "conv_rows.h"

namespace jaxsparse::voxel {

// Output rows that are worked off together. No result depends on it.
inline int64_t conv_block_rows(const ConvSizes& n) {
  const int64_t even = (n.out_rows / kMaxWorkers + 15) / 16 * 16;
  return std::clamp<int64_t>(even, 32, 128);
}

template <class T>
struct ConvScratch {
  using A = Accum<T>;
  struct Worker {
    PairList list;
    A* rows;
    A* sums;
  };
  A* weights = nullptr;
  Worker worker[kMaxWorkers];
  int64_t bytes = 0;
};

// Numbers of the packed weights of one tap.
template <class A>
int64_t tap_weights(const ConvSizes& n) {
  return n.depthwise() ? n.out_channels : n.groups * n.in_group() * padded<A>(n.out_group());
}

template <class T>
ConvScratch<T> lay_out_conv(const ConvSizes& n, void* workspace) {
  using A = Accum<T>;
  Arena arena(workspace);
  ConvScratch<T> s;
  s.weights = arena.take<A>(n.taps * tap_weights<A>(n));
  const int64_t rows = conv_block_rows(n);
  const InputRows<T> inputs(n);
  for (auto& worker : s.worker) {
    worker.list = PairList::take(arena, rows);
    worker.rows = arena.take<A>(inputs.room(rows));
    worker.sums = arena.take<A>(sums_in_place<A>(n) ? 0 : rows * sums_pitch<A>(n));
  }
  s.bytes = arena.bytes();
  return s;
}

template <class T>
int64_t conv_bytes(T, const ConvSizes& n) {
  return lay_out_conv<T>(n, nullptr).bytes;
}

// One tap of the kernel [tap, in_group, out_channels], or transposed [tap, out_group, in_channels], as the leaf loops
// read it.
template <class T>
void pack_weights(const ConvSizes& n, const T* kernel, bool transposed, int64_t tap, Accum<T>* to) {
  using A = Accum<T>;
  const int64_t depth = n.in_group(), columns = n.out_group();
  const T* from = kernel + tap * depth * n.out_channels;
  const auto weight = [&](int64_t group, int64_t c, int64_t j) {
    return to_accum(transposed ? from[j * n.in_channels + group * depth + c]
                               : from[c * n.out_channels + group * columns + j]);
  };
  if (n.depthwise()) {
    for (int64_t j = 0; j < n.out_channels; ++j) to[j] = weight(j / columns, 0, j % columns);
    return;
  }
  for (int64_t group = 0; group < n.groups; ++group) {
    for (int64_t j0 = 0; j0 < columns; j0 += kPanel<A>) {
      const int64_t here = std::min(kPanel<A>, columns - j0);
      for (int64_t c = 0; c < depth; ++c, to += kPanel<A>) {
        for (int64_t j = 0; j < here; ++j) to[j] = weight(group, c, j0 + j);
        std::fill(to + here, to + kPanel<A>, A{0});
      }
    }
  }
}

// features[in_rows, in_channels], inputs[taps, out_rows] -> out[out_rows, out_channels]. An entry of `inputs` that is
// no row of `features` means that there is none. kernel[taps, in_group, out_channels]; with `transposed` it is the
// kernel [taps, out_group, in_channels] of the convolution the other way, each group's matrix transposed.
template <class T, class Pool>
void conv(Pool& pool, const ConvSizes& n, const T* features, const T* kernel, bool transposed, const int32_t* inputs,
          Accum<T>* out, void* workspace) {
  using A = Accum<T>;
  const ConvOps<A>& ops = conv_ops<A>();
  const ConvScratch<T> s = lay_out_conv<T>(n, workspace);
  const InputRows<T> rows(n);
  const int64_t per_tap = tap_weights<A>(n), pitch = sums_pitch<A>(n), block = conv_block_rows(n);
  const bool in_place = sums_in_place<A>(n);
  if (n.out_rows == 0) return;
  parallel_for(pool, n.taps, 1,
               [&](int64_t tap, int) { pack_weights(n, kernel, transposed, tap, s.weights + tap * per_tap); });
  parallel_for(pool, (n.out_rows + block - 1) / block, 1, [&](int64_t number, int w) {
    const auto& mine = s.worker[w];
    const int64_t begin = number * block, here = std::min(block, n.out_rows - begin);
    A* result = out + begin * n.out_channels;
    A* sums = in_place ? result : mine.sums;
    std::fill_n(sums, here * pitch, A{0});
    for (int64_t tap = 0; tap < n.taps; ++tap) {
      PairList list = mine.list;
      list.n = ops.compact(inputs + tap * n.out_rows + begin, here, n.in_rows, list.row, list.at);
      if (list.n == 0) continue;
      const A* x;
      rows.gather(features, list.row, list.n, mine.rows, &x);
      const A* weights = s.weights + tap * per_tap;
      if (n.depthwise()) {
        ops.scaled({list.pairs(), x, rows.pitch(), 1, weights, 0, sums, pitch, n.out_channels});
        continue;
      }
      const int64_t depth = n.in_group(), columns = padded<A>(n.out_group());
      for (int64_t group = 0; group < n.groups; ++group) {
        ops.products({list.pairs(), x + group * depth, rows.pitch(), depth, weights + group * depth * columns,
                      depth * kPanel<A>, sums + group * columns, pitch, n.out_group()});
      }
    }
    if (in_place) return;
    const A* from = sums;
    for (int64_t group = 0; group < here * n.groups; ++group, from += group_pitch<A>(n))
      result = std::copy_n(from, n.out_group(), result);
  });
}

}  // namespace jaxsparse::voxel
