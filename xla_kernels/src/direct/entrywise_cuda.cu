// The operations on single entries on the GPU.
#include "entrywise_cuda.h"

#include "../bindings/ffi_cuda.h"
#include "stored_cuda.cuh"
#include "sums_cuda.cuh"

namespace jaxsparse {
namespace {

using cuda::Chunk;
using cuda::Chunks;
using cuda::Device;
using cuda::kListThreads;
using cuda::launch;
using cuda::Stored;

// The stretch [first, first + elements) of a batch, in lists.
ListSizes stretch(const ListSizes& n, int64_t elements) { return {elements, n.channels, n.capacity}; }

// ---- relu
// --------------------------------------------------------------------------------------------------------------

template <class T>
__device__ bool is_kept(T value) {
  return !(to_accum(value) <= 0);
}

template <class T>
__global__ void relu_count_kernel(Chunks chunks, Stored stored, const int32_t* keys, const T* values, int32_t* kept) {
  const Chunk chunk = chunks.of_block(blockIdx.x);
  const int64_t base = chunk.list * chunks.slots;
  const int64_t n = stored.of(chunks, keys + base, chunk.list), end = chunk.end < n ? chunk.end : n;
  int32_t count = 0;
  for (int64_t i = chunk.begin + threadIdx.x; i < end; i += blockDim.x) count += is_kept(values[base + i]);
  const int32_t total = cuda::block_scan(count).total;
  if (threadIdx.x == 0) kept[blockIdx.x] = total;
}

// `places` has the place of every chunk's first kept entry; null where a chunk is a whole list, and `found` unknown.
template <class T>
__global__ void relu_kernel(Chunks chunks, Stored stored, const int32_t* x_keys, const T* x_values,
                            const int32_t* places, int32_t* keys, T* values, int32_t* found, int32_t* source) {
  const Chunk chunk = chunks.of_block(blockIdx.x);
  const int64_t base = chunk.list * chunks.slots;
  const int64_t n = stored.of(chunks, x_keys + base, chunk.list), end = chunk.end < n ? chunk.end : n;
  int64_t place = base + (places ? places[blockIdx.x] : 0);
  for (int64_t begin = chunk.begin; begin < end; begin += blockDim.x) {
    const int64_t i = begin + threadIdx.x;
    const T value = i < end ? x_values[base + i] : from_accum<T>(0);
    const bool keep = i < end && is_kept(value);
    const auto scan = cuda::block_scan<int32_t>(keep);
    if (keep) {
      keys[place + scan.before] = x_keys[base + i];
      values[place + scan.before] = value;
      source[place + scan.before] = static_cast<int32_t>(i);
    }
    place += scan.total;
  }
  if (!places && threadIdx.x == 0) found[chunk.list] = static_cast<int32_t>(place - base);
  const int64_t total = places ? found[chunk.list] : place - base;
  for (int64_t i = chunk.begin + threadIdx.x; i < chunk.end; i += blockDim.x) {
    if (i < total) continue;
    keys[base + i] = static_cast<int32_t>(stored.volume);
    values[base + i] = from_accum<T>(0);
    source[base + i] = -1;
  }
}

template <class T>
void relu(Device& device, const ListSizes& all, int64_t volume, const int32_t* x_keys, const T* x_values, int32_t* keys,
          T* values, int32_t* found, int32_t* source) {
  const auto bytes_of = [&](int64_t elements) { return ReluScratch(stretch(all, elements), nullptr).bytes; };
  cuda::for_each_stretch(all.batch, device.workspace.bytes, bytes_of, [&](int64_t first, int64_t elements) {
    const ListSizes n = stretch(all, elements);
    const ReluScratch scratch(n, device.workspace.data);
    const Chunks chunks(n.lists(), n.capacity);
    const int64_t list = first * n.channels, at = list * n.capacity;
    const Stored stored = cuda::find_stored(device.stream, chunks, volume, x_keys + at, scratch.unused);
    if (scratch.kept) {
      launch(device.stream, {chunks.blocks(), kListThreads}, relu_count_kernel<T>, chunks, stored, x_keys + at,
             x_values + at, scratch.kept);
      cuda::scan_rows(device.stream, chunks.lists, chunks.per_list, scratch.kept, found + list);
    }
    launch(device.stream, {chunks.blocks(), kListThreads}, relu_kernel<T>, chunks, stored, x_keys + at, x_values + at,
           scratch.kept, keys + at, values + at, found + list, source + at);
  });
}

// ---- take and put_add
// ----------------------------------------------------------------------------------------------------

template <class T>
__global__ void take_kernel(Chunks out_chunks, int64_t capacity, const T* values, const int32_t* source, T* out) {
  const Chunk chunk = out_chunks.of_block(blockIdx.x);
  const int64_t base = chunk.list * out_chunks.slots;
  for (int64_t i = chunk.begin + threadIdx.x; i < chunk.end; i += blockDim.x) {
    const int32_t from = source[base + i];
    out[base + i] = from >= 0 && from < capacity ? values[chunk.list * capacity + from] : from_accum<T>(0);
  }
}

template <class T>
void take(Device& device, const ListSizes& n, int64_t out_capacity, const T* values, const int32_t* source, T* out) {
  const Chunks chunks(n.lists(), out_capacity);
  launch(device.stream, {chunks.blocks(), kListThreads}, take_kernel<T>, chunks, n.capacity, values, source, out);
}

// Entries with one source become a chain, in whatever order the atomics take them.
template <class = void>
__global__ void put_add_link_kernel(Chunks in_chunks, int64_t capacity, const int32_t* source, int32_t* last,
                                    int32_t* before) {
  const Chunk chunk = in_chunks.of_block(blockIdx.x);
  const int64_t base = chunk.list * in_chunks.slots;
  for (int64_t i = chunk.begin + threadIdx.x; i < chunk.end; i += blockDim.x) {
    const int32_t to = source[base + i];
    // Links are counted from 1: cleared memory holds no links.
    if (to >= 0 && to < capacity)
      before[base + i] = atomicExch(&last[chunk.list * capacity + to], static_cast<int32_t>(i + 1));
  }
}

// A thread walks chains up to this length by itself, and sorts so many links at a time.
inline constexpr int kLongestWalk = 256, kSortedLinks = 32;

// The least links of a chain that are above `after`, ascending, at most kSortedLinks; how many there are, or -1 for a
// chain that is too long.
__device__ inline int next_links(int32_t link, const int32_t* before, int32_t after, int32_t* links) {
  int n = 0;
  for (int step = 0; link; link = before[link - 1], ++step) {
    if (step == kLongestWalk) return -1;
    if (link <= after || (n == kSortedLinks && link > links[n - 1])) continue;
    int at = n < kSortedLinks ? n++ : n - 1;
    for (; at > 0 && links[at - 1] > link; --at) links[at] = links[at - 1];
    links[at] = link;
  }
  return n;
}

// The sum of all values whose source is `slot`, ascending, by all lanes of a warp.
template <class T>
__device__ Accum<T> warp_sum_of_source(int64_t slot, int64_t n, const T* values, const int32_t* source) {
  Accum<T> sum = 0;
  for (int64_t begin = 0; begin < n; begin += cuda::kWarp) {
    const int64_t i = begin + cuda::lane_index();
    const bool mine = i < n && source[i] == slot;
    const Accum<T> value = mine ? to_accum(values[i]) : Accum<T>{0};
    for (unsigned lanes = __ballot_sync(cuda::kAllLanes, mine); lanes; lanes &= lanes - 1)
      sum += __shfl_sync(cuda::kAllLanes, value, __ffs(static_cast<int>(lanes)) - 1);
  }
  return sum;
}

template <class T>
__global__ void put_add_kernel(Chunks out_chunks, int64_t in_capacity, const T* values, const int32_t* source,
                               const int32_t* last, const int32_t* before, T* out) {
  using A = Accum<T>;
  const Chunk chunk = out_chunks.of_block(blockIdx.x);
  const int64_t base = chunk.list * out_chunks.slots, in_base = chunk.list * in_capacity;
  for (int64_t begin = chunk.begin; begin < chunk.end; begin += blockDim.x) {
    const int64_t slot = begin + threadIdx.x;
    int32_t links[kSortedLinks];
    const int32_t chain = slot < chunk.end ? last[base + slot] : 0;
    A sum = 0;
    int n = 0;
    for (int32_t after = 0;; after = links[kSortedLinks - 1]) {
      n = next_links(chain, before + in_base, after, links);
      for (int i = 0; i < n; ++i) sum += to_accum(values[in_base + links[i] - 1]);
      if (n < kSortedLinks) break;
    }
    for (unsigned lanes = __ballot_sync(cuda::kAllLanes, n < 0); lanes; lanes &= lanes - 1) {
      const int lane = __ffs(static_cast<int>(lanes)) - 1;
      const A longer =
          warp_sum_of_source(slot - cuda::lane_index() + lane, in_capacity, values + in_base, source + in_base);
      if (lane == cuda::lane_index()) sum = longer;
    }
    if (slot < chunk.end) out[base + slot] = from_accum<T>(sum);
  }
}

template <class T>
void put_add(Device& device, const ListSizes& all, int64_t in_capacity, const T* values, const int32_t* source,
             T* out) {
  const auto bytes_of = [&](int64_t elements) {
    return PutAddScratch(stretch(all, elements), in_capacity, nullptr).bytes;
  };
  cuda::for_each_stretch(all.batch, device.workspace.bytes, bytes_of, [&](int64_t first, int64_t elements) {
    const ListSizes n = stretch(all, elements);
    const PutAddScratch scratch(n, in_capacity, device.workspace.data);
    const Chunks in(n.lists(), in_capacity), chunks(n.lists(), n.capacity);
    const int64_t at = first * n.channels * in_capacity, to = first * n.channels * n.capacity;
    cuda::clear(device.stream, scratch.last, n.lists() * n.capacity * static_cast<int64_t>(sizeof(int32_t)));
    launch(device.stream, {in.blocks(), kListThreads}, put_add_link_kernel<>, in, n.capacity, source + at, scratch.last,
           scratch.before);
    launch(device.stream, {chunks.blocks(), kListThreads}, put_add_kernel<T>, chunks, in_capacity, values + at,
           source + at, scratch.last, scratch.before, out + to);
  });
}

// ---- masked_scale
// --------------------------------------------------------------------------------------------------------

template <class T>
__global__ void masked_scale_kernel(Chunks chunks, Stored stored, const int32_t* keys, const T* values,
                                    const bool* mask, const Accum<T>* factors, T* out) {
  const Chunk chunk = chunks.of_block(blockIdx.x);
  const int64_t base = chunk.list * chunks.slots;
  const int64_t n = stored.of(chunks, keys + base, chunk.list);
  for (int64_t i = chunk.begin + threadIdx.x; i < chunk.end; i += blockDim.x) {
    Accum<T> product = 0;
    if (i < n) {
      const Accum<T> factor = factors[mask[base + i] ? 0 : 1];
      if (factor != 0) product = to_accum(values[base + i]) * factor;
    }
    out[base + i] = from_accum<T>(product);
  }
}

template <class T>
void masked_scale(Device& device, const ListSizes& all, int64_t volume, const int32_t* keys, const T* values,
                  const bool* mask, const Accum<T>* factors, T* out) {
  cuda::for_each_stored_stretch(device, all, volume, keys, [&](const Chunks& chunks, const Stored& stored, int64_t at) {
    launch(device.stream, {chunks.blocks(), kListThreads}, masked_scale_kernel<T>, chunks, stored, keys + at,
           values + at, mask + at, factors, out + at);
  });
}

// ---- channel_sum
// ---------------------------------------------------------------------------------------------------------

template <class T>
void channel_sum(Device& device, const ListSizes& n, int64_t volume, const int32_t* keys, const T* values, T* out) {
  channel_totals<T>(device, n, volume, keys, [&](int64_t first) { return Value<T>{values + first}; }, out);
}

}  // namespace
}  // namespace jaxsparse

#include "entrywise_handlers.h"

namespace jaxsparse {

JAXSPARSE_CUDA_HANDLER(JaxsparseDirectRelu, Relu<cuda::Stream>, "volume");
JAXSPARSE_CUDA_HANDLER(JaxsparseDirectMaskedScale, MaskedScale<cuda::Stream>, "volume");
JAXSPARSE_CUDA_HANDLER(JaxsparseDirectTake, Take<cuda::Stream>);
JAXSPARSE_CUDA_HANDLER(JaxsparseDirectPutAdd, PutAdd<cuda::Stream>);
JAXSPARSE_CUDA_HANDLER(JaxsparseDirectChannelSum, ChannelSum<cuda::Stream>, "volume");

}  // namespace jaxsparse
