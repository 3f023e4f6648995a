// Responses of a convolution on the GPU: which output cells an entry reaches, and the sum at one of them.
#pragma once

#include "../core/dtype.h"
#include "../cuda/rows.h"
#include "conv_cuda.h"

namespace jaxsparse {

// What all passes over a stretch of the batch read.
template <class T>
struct ConvOperands {
  cuda::ConvAxes g;
  int64_t in_channels, out_channels, capacity;
  const int32_t* keys;
  const T* values;
  const T* kernel;
  const T* bias;  // or null
  const int32_t* starts;
  const uint8_t *live, *live_rows;

  JAXSPARSE_ANYWHERE int64_t groups() const { return (out_channels + kConvGroup - 1) / kConvGroup; }
};

namespace internal {

// Which output channels of a group are live at each (input channel, tap), and at any tap of a tap row; and `words` of
// `cleared` become 0.
struct ConvSetup {
  cuda::ConvAxes g;
  int64_t in, out;
  const bool* mask;
  uint8_t *live, *live_rows;
  uint32_t* cleared;
  int64_t words;

  int64_t groups() const { return (out + kConvGroup - 1) / kConvGroup; }
  // Blocks for it, of kListThreads.
  int64_t blocks() const {
    const int64_t most = std::max(groups() * in * g.tap_rows(), words);
    return std::min<int64_t>(cuda::blocks_of(most, cuda::kListThreads), 1024);
  }

  // By all threads of `blocks` blocks.
  __device__ void run(int64_t block, int64_t blocks) const {
    const int64_t width = g.kernel[cuda::ConvAxes::kX], step = blocks * blockDim.x;
    const int64_t n = (out + kConvGroup - 1) / kConvGroup * in * g.tap_rows();
    const int64_t thread = block * blockDim.x + threadIdx.x;
    for (int64_t i = thread; i < words; i += step) cleared[i] = 0;
    for (int64_t i = thread; i < n; i += step) {
      const int64_t tap_row = i % g.tap_rows(), ic = i / g.tap_rows() % in, first = i / g.tap_rows() / in * kConvGroup;
      unsigned any = 0;
      for (int64_t k = 0; k < width; ++k) {
        unsigned lanes = 0;
        const int64_t at = ((tap_row * width + k) * in + ic) * out + first;
        for (int l = 0; l < kConvGroup && first + l < out; ++l) lanes |= (!mask || mask[at + l] ? 1u : 0u) << l;
        live[i * width + k] = static_cast<uint8_t>(lanes);
        any |= lanes;
      }
      live_rows[i] = static_cast<uint8_t>(any);
    }
  }
};

// All that the other kernels wait for, in one launch: the first blocks set up, the others go over the input lists. Rows
// of lists that are not whole are for find_rows_kernel.
template <class = void>
__global__ void conv_prepare_kernel(ConvSetup setup, int64_t setup_blocks, cuda::RowLists lists) {
  const int64_t block = blockIdx.x - setup_blocks;
  if (block < 0)
    setup.run(blockIdx.x, setup_blocks);
  else if (lists.chunks.per_list == 1)
    lists.find_rows(block);
  else
    lists.find_end(block);
}

// Where input rows have entries that a tile needs, by input channel, tap row and row of the tile: bit i stands for
// those x that are i when shifted right by stretch_shift. Pairs of channel and tap row for which there is no room have
// no words; their rows may have entries anywhere.
struct ReachWords {
  uint32_t* words;
  int64_t pairs, first_row, rows;  // pairs: that have words

  __device__ uint32_t* of(int64_t pair, int64_t row) const { return words + pair * rows + (row - first_row); }
};

// Entries of one input row that one tap row takes to cells of a tile [begin, end).
template <class T>
struct RowReach {
  static constexpr int kX = cuda::ConvAxes::kX;
  int64_t origin;                // the key of the input row
  int64_t x_of_from, x_of_last;  // where tap 0 lies for the first of these cells, and for the last
  uint32_t first_bit;            // the place in the tile of the first one
  const int32_t* keys;
  const uint8_t* live;  // by tap
  int32_t first, stop;  // entries: from the first that tap 0 may take to the last of the row

  // `channel_row` counts the tap rows of all input channels.
  __device__ RowReach(const ConvOperands<T>& in, int64_t b, int64_t group, int64_t begin, int64_t end, int64_t row,
                      int64_t channel_row)
      : first(0), stop(0) {
    const cuda::ConvAxes& g = in.g;
    const int64_t tap_rows = g.tap_rows();
    if (!in.live_rows[group * in.in_channels * tap_rows + channel_row]) return;
    const int64_t ic = g.channel_of(channel_row), tap_row = channel_row - ic * tap_rows;
    const cuda::RowOrigin origins(g, static_cast<uint32_t>(row));
    const int64_t input_row = origins.input_row(g, tap_row);
    const int64_t cell = row * g.out[kX];  // of x = 0
    const int64_t from = cell < begin ? begin - cell : 0;
    int64_t to = end - cell < g.out[kX] ? end - cell : g.out[kX];
    if (to > g.near_end[kX]) to = g.near_end[kX];
    if (input_row < 0 || from >= to) return;

    const int64_t list = b * in.in_channels + ic;
    const int32_t* starts = in.starts + list * (g.in_rows() + 1) + input_row;
    origin = input_row * g.in[kX];
    x_of_from = g.origin(kX, from);
    x_of_last = g.origin(kX, to - 1);
    first_bit = static_cast<uint32_t>(cell + from - begin);
    keys = in.keys + list * in.capacity;
    live = in.live + (group * in.in_channels * tap_rows + channel_row) * g.kernel[kX];
    stop = starts[1];
    first = cuda::lower_bound(keys, starts[0], stop, origin + (x_of_from > 0 ? x_of_from : 0));
  }

  // Marks what entry e reaches, and its x in `stretches`; false if it and all behind it lie too far.
  __device__ bool mark(const cuda::ConvAxes& g, int32_t e, uint32_t* bits, uint32_t& stretches) const {
    const int64_t stride = g.stride[kX], dilation = g.dilation[kX], width = g.kernel[kX];
    // It lies at k * dilation + o * stride from x_of_from, for the o-th cell.
    const int64_t x = keys[e] - origin, from_first = x - x_of_from, from_last = x - x_of_last;
    int64_t k = from_last <= 0 ? 0 : dilation == 1 ? from_last : (from_last + dilation - 1) / dilation;
    if (k >= width) return false;
    stretches |= 1u << (x >> g.stretch_shift);
    int64_t last = dilation == 1 ? from_first : from_first / dilation;
    if (last > width - 1) last = width - 1;
    for (; k <= last; ++k) {
      const int64_t distance = from_first - k * dilation, o = stride == 1 ? distance : distance / stride;
      if (o * stride != distance || !live[k]) continue;
      const uint32_t bit = first_bit + static_cast<uint32_t>(o);
      atomicOr(&bits[bit / 32], 1u << bit % 32);
    }
    return true;
  }
};

// Sets the bits of all cells of the tile [begin, end) that an entry of batch element b reaches by a live tap; by all
// threads of a block. `bits` are cleared, and a barrier must follow. A lane takes a row, long ones all lanes of its
// warp. Returns where entries lie, in `words` [room].
template <class T>
__device__ ReachWords mark_tile(const ConvOperands<T>& in, int64_t b, int64_t group, int64_t begin, int64_t end,
                                uint32_t* bits, uint32_t* words, int64_t room) {
  constexpr int kShortRow = 8;
  const int64_t first_row = begin / in.g.out[cuda::ConvAxes::kX];
  const int64_t rows = (end - 1) / in.g.out[cuda::ConvAxes::kX] - first_row + 1;
  const int64_t pairs = in.in_channels * in.g.tap_rows(), items = pairs * rows;
  const ReachWords out{words, pairs < room / rows ? pairs : room / rows, first_row, rows};
  const auto reach_of = [&](int64_t item) {
    return RowReach<T>(in, b, group, begin, end, first_row + item % rows, item / rows);
  };
  const auto store = [&](int64_t item, uint32_t stretches) {
    if (item < out.pairs * rows) words[item] = stretches;
  };
  for (int64_t of_warp = cuda::warp_index() * cuda::kWarp; of_warp < items; of_warp += blockDim.x) {
    const int64_t item = of_warp + cuda::lane_index();
    bool is_long = false;
    if (item < items) {
      const RowReach<T> reach = reach_of(item);
      is_long = reach.stop - reach.first > kShortRow;
      uint32_t stretches = 0;
      for (int32_t e = reach.first; e < reach.stop && !is_long; ++e)
        if (!reach.mark(in.g, e, bits, stretches)) break;
      if (!is_long) store(item, stretches);
    }
    for (unsigned lanes = __ballot_sync(cuda::kAllLanes, is_long); lanes; lanes &= lanes - 1) {
      const int64_t long_item = of_warp + __ffs(static_cast<int>(lanes)) - 1;
      const RowReach<T> reach = reach_of(long_item);
      uint32_t stretches = 0;
      for (int32_t e = reach.first + cuda::lane_index(); e < reach.stop; e += cuda::kWarp)
        if (!reach.mark(in.g, e, bits, stretches)) break;
      for (int by = cuda::kWarp / 2; by > 0; by /= 2) stretches |= __shfl_xor_sync(cuda::kAllLanes, stretches, by);
      if (cuda::lane_index() == 0) store(long_item, stretches);
    }
  }
  return out;
}

// sum[l] = the response of output channel group * kConvGroup + first + l at an output cell, for l < lanes; in the
// stated order: input channels ascending, and within one the taps row-major. Every lane first finds the rows that may
// have entries for its own cell, 32 at a time, so that lanes wait for each other's entries and not for empty rows.
template <int lanes, class T>
__device__ void respond(const ConvOperands<T>& in, int64_t b, int64_t group, int first, uint32_t cell,
                        const ReachWords& reached, Accum<T>* sum) {
  using A = Accum<T>;
  constexpr int kX = cuda::ConvAxes::kX, kWord = 32;
  const cuda::ConvAxes& g = in.g;
  const int64_t dilation = g.dilation[kX], width = g.kernel[kX], reach = (width - 1) * dilation;
  const uint32_t row = g.out_div[kX](cell);
  const cuda::RowOrigin origins(g, row);
  const int64_t left = g.origin(kX, static_cast<int64_t>(cell) - static_cast<int64_t>(row) * g.out[kX]);
  const int64_t inside = left > 0 ? left : 0, first_channel = group * kConvGroup + first;
  const int64_t right = left + reach < g.in[kX] ? left + reach : g.in[kX] - 1;
  JAXSPARSE_UNROLL
  for (int l = 0; l < lanes; ++l) sum[l] = A{0};
  if (right < inside) return;
  const uint32_t window = ~0u << (inside >> g.stretch_shift) & ~0u >> (kWord - 1 - (right >> g.stretch_shift));
  const int64_t tap_rows = g.tap_rows(), pairs = in.in_channels * tap_rows;
  for (int64_t from = 0; from < pairs; from += kWord) {
    const int n = static_cast<int>(pairs - from < kWord ? pairs - from : kWord);
    const int64_t with_words = reached.pairs - from;
    const int known = with_words <= 0 ? 0 : with_words < n ? static_cast<int>(with_words) : n;
    uint32_t hits = known == kWord ? 0 : ~0u << known & ~0u >> (kWord - n);
    const uint32_t* words = reached.of(from, row);
    for (int i = 0; i < known; ++i) hits |= (words[i * reached.rows] & window ? 1u : 0u) << i;
    for (; hits; hits &= hits - 1) {
      const int64_t pair = from + __ffs(static_cast<int>(hits)) - 1, live_row = group * pairs + pair;
      if (!in.live_rows[live_row]) continue;
      const int64_t ic = g.channel_of(pair), tap_row = pair - ic * tap_rows, input_row = origins.input_row(g, tap_row);
      if (input_row < 0) continue;
      const int64_t list = b * in.in_channels + ic, origin = input_row * g.in[kX];
      const int32_t* keys = in.keys + list * in.capacity;
      const int32_t* starts = in.starts + list * (g.in_rows() + 1) + input_row;
      const int32_t stop = starts[1];
      for (int32_t e = cuda::lower_bound(keys, starts[0], stop, origin + inside); e < stop; ++e) {
        const int64_t distance = keys[e] - origin - left;
        if (distance > reach) break;
        const int64_t x = dilation == 1 ? distance : distance / dilation;
        if (x * dilation != distance) continue;
        const unsigned live = static_cast<unsigned>(in.live[live_row * width + x]) >> first;
        if (!(live & ((1u << lanes) - 1))) continue;
        const A value = to_accum(in.values[list * in.capacity + e]);
        const T* weight = in.kernel + ((tap_row * width + x) * in.in_channels + ic) * in.out_channels + first_channel;
        JAXSPARSE_UNROLL
        for (int l = 0; l < lanes; ++l)
          if (live >> l & 1) sum[l] = cuda::fused(value, to_accum(weight[l]), sum[l]);
      }
    }
  }
}

}  // namespace internal
}  // namespace jaxsparse
