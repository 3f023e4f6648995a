// Conversions between dense arrays and lists on the GPU.
#include "convert_cuda.h"

#include "../bindings/ffi_cuda.h"
#include "../cuda/lists.h"
#include "../cuda/select.cuh"

namespace jaxsparse {
namespace {

using cuda::Chunk;
using cuda::Chunks;
using cuda::Device;
using cuda::kListThreads;
using cuda::launch;
using cuda::Stored;
using cuda::Threshold;
using cuda::Verdict;

// Runs body(sizes, first batch element) for stretches of the batch; scratch_bytes(sizes) is what one needs.
template <class BytesOf, class Body>
void for_each_dense_stretch(const Device& device, const DenseSizes& all, BytesOf&& scratch_bytes, Body&& body) {
  const auto of = [&](int64_t elements) { return DenseSizes{elements, all.volume, all.channels, all.capacity}; };
  cuda::for_each_stretch(
      all.batch, device.workspace.bytes, [&](int64_t elements) { return scratch_bytes(of(elements)); },
      [&](int64_t first, int64_t elements) { body(of(elements), first); });
}

// ---- from_dense: tiles
// -------------------------------------------------------------------------------------------------

// Cells of a tile in shared memory. A voxel's row has an odd length, so that the lanes of a warp, each with a voxel of
// one channel, meet different banks.
constexpr int kCells = 2560;
constexpr int kGroups = DenseTiles::kElements / cuda::kWarp;  // (channel, 32 voxels) of a tile, at most

// A block's share: some channels of one batch element, and `kTilesOfBlock` tiles from `first_voxel` on.
struct DenseBlock {
  int64_t element, channel, block_of_row, first_voxel;
  int channels, pitch, groups;  // groups: 32 voxels each, of a tile

  __device__ DenseBlock(const DenseTiles& t, int64_t block) {
    block_of_row = block % t.blocks_of_row;
    channel = block / t.blocks_of_row % t.channel_tiles * DenseTiles::kChannels;
    element = block / t.blocks_of_row / t.channel_tiles;
    first_voxel = block_of_row * DenseTiles::kTilesOfBlock * t.tile_voxels;
    const int64_t left = t.channels - channel;
    channels = static_cast<int>(left < DenseTiles::kChannels ? left : DenseTiles::kChannels);
    pitch = channels < 4 ? channels : channels | 1;
    groups = static_cast<int>(t.tile_voxels / cuda::kWarp);
  }
  __device__ int64_t list(const DenseTiles& t, int c) const { return element * t.channels + channel + c; }
};

// Loads a tile; what lies behind the volume is 0.
template <class T>
__device__ void load_tile(const DenseTiles& t, const DenseBlock& b, int64_t voxel, const T* x, Accum<T>* cells) {
  const int n = static_cast<int>(t.tile_voxels) * b.channels;
  const T* from = x + (b.element * t.volume + voxel) * t.channels + b.channel;
  for (int i = static_cast<int>(threadIdx.x); i < n; i += static_cast<int>(blockDim.x)) {
    const int v = i / b.channels, c = i % b.channels;
    cells[v * b.pitch + c] = voxel + v < t.volume ? to_accum(from[v * t.channels + c]) : Accum<T>{0};
  }
}

// Runs body(channel, group, value of the lane's voxel) for all groups of a tile, a warp each.
template <class A, class Body>
__device__ void for_each_group(const DenseBlock& b, const A* cells, Body&& body) {
  const int warps = static_cast<int>(blockDim.x) / cuda::kWarp;
  for (int i = cuda::warp_index(); i < b.channels * b.groups; i += warps) {
    const int c = i / b.groups, group = i % b.groups;
    body(c, group, cells[(group * cuda::kWarp + cuda::lane_index()) * b.pitch + c]);
  }
}

template <class A>
__device__ bool any_cut(const DenseTiles& t, const DenseBlock& b, const Threshold<A>* thresholds) {
  bool any = false;
  for (int c = 0; c < b.channels; ++c) any |= thresholds[b.list(t, c)].cut != 0;
  return any;
}

// ---- from_dense: counting
// ----------------------------------------------------------------------------------------------

// Candidates by list and block; `histograms` of their uppermost bits, if not null.
template <class T>
__global__ void count_dense_kernel(DenseTiles t, Rule rule, const T* x, int32_t* counts, int32_t* histograms) {
  using A = Accum<T>;
  JAXSPARSE_SHARED(A, cells, kCells);
  JAXSPARSE_SHARED(int32_t, totals, DenseTiles::kChannels);
  JAXSPARSE_SHARED(int32_t, bins, DenseTiles::kChannels* cuda::kSelectBins);
  const DenseBlock b(t, blockIdx.x);
  if (threadIdx.x < DenseTiles::kChannels) totals[threadIdx.x] = 0;
  for (int i = static_cast<int>(threadIdx.x); i < b.channels * cuda::kSelectBins; i += static_cast<int>(blockDim.x))
    bins[i] = 0;
  int64_t voxel = b.first_voxel;
  for (int tile = 0; tile < DenseTiles::kTilesOfBlock && voxel < t.volume; ++tile, voxel += t.tile_voxels) {
    load_tile(t, b, voxel, x, cells);
    __syncthreads();
    for_each_group(b, cells, [&](int c, int, A value) {
      const bool candidate = is_candidate(value, value != A{0}, rule);
      if (candidate && histograms)
        atomicAdd(&bins[c * cuda::kSelectBins + cuda::bin_of<A>(rank_of(value, rule), 0)], 1);
      const unsigned lanes = __ballot_sync(cuda::kAllLanes, candidate);
      if (lanes && cuda::lane_index() == 0) atomicAdd(&totals[c], __popc(lanes));
    });
    __syncthreads();
  }
  if (static_cast<int>(threadIdx.x) < b.channels)
    counts[b.list(t, static_cast<int>(threadIdx.x)) * t.blocks_of_row + b.block_of_row] = totals[threadIdx.x];
  if (!histograms) return;
  for (int i = static_cast<int>(threadIdx.x); i < b.channels * cuda::kSelectBins; i += static_cast<int>(blockDim.x))
    if (bins[i]) atomicAdd(&histograms[b.list(t, 0) * cuda::kSelectBins + i], bins[i]);
}

// The histogram of the next bits of those candidates that may be the threshold, in lists that are cut.
template <class T>
__global__ void refine_dense_kernel(DenseTiles t, Rule rule, int pass, const T* x,
                                    const Threshold<Accum<T>>* thresholds, int32_t* histograms) {
  using A = Accum<T>;
  JAXSPARSE_SHARED(A, cells, kCells);
  JAXSPARSE_SHARED(int32_t, bins, DenseTiles::kChannels* cuda::kSelectBins);
  const DenseBlock b(t, blockIdx.x);
  if (!any_cut(t, b, thresholds)) return;
  for (int i = static_cast<int>(threadIdx.x); i < b.channels * cuda::kSelectBins; i += static_cast<int>(blockDim.x))
    bins[i] = 0;
  int64_t voxel = b.first_voxel;
  for (int tile = 0; tile < DenseTiles::kTilesOfBlock && voxel < t.volume; ++tile, voxel += t.tile_voxels) {
    load_tile(t, b, voxel, x, cells);
    __syncthreads();
    for_each_group(b, cells, [&](int c, int, A value) {
      const Threshold<A> threshold = thresholds[b.list(t, c)];
      if (!threshold.cut || !is_candidate(value, value != A{0}, rule)) return;
      const Rank<A> rank = rank_of(value, rule);
      if (cuda::may_be_threshold(threshold, rank, pass))
        atomicAdd(&bins[c * cuda::kSelectBins + cuda::bin_of<A>(rank, pass)], 1);
    });
    __syncthreads();
  }
  for (int i = static_cast<int>(threadIdx.x); i < b.channels * cuda::kSelectBins; i += static_cast<int>(blockDim.x))
    if (bins[i]) atomicAdd(&histograms[b.list(t, 0) * cuda::kSelectBins + i], bins[i]);
}

// Whether a voxel's value is kept for sure, or if it is among the first ties.
template <class T>
__device__ Verdict verdict_of(Accum<T> value, Rule rule, const Threshold<Accum<T>>* threshold) {
  using A = Accum<T>;
  if (!is_candidate(value, value != A{0}, rule)) return Verdict::kOut;
  if (!threshold) return Verdict::kAbove;
  return cuda::verdict(*threshold, rank_of(value, rule), cuda::kSelectPasses<T>);
}

// In lists that are cut: the entries above the threshold, and the ties. (Of others `above` has them already.)
template <class T>
__global__ void recount_dense_kernel(DenseTiles t, Rule rule, const T* x, const Threshold<Accum<T>>* thresholds,
                                     int32_t* above, int32_t* ties) {
  using A = Accum<T>;
  JAXSPARSE_SHARED(A, cells, kCells);
  JAXSPARSE_SHARED(int32_t, totals, 2 * DenseTiles::kChannels);
  const DenseBlock b(t, blockIdx.x);
  const bool needed = any_cut(t, b, thresholds);
  if (threadIdx.x < 2 * DenseTiles::kChannels) totals[threadIdx.x] = 0;
  int64_t voxel = b.first_voxel;
  for (int tile = 0; needed && tile < DenseTiles::kTilesOfBlock && voxel < t.volume; ++tile, voxel += t.tile_voxels) {
    load_tile(t, b, voxel, x, cells);
    __syncthreads();
    for_each_group(b, cells, [&](int c, int, A value) {
      const Verdict verdict = verdict_of<T>(value, rule, &thresholds[b.list(t, c)]);
      const int over = __popc(__ballot_sync(cuda::kAllLanes, verdict == Verdict::kAbove));
      const int tied = __popc(__ballot_sync(cuda::kAllLanes, verdict == Verdict::kTie));
      if (cuda::lane_index() == 0) {
        if (over) atomicAdd(&totals[2 * c], over);
        if (tied) atomicAdd(&totals[2 * c + 1], tied);
      }
    });
    __syncthreads();
  }
  __syncthreads();
  if (static_cast<int>(threadIdx.x) >= b.channels) return;
  const int c = static_cast<int>(threadIdx.x);
  const int64_t at = b.list(t, c) * t.blocks_of_row + b.block_of_row;
  if (thresholds[b.list(t, c)].cut) above[at] = totals[2 * c];
  ties[at] = totals[2 * c + 1];
}

// ---- from_dense: writing
// -----------------------------------------------------------------------------------------------

// counts[i] = `before` + the bits of words 0 to i - 1, by all lanes of a warp, which all get the sum over all n words.
// To be used by no other warp before a barrier.
__device__ inline int32_t count_before(const unsigned* words, int n, int32_t before, int32_t* counts) {
  for (int begin = 0; begin < n; begin += cuda::kWarp) {
    const int i = begin + cuda::lane_index();
    const int32_t bits = i < n ? __popc(words[i]) : 0, up_to = cuda::warp_inclusive_scan(bits);
    if (i < n) counts[i] = before + up_to - bits;
    before += __shfl_sync(cuda::kAllLanes, up_to, cuda::kWarp - 1);
  }
  return before;
}

// `above` and `ties` have how many there are before this block; null thresholds: nothing is cut anywhere.
template <class T>
__global__ void emit_dense_kernel(DenseTiles t, Rule rule, int64_t capacity, const T* x,
                                  const Threshold<Accum<T>>* thresholds, const int32_t* above, const int32_t* ties,
                                  int32_t* keys, T* values) {
  using A = Accum<T>;
  JAXSPARSE_SHARED(A, cells, kCells);
  // Which lanes of a group are above the threshold or tie, and how many are so before the group.
  JAXSPARSE_SHARED(unsigned, over, kGroups);
  JAXSPARSE_SHARED(unsigned, tied, kGroups);
  JAXSPARSE_SHARED(int32_t, over_before, kGroups);
  JAXSPARSE_SHARED(int32_t, tied_before, kGroups);
  JAXSPARSE_SHARED(int32_t, over_so_far, DenseTiles::kChannels);
  JAXSPARSE_SHARED(int32_t, tied_so_far, DenseTiles::kChannels);
  const DenseBlock b(t, blockIdx.x);
  if (static_cast<int>(threadIdx.x) < b.channels) {
    const int64_t list = b.list(t, static_cast<int>(threadIdx.x)), at = list * t.blocks_of_row + b.block_of_row;
    over_so_far[threadIdx.x] = above[at];
    tied_so_far[threadIdx.x] = thresholds && thresholds[list].cut ? ties[at] : 0;
  }
  int64_t voxel = b.first_voxel;
  for (int tile = 0; tile < DenseTiles::kTilesOfBlock && voxel < t.volume; ++tile, voxel += t.tile_voxels) {
    load_tile(t, b, voxel, x, cells);
    __syncthreads();
    for_each_group(b, cells, [&](int c, int group, A value) {
      const Verdict verdict = verdict_of<T>(value, rule, thresholds ? &thresholds[b.list(t, c)] : nullptr);
      const unsigned over_lanes = __ballot_sync(cuda::kAllLanes, verdict == Verdict::kAbove);
      const unsigned tied_lanes = __ballot_sync(cuda::kAllLanes, verdict == Verdict::kTie);
      if (cuda::lane_index() == 0) {
        over[c * b.groups + group] = over_lanes;
        tied[c * b.groups + group] = tied_lanes;
      }
    });
    __syncthreads();
    for (int c = cuda::warp_index(); c < b.channels; c += static_cast<int>(blockDim.x) / cuda::kWarp) {
      over_so_far[c] = count_before(over + c * b.groups, b.groups, over_so_far[c], over_before + c * b.groups);
      tied_so_far[c] = count_before(tied + c * b.groups, b.groups, tied_so_far[c], tied_before + c * b.groups);
    }
    __syncthreads();
    for_each_group(b, cells, [&](int c, int group, A value) {
      const int i = c * b.groups + group;
      const unsigned mine = 1u << cuda::lane_index(), lower = mine - 1;
      if (!((over[i] | tied[i]) & mine)) return;
      const int32_t keep = thresholds ? thresholds[b.list(t, c)].keep : 0;
      const int32_t before = tied_before[i] + __popc(tied[i] & lower);  // ties
      if ((tied[i] & mine) && before >= keep) return;
      const int64_t place =
          b.list(t, c) * capacity + over_before[i] + __popc(over[i] & lower) + (before < keep ? before : keep);
      keys[place] = static_cast<int32_t>(voxel + group * cuda::kWarp + cuda::lane_index());
      values[place] = from_accum<T>(value);
    });
    __syncthreads();
  }
}

template <class T>
void from_dense(Device& device, const DenseSizes& all, const T* x_all, Rule rule, int32_t* all_keys, T* all_values,
                int32_t* all_found) {
  using A = Accum<T>;
  const auto& stream = device.stream;
  const auto bytes = [](const DenseSizes& n) { return FromDenseScratch<T>(n, nullptr).bytes; };
  for_each_dense_stretch(device, all, bytes, [&](const DenseSizes& n, int64_t first) {
    const DenseTiles tiles(n.volume, n.channels);
    const FromDenseScratch<T> scratch(n, device.workspace.data);
    const cuda::Grid grid{tiles.blocks(n.batch), kListThreads};
    const int64_t lists = n.batch * n.channels, list = first * n.channels;
    const T* x = x_all + first * n.volume * n.channels;
    int32_t *keys = all_keys + list * n.capacity, *found = all_found + list;
    T* values = all_values + list * n.capacity;
    const int64_t bins = lists * cuda::kSelectBins;
    int32_t* histograms = scratch.select.histograms;
    Threshold<A>* thresholds = scratch.select.thresholds;

    cuda::clear(stream, histograms, histograms ? cuda::kSelectPasses<T> * bins * int64_t{sizeof(int32_t)} : 0);
    launch(stream, grid, count_dense_kernel<T>, tiles, rule, x, scratch.above, histograms);
    if (thresholds) {
      cuda::sum_rows(stream, lists, tiles.blocks_of_row, scratch.above, found);
      for (int pass = 0; pass < cuda::kSelectPasses<T>; ++pass) {
        if (pass)
          launch(stream, grid, refine_dense_kernel<T>, tiles, rule, pass, x, thresholds, histograms + pass * bins);
        cuda::choose(stream, lists, pass, n.capacity, found, scratch.select);
      }
      launch(stream, grid, recount_dense_kernel<T>, tiles, rule, x, thresholds, scratch.above, scratch.ties);
      cuda::scan_rows(stream, lists, tiles.blocks_of_row, scratch.ties, nullptr);
    }
    cuda::scan_rows(stream, lists, tiles.blocks_of_row, scratch.above, thresholds ? nullptr : found);
    launch(stream, grid, emit_dense_kernel<T>, tiles, rule, n.capacity, x, thresholds, scratch.above, scratch.ties,
           keys, values);
    cuda::fill_unused(stream, {lists, n.capacity}, n.volume, found, keys, values);
  });
}

// ---- to_dense and gather_dense
// -------------------------------------------------------------------------------------------

// Runs body(chunks, stored, first batch element, first slot) for stretches of the batch.
template <class Body>
void for_each_stored_stretch(const Device& device, const DenseSizes& all, const int32_t* keys, Body&& body) {
  const auto bytes = [](const DenseSizes& n) { return DenseListScratch(n, nullptr).bytes; };
  for_each_dense_stretch(device, all, bytes, [&](const DenseSizes& n, int64_t first) {
    const Chunks chunks(n.batch * n.channels, n.capacity);
    const int64_t at = first * n.channels * n.capacity;
    const DenseListScratch scratch(n, device.workspace.data);
    body(chunks, cuda::find_stored(device.stream, chunks, n.volume, keys + at, scratch.unused), first, at);
  });
}

template <class T>
__global__ void scatter_kernel(Chunks chunks, Stored stored, int64_t channels, const int32_t* keys, const T* values,
                               T* dense) {
  const Chunk chunk = chunks.of_block(blockIdx.x);
  const int64_t base = chunk.list * chunks.slots;
  const int64_t n = stored.of(chunks, keys + base, chunk.list), end = chunk.end < n ? chunk.end : n;
  T* to = dense + chunk.list / channels * stored.volume * channels + chunk.list % channels;
  for (int64_t i = chunk.begin + threadIdx.x; i < end; i += blockDim.x)
    to[keys[base + i] * channels] = values[base + i];
}

template <class T>
void to_dense(Device& device, const DenseSizes& all, const int32_t* keys, const T* values, T* dense) {
  const int64_t element = all.volume * all.channels;
  cuda::clear(device.stream, dense, all.batch * element * int64_t{sizeof(T)});
  for_each_stored_stretch(device, all, keys,
                          [&](const Chunks& chunks, const Stored& stored, int64_t first, int64_t at) {
                            launch(device.stream, {chunks.blocks(), kListThreads}, scatter_kernel<T>, chunks, stored,
                                   all.channels, keys + at, values + at, dense + first * element);
                          });
}

template <class T>
__global__ void gather_kernel(Chunks chunks, Stored stored, int64_t channels, const int32_t* keys, const T* dense,
                              T* values) {
  const Chunk chunk = chunks.of_block(blockIdx.x);
  const int64_t base = chunk.list * chunks.slots, n = stored.of(chunks, keys + base, chunk.list);
  const T* from = dense + chunk.list / channels * stored.volume * channels + chunk.list % channels;
  for (int64_t i = chunk.begin + threadIdx.x; i < chunk.end; i += blockDim.x)
    values[base + i] = i < n ? from[keys[base + i] * channels] : T{};
}

template <class T>
void gather_dense(Device& device, const DenseSizes& all, const int32_t* keys, const T* dense, T* values) {
  for_each_stored_stretch(device, all, keys,
                          [&](const Chunks& chunks, const Stored& stored, int64_t first, int64_t at) {
                            launch(device.stream, {chunks.blocks(), kListThreads}, gather_kernel<T>, chunks, stored,
                                   all.channels, keys + at, dense + first * all.volume * all.channels, values + at);
                          });
}

}  // namespace
}  // namespace jaxsparse

#include "convert_handlers.h"

namespace jaxsparse {

JAXSPARSE_CUDA_HANDLER(JaxsparseDirectFromDense, FromDense<cuda::Stream>, "select");
JAXSPARSE_CUDA_HANDLER(JaxsparseDirectToDense, ToDense<cuda::Stream>);
JAXSPARSE_CUDA_HANDLER(JaxsparseDirectGatherDense, GatherDense<cuda::Stream>);

}  // namespace jaxsparse
