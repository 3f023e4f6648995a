// The sums over windows on the GPU. A thread has one stored entry of the result and finds the others of its sum.
#include "windows_cuda.h"

#include "../bindings/ffi_cuda.h"
#include "../core/dtype.h"
#include "../cuda/lists.h"
#include "pool_boxes.h"

namespace jaxsparse {
namespace {

using cuda::Chunk;
using cuda::Chunks;
using cuda::Device;
using cuda::kListThreads;
using cuda::launch;
using cuda::Stored;

// Fine or coarse lists.
struct WindowLists {
  Chunks pieces;
  Stored stored;
  const int32_t* keys;

  __device__ const int32_t* of_list(int64_t list) const { return keys + list * pieces.slots; }
  // By all threads of a block.
  __device__ int64_t stored_of_list(int64_t list) const { return stored.of(pieces, of_list(list), list); }
};

template <class T>
__global__ void window_sum_kernel(PoolBoxes boxes, WindowLists fine, WindowLists coarse, const T* fine_values,
                                  const int32_t* count, T* coarse_values) {
  using A = Accum<T>;
  const Chunk piece = coarse.pieces.of_block(blockIdx.x);
  const int32_t *keys = fine.of_list(piece.list), *windows = coarse.of_list(piece.list);
  const int64_t entries = fine.stored_of_list(piece.list), stored = coarse.stored_of_list(piece.list);
  const T* values = fine_values + piece.list * fine.pieces.slots;
  const int64_t base = piece.list * coarse.pieces.slots;
  for (int64_t i = piece.begin + threadIdx.x; i < piece.end; i += blockDim.x) {
    A sum = 0;
    if (i < stored) {
      walk_box<false>(boxes.in, boxes.voxels_of(boxes.out.voxel(windows[i])), keys, entries,
                      [&](int64_t at, const Voxel&) { sum += to_accum(values[at]); });
      if (count) sum /= static_cast<A>(count[base + i]);
    }
    coarse_values[base + i] = from_accum<T>(sum);
  }
}

// The windows of an entry come by descending key: by taps, ascending.
template <class T>
__global__ void window_spread_kernel(PoolBoxes boxes, WindowLists fine, WindowLists coarse, const T* coarse_values,
                                     const int32_t* count, T* fine_values) {
  using A = Accum<T>;
  const Chunk piece = fine.pieces.of_block(blockIdx.x);
  const int32_t *keys = fine.of_list(piece.list), *windows = coarse.of_list(piece.list);
  const int64_t entries = fine.stored_of_list(piece.list), stored = coarse.stored_of_list(piece.list);
  const int64_t base = piece.list * fine.pieces.slots, coarse_base = piece.list * coarse.pieces.slots;
  for (int64_t i = piece.begin + threadIdx.x; i < piece.end; i += blockDim.x) {
    A sum = 0;
    if (i < entries)
      walk_box<true>(boxes.out, boxes.windows_of(boxes.in.voxel(keys[i])), windows, stored,
                     [&](int64_t at, const Voxel&) {
                       const A value = to_accum(coarse_values[coarse_base + at]);
                       sum += count ? value / static_cast<A>(count[coarse_base + at]) : value;
                     });
    fine_values[base + i] = from_accum<T>(sum);
  }
}

// Runs body(fine, coarse, first fine slot, first coarse slot) for stretches of the batch.
template <class Body>
void for_windowed_lists(Device& device, const ConvGrid& grid, const PoolSizes& all, const int32_t* fine_keys,
                        const int32_t* coarse_keys, Body&& body) {
  const auto stretch = [&](int64_t elements) {
    return PoolSizes{elements, all.channels, all.capacity, all.out_capacity};
  };
  const auto bytes_of = [&](int64_t elements) { return WindowsScratch(stretch(elements), nullptr).bytes; };
  cuda::for_each_stretch(all.batch, device.workspace.bytes, bytes_of, [&](int64_t first, int64_t elements) {
    const PoolSizes n = stretch(elements);
    const WindowsScratch scratch(n, device.workspace.data);
    const int64_t fine_at = first * n.channels * n.capacity, coarse_at = first * n.channels * n.out_capacity;
    const auto lists = [&](int64_t slots, int64_t volume, const int32_t* keys, int32_t* unused) {
      const Chunks pieces = WindowsScratch::pieces(n.lists(), slots);
      return WindowLists{pieces, cuda::find_stored(device.stream, pieces, volume, keys, unused), keys};
    };
    body(lists(n.capacity, grid.in_volume(), fine_keys + fine_at, scratch.fine_unused),
         lists(n.out_capacity, grid.out_volume(), coarse_keys + coarse_at, scratch.coarse_unused), fine_at, coarse_at);
  });
}

template <class T>
void window_sum(Device& device, const ConvGrid& grid, const PoolSizes& n, const int32_t* fine_keys,
                const T* fine_values, const int32_t* coarse_keys, const int32_t* count, T* coarse_values) {
  const PoolBoxes boxes(grid.geometry());
  for_windowed_lists(device, grid, n, fine_keys, coarse_keys,
                     [&](const WindowLists& fine, const WindowLists& coarse, int64_t fine_at, int64_t coarse_at) {
                       launch(device.stream, {coarse.pieces.blocks(), kListThreads}, window_sum_kernel<T>, boxes, fine,
                              coarse, fine_values + fine_at, count ? count + coarse_at : nullptr,
                              coarse_values + coarse_at);
                     });
}

template <class T>
void window_spread(Device& device, const ConvGrid& grid, const PoolSizes& n, const int32_t* fine_keys,
                   const int32_t* coarse_keys, const T* coarse_values, const int32_t* count, T* fine_values) {
  const PoolBoxes boxes(grid.geometry());
  for_windowed_lists(device, grid, n, fine_keys, coarse_keys,
                     [&](const WindowLists& fine, const WindowLists& coarse, int64_t fine_at, int64_t coarse_at) {
                       launch(device.stream, {fine.pieces.blocks(), kListThreads}, window_spread_kernel<T>, boxes, fine,
                              coarse, coarse_values + coarse_at, count ? count + coarse_at : nullptr,
                              fine_values + fine_at);
                     });
}

}  // namespace
}  // namespace jaxsparse

#include "windows_handlers.h"

namespace jaxsparse {

JAXSPARSE_CUDA_HANDLER(JaxsparseDirectWindowSum, WindowSum<cuda::Stream>, "spatial_shape", "out_shape", "window",
                       "strides");
JAXSPARSE_CUDA_HANDLER(JaxsparseDirectWindowSpread, WindowSpread<cuda::Stream>, "spatial_shape", "out_shape", "window",
                       "strides");

}  // namespace jaxsparse
