// Pooling of whole lists on the GPU.
#include "global_pool.h"

#include "../bindings/ffi_cuda.h"
#include "../core/score.h"
#include "stored_cuda.cuh"
#include "sums_cuda.cuh"

namespace jaxsparse {
namespace {

using cuda::Chunk;
using cuda::Chunks;
using cuda::Device;
using cuda::launch;
using cuda::Stored;

// Runs body(sizes, scratch, stored, first list, first slot) for stretches of the batch.
template <class Body>
void for_each_summed_stretch(Device& device, const ListSizes& all, int64_t volume, const int32_t* keys, Body&& body) {
  const auto of = [&](int64_t elements) { return ListSizes{elements, all.channels, all.capacity}; };
  const auto bytes_of = [&](int64_t elements) { return SumScratch(of(elements), nullptr).bytes; };
  cuda::for_each_stretch(all.batch, device.workspace.bytes, bytes_of, [&](int64_t first, int64_t elements) {
    const ListSizes n = of(elements);
    const SumScratch scratch(n, device.workspace.data);
    const int64_t list = first * n.channels, at = list * n.capacity;
    body(n, scratch, cuda::find_stored(device.stream, {n.lists(), n.capacity}, volume, keys + at, scratch.unused), list,
         at);
  });
}

// ---- The maximum
// -----------------------------------------------------------------------------------------------------

// A slot and its value's rank: NaN is the maximum, of equal ones the first counts.
template <class T>
struct Best {
  Rank<Accum<T>> rank;
  int32_t slot;  // -1: none

  __device__ void meet(const Best& other) {
    if (other.slot < 0) return;
    if (slot < 0 || other.rank > rank || (other.rank == rank && other.slot < slot)) *this = other;
  }
};
template <class T>
__device__ Best<T> best_of(const T* values, int64_t slot) {
  return {rank_of(to_accum(values[slot]), Rule::kValue), static_cast<int32_t>(slot)};
}

template <class T>
__device__ Best<T> block_best(Best<T> best) {
  JAXSPARSE_SHARED(Best<T>, of_warps, cuda::kWarp);
  for (int by = cuda::kWarp / 2; by > 0; by /= 2) {
    const auto rank = __shfl_xor_sync(cuda::kAllLanes, best.rank, by);
    const auto slot = __shfl_xor_sync(cuda::kAllLanes, best.slot, by);
    best.meet({rank, slot});
  }
  if (cuda::lane_index() == 0) of_warps[cuda::warp_index()] = best;
  __syncthreads();
  for (unsigned w = 0; w < blockDim.x / cuda::kWarp; ++w) best.meet(of_warps[w]);
  return best;
}

template <class T>
__global__ void segment_best_kernel(Chunks segments, Stored stored, const int32_t* keys, const T* values,
                                    int32_t* best_slots) {
  const Chunk chunk = segments.of_block(blockIdx.x);
  const int64_t base = chunk.list * segments.slots;
  const int64_t n = stored.of(segments, keys + base, chunk.list), end = chunk.end < n ? chunk.end : n;
  Best<T> best{0, -1};
  for (int64_t i = chunk.begin + threadIdx.x; i < end; i += blockDim.x) best.meet(best_of(values + base, i));
  best = block_best(best);
  if (threadIdx.x == 0) best_slots[blockIdx.x] = best.slot;
}

template <class T>
__global__ void list_best_kernel(Chunks segments, const int32_t* best_slots, const T* x_values, int32_t* keys,
                                 T* values, int32_t* found, int32_t* source) {
  const int64_t list = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (list >= segments.lists) return;
  const T* x = x_values + list * segments.slots;
  Best<T> best{0, -1};
  for (int64_t s = 0; s < segments.per_list; ++s) {
    const int32_t slot = best_slots[list * segments.per_list + s];
    if (slot >= 0) best.meet(best_of(x, slot));
  }
  keys[list] = best.slot >= 0 ? 0 : 1;
  values[list] = best.slot >= 0 ? x[best.slot] : from_accum<T>(0);
  found[list] = best.slot >= 0 ? 1 : 0;
  source[list] = best.slot;
}

template <class T>
void global_max_pool(Device& device, const ListSizes& all, int64_t volume, const int32_t* x_keys, const T* x_values,
                     int32_t* keys, T* values, int32_t* found, int32_t* source) {
  for_each_summed_stretch(
      device, all, volume, x_keys,
      [&](const ListSizes& n, const SumScratch& scratch, const Stored& stored, int64_t list, int64_t at) {
        const Chunks segments = sum_segments(n);
        launch(device.stream, {segments.blocks(), cuda::kListThreads}, segment_best_kernel<T>, segments, stored,
               x_keys + at, x_values + at, scratch.best);
        launch(device.stream, {cuda::blocks_of(n.lists(), 64), 64}, list_best_kernel<T>, segments, scratch.best,
               x_values + at, keys + list, values + list, found + list, source + list);
      });
}

// ---- The mean
// --------------------------------------------------------------------------------------------------------

template <class T>
__global__ void list_mean_kernel(Chunks segments, const double* sums, const int32_t* stored, T* out) {
  using A = Accum<T>;
  const int64_t list = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (list >= segments.lists) return;
  const int32_t n = stored[list];
  const double sum = sum_of_list(sums, list, segments.per_list, n);
  out[list] = from_accum<T>(n ? static_cast<A>(sum / static_cast<double>(n)) : A{0});
}

template <class T>
void global_avg_pool(Device& device, const ListSizes& all, int64_t volume, const int32_t* keys, const T* values,
                     T* out) {
  for_each_summed_stretch(
      device, all, volume, keys,
      [&](const ListSizes& n, const SumScratch& scratch, const Stored& stored, int64_t list, int64_t at) {
        const Chunks segments = sum_segments(n);
        launch(device.stream, {segments.blocks(), cuda::kListThreads}, list_sums_kernel<Value<T>>, segments, stored,
               keys + at, Value<T>{values + at}, scratch.sums, scratch.stored);
        launch(device.stream, {cuda::blocks_of(n.lists(), 64), 64}, list_mean_kernel<T>, segments, scratch.sums,
               scratch.stored, out + list);
      });
}

template <class T>
__global__ void global_avg_pool_grad_kernel(Chunks chunks, Stored stored, const int32_t* keys, const T* g, T* out) {
  using A = Accum<T>;
  const Chunk chunk = chunks.of_block(blockIdx.x);
  const int64_t base = chunk.list * chunks.slots, n = stored.of(chunks, keys + base, chunk.list);
  const T each = from_accum<T>(n ? to_accum(g[chunk.list]) / static_cast<A>(n) : A{0});
  for (int64_t i = chunk.begin + threadIdx.x; i < chunk.end; i += blockDim.x)
    out[base + i] = i < n ? each : from_accum<T>(0);
}

template <class T>
void global_avg_pool_grad(Device& device, const ListSizes& all, int64_t volume, const int32_t* keys, const T* g,
                          T* out) {
  cuda::for_each_stored_stretch(device, all, volume, keys, [&](const Chunks& chunks, const Stored& stored, int64_t at) {
    launch(device.stream, {chunks.blocks(), cuda::kListThreads}, global_avg_pool_grad_kernel<T>, chunks, stored,
           keys + at, g + at / all.capacity, out + at);
  });
}

}  // namespace
}  // namespace jaxsparse

#include "global_pool_handlers.h"

namespace jaxsparse {

JAXSPARSE_CUDA_HANDLER(JaxsparseDirectGlobalMaxPool, GlobalMaxPool<cuda::Stream>, "volume");
JAXSPARSE_CUDA_HANDLER(JaxsparseDirectGlobalAvgPool, GlobalAvgPool<cuda::Stream>, "volume");
JAXSPARSE_CUDA_HANDLER(JaxsparseDirectGlobalAvgPoolGrad, GlobalAvgPoolGrad<cuda::Stream>, "volume");

}  // namespace jaxsparse
