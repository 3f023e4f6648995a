// Rows of one site to one and back on the GPU, in the CPU's order. One launch each.
#include "../bindings/ffi_cuda.h"
#include "groups.h"
#include "rows_cuda.cuh"

namespace jaxsparse::voxel {
namespace {

using cuda::Device;

template <class T>
__global__ void merge_rows_kernel(RowsOfChannels all, Groups g, bool mean, const T* features, T* out) {
  using A = Accum<T>;
  const RowChannel at(all);
  if (at.row >= all.rows) return;
  A sum = 0;
  int64_t members = 0;
  for (int64_t j = g.begin(at.row), end = g.end(at.row); j < end; ++j) {
    const int64_t row = g.order[j];
    if (row < 0 || row >= g.rows) continue;
    const A x = to_accum(features[row * all.channels.by + at.channel]);
    sum = members++ == 0 ? x : sum + x;
  }
  out[at.number] = from_accum<T>(mean && members > 1 ? sum / static_cast<A>(members) : sum);
}

template <class T>
void merge_rows(Device& device, const Groups& g, int64_t channels, bool mean, const T* features, T* out) {
  const RowsOfChannels all(g.groups, channels);
  cuda::launch(device.stream, all.grid(), merge_rows_kernel<T>, all, g, mean, features, out);
}

template <class T>
__global__ void spread_rows_kernel(RowsOfChannels all, Groups g, const int32_t* row_of, bool mean, const T* values,
                                   T* out) {
  using A = Accum<T>;
  const RowChannel at(all);
  if (at.row >= all.rows) return;
  const int64_t group = row_of[at.row];
  T x{};
  if (group >= 0 && group < g.groups) {
    x = values[group * all.channels.by + at.channel];
    const int64_t members = g.end(group) - g.begin(group);
    if (mean && members > 1) x = from_accum<T>(to_accum(x) / static_cast<A>(members));
  }
  out[at.number] = x;
}

template <class T>
void spread_rows(Device& device, const Groups& g, const int32_t* row_of, int64_t channels, bool mean, const T* values,
                 T* out) {
  const RowsOfChannels all(g.rows, channels);
  cuda::launch(device.stream, all.grid(), spread_rows_kernel<T>, all, g, row_of, mean, values, out);
}

template <class T>
__global__ void max_rows_kernel(RowsOfChannels all, Groups g, const T* features, int32_t* winner) {
  using A = Accum<T>;
  const RowChannel at(all);
  if (at.row >= all.rows) return;
  auto best_row = static_cast<int32_t>(g.rows);
  A best = 0;
  for (int64_t j = g.begin(at.row), end = g.end(at.row); j < end; ++j) {
    const int32_t row = g.order[j];
    if (row < 0 || row >= g.rows) continue;
    const A x = to_accum(features[row * all.channels.by + at.channel]);
    if (best_row != g.rows && !(x > best || (x != x && best == best))) continue;
    best = x;
    best_row = row;
  }
  winner[at.number] = best_row;
}

template <class T>
void max_rows(Device& device, const Groups& g, int64_t channels, const T* features, int32_t* winner) {
  const RowsOfChannels all(g.groups, channels);
  cuda::launch(device.stream, all.grid(), max_rows_kernel<T>, all, g, features, winner);
}

// Numbers are moved only: their type's size is all that counts.
template <class T>
__global__ void pick_rows_kernel(RowsOfChannels all, int64_t rows, const T* features, const int32_t* winner, T* out) {
  const RowChannel at(all);
  if (at.row >= all.rows) return;
  const int64_t row = winner[at.number];
  out[at.number] = row >= 0 && row < rows ? features[row * all.channels.by + at.channel] : T{};
}

template <class T>
void pick_rows(Device& device, int64_t rows, int64_t groups, int64_t channels, const T* features, const int32_t* winner,
               T* out) {
  const RowsOfChannels all(groups, channels);
  cuda::launch(device.stream, all.grid(), pick_rows_kernel<T>, all, rows, features, winner, out);
}

template <class T>
__global__ void place_rows_kernel(RowsOfChannels all, int64_t groups, const T* values, const int32_t* row_of,
                                  const int32_t* winner, T* out) {
  const RowChannel at(all);
  if (at.row >= all.rows) return;
  const int64_t group = row_of[at.row], from = group * all.channels.by + at.channel;
  const bool won = group >= 0 && group < groups && winner[from] == at.row;
  out[at.number] = won ? values[from] : T{};
}

template <class T>
void place_rows(Device& device, int64_t rows, int64_t groups, int64_t channels, const T* values, const int32_t* row_of,
                const int32_t* winner, T* out) {
  const RowsOfChannels all(rows, channels);
  cuda::launch(device.stream, all.grid(), place_rows_kernel<T>, all, groups, values, row_of, winner, out);
}

}  // namespace
}  // namespace jaxsparse::voxel

#include "merge_rows_handlers.h"

namespace jaxsparse::voxel {

JAXSPARSE_CUDA_HANDLER(JaxsparseVoxelMergeRows, MergeRows<cuda::Stream>, "mean");
JAXSPARSE_CUDA_HANDLER(JaxsparseVoxelSpreadRows, SpreadRows<cuda::Stream>, "mean");
JAXSPARSE_CUDA_HANDLER(JaxsparseVoxelMaxRows, MaxRows<cuda::Stream>);
JAXSPARSE_CUDA_HANDLER(JaxsparseVoxelPickRows, PickRows<cuda::Stream>);
JAXSPARSE_CUDA_HANDLER(JaxsparseVoxelPlaceRows, PlaceRows<cuda::Stream>);

}  // namespace jaxsparse::voxel
