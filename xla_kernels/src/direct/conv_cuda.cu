// The convolution on the GPU. Every block owns a tile of the output, a run of consecutive keys, for a few output
// channels; lanes own cells that some entry reaches, and compute their sums in the stated order. Responses are never
// stored: each pass computes them again. The passes: count, with a histogram of the leading digit of the ranks; a
// histogram of each further digit for the lists that overflow; count what is kept; emit. The last block of a list
// settles the digit.
#include "conv_cuda.h"

#include "../bindings/ffi_cuda.h"
#include "../core/score.h"
#include "conv_device.h"
#include "conv_digit.h"

namespace jaxsparse {
namespace {

using cuda::Device;
using cuda::kListThreads;
using cuda::launch;
using internal::Digit;
using internal::kDigit;

static_assert(kReachWords * static_cast<int64_t>(sizeof(uint32_t)) <= cuda::kMostDynamicShared);

enum class Pass { kCount, kRefine, kKept, kEmit };

template <class T>
struct ConvResults {
  ConvTiles tiles;
  int64_t reach_words, capacity;
  Rule rule;
  int32_t* keys;
  T* values;
  int32_t* found;
  uint64_t* counts;
  ConvCut* cuts;
  uint32_t *histogram, *tickets;
};

// The tile of a block, and its output lists.
struct TileOf {
  int64_t b, group, tile, begin, end, first_list;
  int lanes;

  __device__ TileOf(const ConvTiles& tiles, int64_t groups, int64_t channels) {
    tile = blockIdx.x % tiles.per_list;
    group = blockIdx.x / tiles.per_list % groups;
    b = blockIdx.x / tiles.per_list / groups;
    begin = tile * tiles.cells;
    end = begin + tiles.cells < tiles.volume ? begin + tiles.cells : tiles.volume;
    first_list = b * channels + group * kConvGroup;
    lanes = static_cast<int>(channels - group * kConvGroup < kConvGroup ? channels - group * kConvGroup : kConvGroup);
  }
};

// The cells of a tile that entries reach, ascending, in `cells` [kConvTile]; how many there are, and where the entries
// lie.
struct Cells {
  int n;
  internal::ReachWords reached;
};
template <class T>
__device__ Cells find_cells(const ConvOperands<T>& in, const TileOf& at, int64_t reach_words, uint16_t* cells) {
  JAXSPARSE_DYNAMIC_SHARED(uint32_t, words);
  constexpr int kWords = kConvTile / 32;
  static_assert(kWords <= kListThreads);
  JAXSPARSE_SHARED(uint32_t, bits, kWords);
  const int t = static_cast<int>(threadIdx.x);
  if (t < kWords) bits[t] = 0;
  __syncthreads();
  const auto reached = internal::mark_tile(in, at.b, at.group, at.begin, at.end, bits, words, reach_words);
  __syncthreads();
  uint32_t word = t < kWords ? bits[t] : 0;
  const auto scan = cuda::block_scan<int32_t>(__popc(word));
  for (int32_t place = scan.before; word; word &= word - 1)
    cells[place++] = static_cast<uint16_t>(t * 32 + __ffs(static_cast<int>(word)) - 1);
  __syncthreads();
  return {scan.total, reached};
}

// Of the responses at a cell, with the bias: which are candidates.
template <class T>
__device__ unsigned candidates(const ConvOperands<T>& in, const TileOf& at, Rule rule, Accum<T>* response) {
  unsigned out = 0;
  JAXSPARSE_UNROLL
  for (int l = 0; l < kConvGroup; ++l) {
    const bool active = l < at.lanes && !(response[l] == 0);
    if (in.bias && active) response[l] += to_accum(in.bias[at.group * kConvGroup + l]);
    out |= (is_candidate(response[l], active, rule) ? 1u : 0u) << l;
  }
  return out;
}

// Adds the counters of all lanes, two in a word, to those of the block.
__device__ inline void add_pairs(uint32_t* pairs, int32_t* counts) {
  JAXSPARSE_UNROLL
  for (int i = 0; i < kConvGroup / 2; ++i) {
    for (int by = cuda::kWarp / 2; by > 0; by /= 2) pairs[i] += __shfl_xor_sync(cuda::kAllLanes, pairs[i], by);
    if (cuda::lane_index() != 0) continue;
    atomicAdd(&counts[2 * i], static_cast<int32_t>(pairs[i] & 0xffffu));
    atomicAdd(&counts[2 * i + 1], static_cast<int32_t>(pairs[i] >> 16));
  }
}

// Two counters of 16 bits in a word: a tile has fewer cells.
template <class T, Pass pass>
__global__ void __launch_bounds__(kListThreads, 2)
    conv_histogram_kernel(ConvOperands<T> in, ConvResults<T> out, Digit digit) {
  constexpr int kWords = kConvBins / 2;
  constexpr bool kFirst = pass == Pass::kCount;
  JAXSPARSE_SHARED(uint32_t, histogram, kConvGroup* kWords);
  JAXSPARSE_SHARED(uint16_t, cells, kConvTile);
  JAXSPARSE_SHARED(int32_t, counts, kConvGroup);
  JAXSPARSE_SHARED(int32_t, is_last, 1);
  const TileOf at(out.tiles, in.groups(), in.out_channels);
  unsigned open = 0;
  for (int l = 0; l < at.lanes; ++l)
    if (kFirst || out.cuts[at.first_list + l].open) open |= 1u << l;
  if (open) {  // of one mind in all blocks of the lists: only the last one changes it
    const auto t = static_cast<int>(threadIdx.x);
    for (int i = t; i < kConvGroup * kWords; i += kListThreads) histogram[i] = 0;
    if (t < kConvGroup) counts[t] = 0;
    const auto [n, reached] = find_cells(in, at, out.reach_words, cells);
    uint32_t pairs[kConvGroup / 2] = {};  // candidates of two channels, 16 bits each
    for (int i = t; i < n; i += kListThreads) {
      Accum<T> response[kConvGroup];
      const auto cell = static_cast<uint32_t>(at.begin + cells[i]);
      internal::respond<kConvGroup>(in, at.b, at.group, 0, cell, reached, response);
      const unsigned active = candidates(in, at, out.rule, response) & open;
      JAXSPARSE_UNROLL
      for (int l = 0; l < kConvGroup; ++l) {
        if (!(active >> l & 1)) continue;
        const uint64_t rank = rank_of(response[l], out.rule);
        if (kFirst)
          pairs[l / 2] += 1u << l % 2 * 16;
        else if ((rank ^ out.cuts[at.first_list + l].rank) >> (digit.shift + digit.width))
          continue;
        const auto bin = static_cast<uint32_t>(rank >> digit.shift) & ((1u << digit.width) - 1);
        atomicAdd(&histogram[static_cast<uint32_t>(l * kWords) + bin / 2], bin % 2 ? 1u << 16 : 1u);
      }
    }
    if (kFirst) add_pairs(pairs, counts);
    __syncthreads();
    for (int i = t; i < at.lanes * kWords; i += kListThreads) {
      uint32_t* bins = out.histogram + (at.first_list + i / kWords) * kConvBins + i % kWords * 2;
      const uint32_t word = histogram[i];
      if (word & 0xffffu) atomicAdd(&bins[0], word & 0xffffu);
      if (word >> 16) atomicAdd(&bins[1], word >> 16);
    }
    if (kFirst && t < at.lanes)
      out.counts[(at.first_list + t) * out.tiles.per_list + at.tile] = static_cast<uint64_t>(counts[t]) << 32;
    __threadfence();
    __syncthreads();
    if (t == 0) {
      uint32_t* ticket = &out.tickets[at.b * in.groups() + at.group];
      *is_last = atomicAdd(ticket, 1u) + 1 == static_cast<uint32_t>(out.tiles.per_list);
      if (*is_last) *ticket = 0;
    }
    __syncthreads();
    if (*is_last) {
      __threadfence();
      for (int l = 0; l < at.lanes; ++l) {
        const int64_t list = at.first_list + l;
        if (open >> l & 1)
          internal::settle_digit(&out.cuts[list], out.histogram + list * kConvBins, digit, kFirst, out.capacity,
                                 &out.found[list]);
      }
    }
  }
}

// Counts, or emits, what the cuts keep.
template <class T, Pass pass>
__global__ void __launch_bounds__(kListThreads, 2) conv_kept_kernel(ConvOperands<T> in, ConvResults<T> out) {
  constexpr int kWarps = kListThreads / cuda::kWarp;
  constexpr bool kEmits = pass == Pass::kEmit;
  JAXSPARSE_SHARED(uint16_t, cells, kConvTile);
  JAXSPARSE_SHARED(ConvCut, cuts, kConvGroup);
  JAXSPARSE_SHARED(uint64_t, places, kConvGroup);
  JAXSPARSE_SHARED(uint32_t, of_warps, kWarps* kConvGroup);  // above the cut << 16 | ties
  const TileOf at(out.tiles, in.groups(), in.out_channels);
  const auto t = static_cast<int>(threadIdx.x);
  unsigned wanted = 0;
  for (int l = 0; l < at.lanes; ++l)
    if (kEmits || out.cuts[at.first_list + l].rank) wanted |= 1u << l;
  if (wanted) {
    if (t < at.lanes) {
      cuts[t] = out.cuts[at.first_list + t];
      places[t] = kEmits ? out.counts[(at.first_list + t) * out.tiles.per_list + at.tile] : 0;
    }
    const auto [n, reached] = find_cells(in, at, out.reach_words, cells);
    for (int begin = 0; begin < n; begin += kListThreads) {
      Accum<T> response[kConvGroup];
      const int i = begin + t;
      const auto cell = static_cast<uint32_t>(at.begin + (i < n ? cells[i] : 0));
      unsigned above = 0, ties = 0;
      if (i < n) {
        internal::respond<kConvGroup>(in, at.b, at.group, 0, cell, reached, response);
        const unsigned active = candidates(in, at, out.rule, response) & wanted;
        JAXSPARSE_UNROLL
        for (int l = 0; l < kConvGroup; ++l) {
          if (!(active >> l & 1)) continue;
          const uint64_t rank = rank_of(response[l], out.rule);
          above |= (rank > cuts[l].rank ? 1u : 0u) << l;
          ties |= (rank == cuts[l].rank ? 1u : 0u) << l;
        }
      }
      unsigned before[kConvGroup];  // in the warp
      JAXSPARSE_UNROLL
      for (int l = 0; l < kConvGroup; ++l) {
        const unsigned a = __ballot_sync(cuda::kAllLanes, above >> l & 1);
        const unsigned b = __ballot_sync(cuda::kAllLanes, ties >> l & 1);
        const unsigned lower = (1u << cuda::lane_index()) - 1;
        before[l] = static_cast<unsigned>(__popc(a & lower)) << 16 | static_cast<unsigned>(__popc(b & lower));
        if (cuda::lane_index() == 0)
          of_warps[cuda::warp_index() * kConvGroup + l] =
              static_cast<uint32_t>(__popc(a)) << 16 | static_cast<uint32_t>(__popc(b));
      }
      __syncthreads();
      if (kEmits) {
        JAXSPARSE_UNROLL
        for (int l = 0; l < kConvGroup; ++l) {
          if (!((above | ties) >> l & 1)) continue;
          for (int w = 0; w < cuda::warp_index(); ++w) before[l] += of_warps[w * kConvGroup + l];
          const auto ties_before = static_cast<int64_t>(places[l] & 0xffffffffu) + (before[l] & 0xffffu);
          const int64_t most = cuts[l].ties;
          if (!(above >> l & 1) && ties_before >= most) continue;
          const int64_t place =
              static_cast<int64_t>(places[l] >> 32) + (before[l] >> 16) + (ties_before < most ? ties_before : most);
          const int64_t slot = (at.first_list + l) * out.capacity + place;
          out.keys[slot] = static_cast<int32_t>(cell);
          out.values[slot] = from_accum<T>(response[l]);
        }
      }
      __syncthreads();
      if (t < at.lanes)
        for (int w = 0; w < kWarps; ++w) {
          const uint32_t more = of_warps[w * kConvGroup + t];
          places[t] += static_cast<uint64_t>(more >> 16) << 32 | (more & 0xffffu);
        }
      __syncthreads();
    }
    if (!kEmits && t < at.lanes && (wanted >> t & 1))
      out.counts[(at.first_list + t) * out.tiles.per_list + at.tile] = places[t];
  }
  if (kEmits) {  // unused slots, a share for each tile
    const int64_t share = cuda::blocks_of(out.capacity, out.tiles.per_list), from = at.tile * share;
    const int64_t to = from + share < out.capacity ? from + share : out.capacity;
    for (int l = 0; l < at.lanes; ++l) {
      const int64_t list = at.first_list + l, stored = out.found[list];
      for (int64_t i = (from > stored ? from : stored) + t; i < to; i += kListThreads) {
        out.keys[list * out.capacity + i] = static_cast<int32_t>(out.tiles.volume);
        out.values[list * out.capacity + i] = from_accum<T>(0);
      }
    }
  }
}

// At given keys: a thread for each.
template <class T>
__global__ void __launch_bounds__(kListThreads, 2)
    conv_at_kernel(ConvOperands<T> in, cuda::Chunks chunks, cuda::Stored stored, const int32_t* y_keys, T* y_values) {
  const cuda::Chunk chunk = chunks.of_block(blockIdx.x);
  const int64_t base = chunk.list * chunks.slots;
  const int64_t b = chunk.list / in.out_channels, oc = chunk.list % in.out_channels;
  const int64_t n = stored.of(chunks, y_keys + base, chunk.list);
  for (int64_t i = chunk.begin + threadIdx.x; i < chunk.end; i += blockDim.x) {
    Accum<T> sum[1] = {0};
    if (i < n)
      internal::respond<1>(in, b, oc / kConvGroup, static_cast<int>(oc % kConvGroup),
                           static_cast<uint32_t>(y_keys[base + i]), internal::ReachWords{nullptr, 0, 0, 0}, sum);
    y_values[base + i] = from_accum<T>(sum[0]);
  }
}

// Runs body(n, scratch, operands, first element) for stretches of the batch.
template <class T, class Body>
void for_each_conv_stretch(Device& device, const ConvGrid& grid, const ConvSizes& all, bool selects,
                           const int32_t* x_keys, const T* x_values, const T* kernel, const T* bias, const bool* mask,
                           Body&& body) {
  const cuda::ConvAxes g(grid);
  const auto sizes = [&](int64_t elements) {
    return ConvSizes{elements, all.in_channels, all.out_channels, all.capacity, all.out_capacity};
  };
  const auto bytes_of = [&](int64_t elements) { return ConvScratch(g, sizes(elements), selects, nullptr).bytes; };
  cuda::for_each_stretch(all.batch, device.workspace.bytes, bytes_of, [&](int64_t first, int64_t elements) {
    const ConvSizes n = sizes(elements);
    const ConvScratch scratch(g, n, selects, device.workspace.data);
    const int64_t at = first * n.in_channels * n.capacity;
    const internal::ConvSetup setup{g,
                                    n.in_channels,
                                    n.out_channels,
                                    mask,
                                    scratch.live,
                                    scratch.live_rows,
                                    scratch.histogram,
                                    scratch.cleared_words};
    const cuda::RowLists lists{{n.batch * n.in_channels, n.capacity},
                               g.in_rows(),
                               g.in[cuda::ConvAxes::kX],
                               x_keys + at,
                               scratch.ends,
                               scratch.starts};
    const bool whole = lists.chunks.whole();
    launch(device.stream, {setup.blocks() + (whole ? lists.row_blocks() : lists.chunks.blocks()), kListThreads},
           internal::conv_prepare_kernel<>, setup, setup.blocks(), lists);
    if (!whole) launch(device.stream, {lists.row_blocks(), kListThreads}, cuda::find_rows_kernel<>, lists);
    const ConvOperands<T> operands{g,      n.in_channels, n.out_channels, n.capacity,   x_keys + at,      x_values + at,
                                   kernel, bias,          scratch.starts, scratch.live, scratch.live_rows};
    body(n, scratch, operands, first);
  });
}

template <class T>
void conv_forward(Device& device, const ConvGrid& grid, const ConvSizes& all, const int32_t* x_keys, const T* x_values,
                  const T* kernel, const T* bias, const bool* mask, Rule rule, int32_t* y_keys, T* y_values,
                  int32_t* y_found) {
  for_each_conv_stretch<T>(
      device, grid, all, true, x_keys, x_values, kernel, bias, mask,
      [&](const ConvSizes& n, const ConvScratch& scratch, const ConvOperands<T>& operands, int64_t first) {
        const ConvTiles tiles(grid.out_volume());
        const int64_t list = first * n.out_channels, at = list * n.out_capacity;
        const int64_t words = tiles.reach_words(operands.g, n.in_channels);
        const ConvResults<T> results{tiles,          words,          n.out_capacity, rule,         y_keys + at,
                                     y_values + at,  y_found + list, scratch.counts, scratch.cuts, scratch.histogram,
                                     scratch.tickets};
        const cuda::Grid blocks{n.batch * operands.groups() * tiles.per_list, kListThreads,
                                words * static_cast<int64_t>(sizeof(uint32_t))};
        int shift = static_cast<int>(sizeof(Accum<T>)) * 8 - kDigit;
        launch(device.stream, blocks, conv_histogram_kernel<T, Pass::kCount>, operands, results, Digit{shift, kDigit});
        const bool may_cut = n.out_capacity < most_responses(grid.geometry(), n);
        while (may_cut && shift > 0) {
          const int width = std::min(kDigit, shift);
          shift -= width;
          launch(device.stream, blocks, conv_histogram_kernel<T, Pass::kRefine>, operands, results,
                 Digit{shift, width});
        }
        if (may_cut) launch(device.stream, blocks, conv_kept_kernel<T, Pass::kKept>, operands, results);
        cuda::scan_rows<uint64_t>(device.stream, n.batch * n.out_channels, tiles.per_list, scratch.counts, nullptr);
        launch(device.stream, blocks, conv_kept_kernel<T, Pass::kEmit>, operands, results);
      });
}

template <class T>
void conv_at(Device& device, const ConvGrid& grid, const ConvSizes& all, const int32_t* x_keys, const T* x_values,
             const T* kernel, const bool* mask, const int32_t* y_keys, T* y_values) {
  for_each_conv_stretch<T>(
      device, grid, all, false, x_keys, x_values, kernel, nullptr, mask,
      [&](const ConvSizes& n, const ConvScratch& scratch, const ConvOperands<T>& operands, int64_t first) {
        const int64_t at = first * n.out_channels * n.out_capacity;
        const cuda::Chunks chunks(n.batch * n.out_channels, n.out_capacity);
        const cuda::Stored stored =
            cuda::find_stored(device.stream, chunks, grid.out_volume(), y_keys + at, scratch.out_unused);
        launch(device.stream, {chunks.blocks(), kListThreads}, conv_at_kernel<T>, operands, chunks, stored, y_keys + at,
               y_values + at);
      });
}

}  // namespace
}  // namespace jaxsparse

#include "conv_handlers.h"

namespace jaxsparse {

JAXSPARSE_CUDA_HANDLER(JaxsparseDirectConv, Conv<cuda::Stream>, "spatial_shape", "out_shape", "strides", "padding",
                       "dilation", "select");
JAXSPARSE_CUDA_HANDLER(JaxsparseDirectConvAt, ConvAt<cuda::Stream>, "spatial_shape", "out_shape", "strides", "padding",
                       "dilation");

}  // namespace jaxsparse
