// The sum of two tensors on the GPU: every entry finds its place by itself.
#include "merge_cuda.h"

#include "../bindings/ffi_cuda.h"
#include "../cuda/lists.h"
#include "../cuda/select_lists.cuh"

namespace jaxsparse {
namespace {

using cuda::Chunk;
using cuda::Chunks;
using cuda::Device;
using cuda::kListThreads;
using cuda::launch;
using cuda::Stored;
using cuda::Threshold;

// A tensor's lists, of one stretch of the batch.
template <class T>
struct Operand {
  const int32_t* keys;
  const T* values;
  int64_t capacity;
  const int32_t* stored;  // [lists]

  __device__ const int32_t* list(int64_t l) const { return keys + l * capacity; }
  // The first slot of list l at or behind a key.
  __device__ int64_t lower_bound(int64_t l, int32_t key) const {
    const int32_t* k = list(l);
    int64_t low = 0, high = stored[l];
    while (low < high) {
      const int64_t middle = (low + high) / 2;
      if (k[middle] < key)
        low = middle + 1;
      else
        high = middle;
    }
    return low;
  }
  __device__ bool has(int64_t l, int64_t slot, int32_t key) const { return slot < stored[l] && list(l)[slot] == key; }
};

template <class = void>
__global__ void count_stored_kernel(Chunks chunks, Stored stored, const int32_t* keys, int32_t* counts) {
  const int64_t list = blockIdx.x;
  const int64_t n = stored.of(chunks, keys + list * chunks.slots, list);
  if (threadIdx.x == 0) counts[list] = static_cast<int32_t>(n);
}

// For every entry of x: how many before it, in its chunk, y has, too.
template <class T>
__global__ void count_pairs_kernel(Chunks x_chunks, Operand<T> x, Operand<T> y, int32_t* pairs, int32_t* of_chunks) {
  const Chunk chunk = x_chunks.of_block(blockIdx.x);
  const int64_t n = x.stored[chunk.list], end = chunk.end < n ? chunk.end : n;
  int32_t before = 0;
  for (int64_t begin = chunk.begin; begin < end; begin += blockDim.x) {
    const int64_t i = begin + threadIdx.x;
    bool pair = false;
    if (i < end) {
      const int32_t key = x.list(chunk.list)[i];
      pair = y.has(chunk.list, y.lower_bound(chunk.list, key), key);
    }
    const auto scan = cuda::block_scan<int32_t>(pair);
    if (i < end) pairs[chunk.list * x.capacity + i] = before + scan.before;
    before += scan.total;
  }
  if (threadIdx.x == 0) of_chunks[blockIdx.x] = before;
}

// The number of pairs before an entry of x, or before the end of its list.
struct Pairs {
  const int32_t *in_chunk, *of_chunks, *of_lists;

  __device__ int64_t before(const Chunks& x_chunks, int64_t list, int64_t slot, int64_t stored) const {
    if (slot >= stored) return of_lists[list];
    return in_chunk[list * x_chunks.slots + slot] + of_chunks[list * x_chunks.per_list + slot / x_chunks.size];
  }
};

// Where the entries of the sum go: to the results, or first to the union of which the strongest are kept.
template <class A, class T>
struct MergeOutput {
  UnionLists<A> all;
  int64_t all_slots, slots;
  int32_t* keys;
  T* values;
  int32_t *x_source, *y_source;

  __device__ void put(int64_t list, int64_t place, int32_t key, A value, int64_t x_slot, int64_t y_slot) const {
    const int64_t at = list * (all.key ? all_slots : slots) + place;
    (all.key ? all.key : keys)[at] = key;
    (all.key ? all.x_source : x_source)[at] = static_cast<int32_t>(x_slot);
    (all.key ? all.y_source : y_source)[at] = static_cast<int32_t>(y_slot);
    if (all.key)
      all.value[at] = value;
    else
      values[at] = from_accum<T>(value);
  }
};

// Entries of x, with what y has at the same key.
template <class T>
__global__ void place_x_kernel(Chunks x_chunks, Operand<T> x, Operand<T> y, Pairs pairs, MergeOutput<Accum<T>, T> out,
                               int32_t* found) {
  const Chunk chunk = x_chunks.of_block(blockIdx.x);
  const int64_t l = chunk.list, n = x.stored[l], end = chunk.end < n ? chunk.end : n;
  if (chunk.begin == 0 && threadIdx.x == 0) found[l] = static_cast<int32_t>(n + y.stored[l] - pairs.of_lists[l]);
  for (int64_t i = chunk.begin + threadIdx.x; i < end; i += blockDim.x) {
    const int32_t key = x.list(l)[i];
    const int64_t j = y.lower_bound(l, key);
    Accum<T> value = to_accum(x.values[l * x.capacity + i]);
    const bool pair = y.has(l, j, key);
    if (pair) value += to_accum(y.values[l * y.capacity + j]);
    out.put(l, i + j - pairs.before(x_chunks, l, i, n), key, value, i, pair ? j : -1);
  }
}

// Entries of y that x has not.
template <class T>
__global__ void place_y_kernel(Chunks x_chunks, Chunks y_chunks, Operand<T> x, Operand<T> y, Pairs pairs,
                               MergeOutput<Accum<T>, T> out) {
  const Chunk chunk = y_chunks.of_block(blockIdx.x);
  const int64_t l = chunk.list, n = y.stored[l], end = chunk.end < n ? chunk.end : n;
  for (int64_t j = chunk.begin + threadIdx.x; j < end; j += blockDim.x) {
    const int32_t key = y.list(l)[j];
    const int64_t i = x.lower_bound(l, key);
    if (x.has(l, i, key)) continue;
    out.put(l, i + j - pairs.before(x_chunks, l, i, x.stored[l]), key, to_accum(y.values[l * y.capacity + j]), -1, j);
  }
}

// The kept entries of the union.
template <class T>
__global__ void emit_union_kernel(Chunks chunks, const int32_t* found, cuda::ListSelection<Accum<T>> selection,
                                  MergeOutput<Accum<T>, T> out) {
  const int64_t list = chunks.of_block(blockIdx.x).list;
  cuda::for_each_kept(chunks, Rule::kMagnitude, found, out.all.value, selection.scratch.thresholds, selection.above,
                      selection.ties, [&](int64_t entry, int64_t slot) {
                        const int64_t from = list * out.all_slots + entry, to = list * out.slots + slot;
                        out.keys[to] = out.all.key[from];
                        out.values[to] = from_accum<T>(out.all.value[from]);
                        out.x_source[to] = out.all.x_source[from];
                        out.y_source[to] = out.all.y_source[from];
                      });
}

template <class = void>
__global__ void fill_sources_kernel(Chunks chunks, const int32_t* found, int32_t* x_source, int32_t* y_source) {
  const Chunk chunk = chunks.of_block(blockIdx.x);
  const int64_t base = chunk.list * chunks.slots;
  for (int64_t i = chunk.begin + threadIdx.x; i < chunk.end; i += blockDim.x)
    if (i >= found[chunk.list]) x_source[base + i] = y_source[base + i] = -1;
}

template <class T>
void add(Device& device, const MergeSizes& all, int64_t volume, const int32_t* x_keys, const T* x_values,
         const int32_t* y_keys, const T* y_values, int32_t* keys, T* values, int32_t* all_found, int32_t* x_source,
         int32_t* y_source) {
  using A = Accum<T>;
  using Scratch = MergeScratchCuda<A>;
  const auto& stream = device.stream;
  const auto of = [&](int64_t elements) {
    return MergeSizes{elements, all.channels, all.x_capacity, all.y_capacity, all.out_capacity};
  };
  const auto bytes_of = [&](int64_t elements) { return Scratch(of(elements), volume, nullptr).bytes; };
  cuda::for_each_stretch(all.batch, device.workspace.bytes, bytes_of, [&](int64_t first, int64_t elements) {
    const MergeSizes n = of(elements);
    const Scratch scratch(n, volume, device.workspace.data);
    const int64_t lists = n.batch * n.channels, list = first * n.channels, to = list * n.out_capacity;
    const Chunks x_chunks(lists, n.x_capacity), y_chunks(lists, n.y_capacity), chunks(lists, n.out_capacity);
    const Operand<T> x{x_keys + list * n.x_capacity, x_values + list * n.x_capacity, n.x_capacity, scratch.x_stored};
    const Operand<T> y{y_keys + list * n.y_capacity, y_values + list * n.y_capacity, n.y_capacity, scratch.y_stored};
    const auto count = [&](const Chunks& c, const Operand<T>& operand, int32_t* unused, int32_t* counts) {
      const Stored stored = cuda::find_stored(stream, c, volume, operand.keys, unused);
      launch(stream, {lists, kListThreads}, count_stored_kernel<>, c, stored, operand.keys, counts);
    };
    count(x_chunks, x, scratch.x_unused, scratch.x_stored);
    count(y_chunks, y, scratch.y_unused, scratch.y_stored);

    const Pairs pairs{scratch.pairs, scratch.pairs_of_chunks, scratch.pairs_of_lists};
    launch(stream, {x_chunks.blocks(), kListThreads}, count_pairs_kernel<T>, x_chunks, x, y, scratch.pairs,
           scratch.pairs_of_chunks);
    cuda::scan_rows(stream, lists, x_chunks.per_list, scratch.pairs_of_chunks, scratch.pairs_of_lists);

    const Chunks union_chunks = Scratch::chunks_of_union(n);
    const MergeOutput<A, T> out{scratch.all, union_chunks.slots, n.out_capacity, keys + to,
                                values + to, x_source + to,      y_source + to};
    int32_t* found = all_found + list;
    launch(stream, {x_chunks.blocks(), kListThreads}, place_x_kernel<T>, x_chunks, x, y, pairs, out, found);
    launch(stream, {y_chunks.blocks(), kListThreads}, place_y_kernel<T>, x_chunks, y_chunks, x, y, pairs, out);
    if (scratch.all.key) {
      cuda::select_lists(stream, union_chunks, Rule::kMagnitude, n.out_capacity, found, scratch.all.value,
                         scratch.selection);
      launch(stream, {union_chunks.blocks(), kListThreads}, emit_union_kernel<T>, union_chunks, found,
             scratch.selection, out);
    }
    cuda::fill_unused(stream, chunks, volume, found, out.keys, out.values);
    launch(stream, {chunks.blocks(), kListThreads}, fill_sources_kernel<>, chunks, found, out.x_source, out.y_source);
  });
}

}  // namespace
}  // namespace jaxsparse

#include "merge_handlers.h"

namespace jaxsparse {

JAXSPARSE_CUDA_HANDLER(JaxsparseDirectAdd, Add<cuda::Stream>, "volume");

}  // namespace jaxsparse
