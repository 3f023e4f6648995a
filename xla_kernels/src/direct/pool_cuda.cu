// Pooling on the GPU. A block has a tile of the output: entries mark the windows that hold them in a bitmap, and a
// thread joins the entries of a marked window. Where windows do not fit, the rank of the weakest one that stays is
// found digit by digit; windows are joined again in every pass.
#include "pool_cuda.h"

#include "../bindings/ffi_cuda.h"
#include "../cuda/lists.h"
#include "pool_boxes.h"

namespace jaxsparse {
namespace {

using cuda::Chunks;
using cuda::Device;
using cuda::kListThreads;
using cuda::launch;
using cuda::Stored;

template <class T>
struct PoolInput {
  PoolBoxes boxes;
  PoolTiles tiles;
  Chunks pieces;
  Stored stored;
  const int32_t* keys;
  const T* values;
};

// The list of a tile.
template <class T>
struct PoolList {
  const int32_t* keys;
  const T* values;
  int64_t list, n;
  PoolTiles::Tile tile;

  // By all threads of a block.
  __device__ explicit PoolList(const PoolInput<T>& in) : list(blockIdx.x / in.tiles.per_list) {
    keys = in.keys + list * in.pieces.slots;
    values = in.values + list * in.pieces.slots;
    n = in.stored.of(in.pieces, keys, list);
    tile = in.tiles.of(blockIdx.x % in.tiles.per_list);
  }
};

// Marks, in bits[kListThreads], the windows of a tile that hold stored entries. By all threads of a block.
template <class T>
__device__ void mark_windows(const PoolBoxes& boxes, const PoolList<T>& x, unsigned* bits) {
  const auto key = static_cast<int32_t>(x.tile.key);
  const Box tile{boxes.out.voxel(key), boxes.out.voxel(key + static_cast<int32_t>(x.tile.cells) - 1)};
  bits[threadIdx.x] = 0;
  __syncthreads();
  const Box reached{boxes.voxels_of(tile.low).low, boxes.voxels_of(tile.high).high};
  int64_t begin = 0, end = 0;
  if (!reached.empty()) {
    begin = first_not_below(x.keys, 0, x.n, boxes.in.key(reached.low));
    end = first_not_below(x.keys, begin, x.n, boxes.in.key(reached.high) + 1);
  }
  for (int64_t i = begin + threadIdx.x; i < end; i += blockDim.x) {
    Box windows = boxes.windows_of(boxes.in.voxel(x.keys[i]));
    for (int d = 0; d < kMaxDims; ++d) {
      if (windows.low.at[d] < tile.low.at[d]) windows.low.at[d] = tile.low.at[d];
      if (windows.high.at[d] > tile.high.at[d]) windows.high.at[d] = tile.high.at[d];
    }
    if (windows.empty()) continue;
    for (Voxel o = windows.low;;) {
      const auto cell = static_cast<unsigned>(boxes.out.key(o) - key);
      atomicOr(&bits[cell / 32], 1u << cell % 32);
      int d = kMaxDims - 1;  // the next window
      for (; d >= 0 && o.at[d] == windows.high.at[d]; --d) o.at[d] = windows.low.at[d];
      if (d < 0) break;
      ++o.at[d];
    }
  }
  __syncthreads();
}

template <class T>
__global__ void count_windows_kernel(PoolInput<T> in, int32_t* counts) {
  JAXSPARSE_SHARED(unsigned, bits, kListThreads);
  mark_windows(in.boxes, PoolList<T>(in), bits);
  const int32_t total = cuda::block_scan<int32_t>(__popc(bits[threadIdx.x])).total;
  if (threadIdx.x == 0) counts[blockIdx.x] = total;
}

template <class A>
struct PooledWindow {
  bool is;
  int32_t key, extra;
  A value;
};

// Calls visit(window) for the windows of a block's tile, by key: one for every thread at a time, and nothing behind the
// last one. By all threads of a block.
template <template <class> class Join, class T, class Visit>
__device__ void for_windows(const PoolInput<T>& in, const PoolList<T>& x, Visit&& visit) {
  using A = Accum<T>;
  JAXSPARSE_SHARED(unsigned, bits, kListThreads);
  JAXSPARSE_SHARED(uint16_t, cells, PoolTiles::kCells);
  mark_windows(in.boxes, x, bits);
  const auto scan = cuda::block_scan<int32_t>(__popc(bits[threadIdx.x]));
  int32_t place = scan.before;
  for (unsigned word = bits[threadIdx.x]; word; word &= word - 1)
    cells[place++] = static_cast<uint16_t>(threadIdx.x * 32 + static_cast<unsigned>(__ffs(static_cast<int>(word))) - 1);
  __syncthreads();
  for (int32_t begin = 0; begin < scan.total; begin += static_cast<int32_t>(blockDim.x)) {
    const int32_t i = begin + static_cast<int32_t>(threadIdx.x);
    PooledWindow<A> window{i < scan.total, 0, 0, 0};
    if (window.is) {
      window.key = static_cast<int32_t>(x.tile.key) + cells[i];
      bool first = true;
      walk_box<false>(in.boxes.in, in.boxes.voxels_of(in.boxes.out.voxel(window.key)), x.keys, x.n,
                      [&](int64_t at, const Voxel&) {
                        const A value = to_accum(x.values[at]);
                        const auto slot = static_cast<int32_t>(at);
                        if (first) {
                          window.value = value;
                          window.extra = Join<A>::first(slot);
                        } else {
                          Join<A>::join(window.value, window.extra, value, slot);
                        }
                        first = false;
                      });
      window.value = Join<A>::result(window.value, window.extra);
    }
    visit(window);
  }
}

// Which windows of a list stay: those above the bar, and the first few at it.
struct PoolCut {
  int64_t out_capacity;
  const int32_t* found;  // [lists]
  uint64_t* bar;         // null where all windows fit
  int32_t* kept_ties;
  uint32_t* bins;

  __device__ bool cuts(int64_t list) const { return bar && found[list] > out_capacity; }
};

// Counts the windows whose rank starts with the digits of the bar that are known, by the next digit: the one at
// `shift`.
template <template <class> class Join, class T>
__global__ void count_ranks_kernel(PoolInput<T> in, PoolCut cut, int shift, bool first) {
  const PoolList<T> x(in);
  if (!cut.cuts(x.list)) return;
  const uint64_t known = first ? 0 : cut.bar[x.list] >> shift >> PoolCudaScratch::kDigitBits;
  uint32_t* bins = cut.bins + x.list * PoolCudaScratch::kBins;
  for_windows<Join>(in, x, [&](const auto& window) {
    if (!window.is) return;
    const uint64_t rank = rank_of(window.value, Rule::kValue), digits = rank >> shift;
    if (first || digits >> PoolCudaScratch::kDigitBits == known)
      atomicAdd(&bins[digits & (PoolCudaScratch::kBins - 1)], uint32_t{1});
  });
}

// One more digit of every bar; one block a list. Clears the bins.
template <class = void>
__global__ void find_digit_kernel(PoolCut cut, int shift, bool first) {
  constexpr int kEach = static_cast<int>(PoolCudaScratch::kBins) / kListThreads;
  const int64_t list = blockIdx.x;
  if (!cut.cuts(list)) return;
  uint32_t* bins = cut.bins + list * PoolCudaScratch::kBins + PoolCudaScratch::kBins - 1 - threadIdx.x * kEach;
  const auto remaining = static_cast<uint32_t>(first ? cut.out_capacity : cut.kept_ties[list]);
  const uint64_t bar = first ? 0 : cut.bar[list];
  uint32_t sum = 0;
  for (int i = 0; i < kEach; ++i) sum += bins[-i];  // thread 0 has the highest ones
  uint32_t above = cuda::block_scan(sum).before;    // a barrier, too: all have read what one thread will write
  const bool mine = above < remaining && remaining <= above + sum;
  for (int i = 0; i < kEach; ++i) {
    const uint32_t count = bins[-i];
    bins[-i] = 0;
    if (mine && above < remaining && remaining <= above + count) {
      const auto digit = static_cast<uint64_t>(PoolCudaScratch::kBins - 1 - threadIdx.x * kEach - i);
      cut.bar[list] = bar | digit << shift;
      cut.kept_ties[list] = static_cast<int32_t>(remaining - above);
    }
    above += count;
  }
}

template <template <class> class Join, class T>
__global__ void count_kept_kernel(PoolInput<T> in, PoolCut cut, int32_t* above, int32_t* ties) {
  const PoolList<T> x(in);
  if (!cut.cuts(x.list)) return;
  const uint64_t bar = cut.bar[x.list];
  int32_t higher = 0, same = 0;
  for_windows<Join>(in, x, [&](const auto& window) {
    const uint64_t rank = rank_of(window.value, Rule::kValue);
    higher += window.is && rank > bar;
    same += window.is && rank == bar;
  });
  higher = cuda::block_scan(higher).total;
  same = cuda::block_scan(same).total;
  if (threadIdx.x == 0) {
    above[blockIdx.x] = higher;
    ties[blockIdx.x] = same;
  }
}

// `places` is null where a list is one tile and all fits: `found` is not known then.
template <template <class> class Join, class T>
__global__ void pool_kernel(PoolInput<T> in, PoolCut cut, const int32_t* places, const int32_t* above,
                            const int32_t* ties, int32_t volume, int32_t* keys, T* values, int32_t* found,
                            int32_t* extra) {
  using A = Accum<T>;
  const PoolList<T> x(in);
  const int64_t base = x.list * cut.out_capacity;
  const bool cuts = cut.cuts(x.list);
  const uint64_t bar = cuts ? cut.bar[x.list] : 0;
  const int32_t kept_ties = cuts ? cut.kept_ties[x.list] : 0;
  int32_t tie = cuts ? ties[blockIdx.x] : 0;  // the number of the next one
  int64_t place = places ? places[blockIdx.x] : 0;
  if (cuts) place = above[blockIdx.x] + (tie < kept_ties ? tie : kept_ties);
  for_windows<Join>(in, x, [&](const PooledWindow<A>& window) {
    bool keep = window.is;
    if (cuts) {
      const uint64_t rank = rank_of(window.value, Rule::kValue);
      const auto same = cuda::block_scan<int32_t>(window.is && rank == bar);
      keep = window.is && (rank > bar || (rank == bar && tie + same.before < kept_ties));
      tie += same.total;
    }
    const auto scan = cuda::block_scan<int32_t>(keep);
    if (keep) {
      const int64_t at = base + place + scan.before;
      keys[at] = window.key;
      values[at] = from_accum<T>(window.value);
      extra[at] = window.extra;
    }
    place += scan.total;
  });
  if (!places && threadIdx.x == 0) found[x.list] = static_cast<int32_t>(place);
  const int64_t total = places ? found[x.list] : place;
  const int64_t tile = blockIdx.x % in.tiles.per_list, each = cuda::blocks_of(cut.out_capacity, in.tiles.per_list);
  const int64_t end = (tile + 1) * each < cut.out_capacity ? (tile + 1) * each : cut.out_capacity;
  for (int64_t i = tile * each + threadIdx.x; i < end; i += blockDim.x) {
    if (i < total) continue;
    keys[base + i] = volume;
    values[base + i] = from_accum<T>(0);
    extra[base + i] = Join<A>::kUnused;
  }
}

// Finds the bars of lists whose windows do not fit, and the places of what stays.
template <template <class> class Join, class T>
void cut_windows(const cuda::Stream& stream, const PoolInput<T>& in, const PoolCut& cut, const PoolCudaScratch& scratch,
                 int64_t lists) {
  constexpr int kBits = sizeof(Rank<Accum<T>>) * 8, kDigit = PoolCudaScratch::kDigitBits;
  const int64_t tiles = lists * in.tiles.per_list;
  cuda::clear(stream, scratch.bins, lists * PoolCudaScratch::kBins * static_cast<int64_t>(sizeof(uint32_t)));
  for (int shift = (kBits - 1) / kDigit * kDigit; shift >= 0; shift -= kDigit) {
    const bool first = shift + kDigit >= kBits;
    launch(stream, {tiles, kListThreads}, count_ranks_kernel<Join, T>, in, cut, shift, first);
    launch(stream, {lists, kListThreads}, find_digit_kernel<>, cut, shift, first);
  }
  launch(stream, {tiles, kListThreads}, count_kept_kernel<Join, T>, in, cut, scratch.above, scratch.ties);
  cuda::scan_rows(stream, lists, in.tiles.per_list, scratch.above, scratch.totals);
  cuda::scan_rows(stream, lists, in.tiles.per_list, scratch.ties, scratch.totals);
}

template <template <class> class Join, class T>
void pool_lists(Device& device, const PoolWindows& windows, const PoolSizes& all, const int32_t* x_keys,
                const T* x_values, int32_t* keys, T* values, int32_t* found, int32_t* extra) {
  const ConvGeometry& g = windows.geometry;
  const auto stretch = [&](int64_t elements) {
    return PoolSizes{elements, all.channels, all.capacity, all.out_capacity};
  };
  const auto bytes_of = [&](int64_t elements) { return PoolCudaScratch(stretch(elements), g, nullptr).bytes; };
  cuda::for_each_stretch(all.batch, device.workspace.bytes, bytes_of, [&](int64_t first, int64_t elements) {
    const PoolSizes n = stretch(elements);
    const PoolCudaScratch scratch(n, g, device.workspace.data);
    const int64_t list = first * n.channels, from = list * n.capacity, to = list * n.out_capacity;
    const Chunks pieces = PoolCudaScratch::pieces(n.lists(), n.capacity);
    const Stored stored = cuda::find_stored(device.stream, pieces, windows.in_volume(), x_keys + from, scratch.unused);
    const PoolInput<T> in{PoolBoxes(g), PoolTiles(g), pieces, stored, x_keys + from, x_values + from};
    const PoolCut cut{n.out_capacity, found + list, scratch.bar, scratch.kept_ties, scratch.bins};
    const int64_t tiles = n.lists() * in.tiles.per_list;
    if (scratch.places) {
      launch(device.stream, {tiles, kListThreads}, count_windows_kernel<T>, in, scratch.places);
      cuda::scan_rows(device.stream, n.lists(), in.tiles.per_list, scratch.places, found + list);
    }
    if (scratch.bar) cut_windows<Join>(device.stream, in, cut, scratch, n.lists());
    launch(device.stream, {tiles, kListThreads}, pool_kernel<Join, T>, in, cut, scratch.places, scratch.above,
           scratch.ties, static_cast<int32_t>(windows.out_volume()), keys + to, values + to, found + list, extra + to);
  });
}

}  // namespace
}  // namespace jaxsparse

#include "pool_handlers.h"

namespace jaxsparse {

JAXSPARSE_CUDA_HANDLER(JaxsparseDirectMaxPool, kMaxPool<cuda::Stream>, "spatial_shape", "out_shape", "window",
                       "strides");
JAXSPARSE_CUDA_HANDLER(JaxsparseDirectAvgPool, kAvgPool<cuda::Stream>, "spatial_shape", "out_shape", "window",
                       "strides");

}  // namespace jaxsparse
