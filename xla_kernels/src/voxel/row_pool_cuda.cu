// Pooling of rows on the GPU, in the CPU's order: taps ascend; a batch element is put together piece by piece.
#include "row_pool_cuda.h"

#include "../bindings/ffi_cuda.h"
#include "rows_cuda.cuh"

namespace jaxsparse::voxel {
namespace {

using cuda::blocks_of;
using cuda::Device;
using cuda::kListThreads;

// ---- Over the taps of a map
// ---------------------------------------------------------------------------------------------

template <class T>
__global__ void pool_max_kernel(RowsOfChannels all, PoolSizes n, const T* x, const int32_t* map, const T* background,
                                T* y, int32_t* source) {
  const RowChannel at(all);
  if (at.row >= all.rows) return;
  const Source special(n.inputs);
  T best{};
  bool any = false, seen = false, rows = false;  // the background counts once, at its first tap
  int32_t from = special.none;
  for (int64_t k = 0; k < n.taps; ++k) {
    const int32_t row = map[k * n.outputs + at.row];
    const bool here = is_row(row, n.inputs);
    if (!here && (background == nullptr || seen)) continue;
    rows = rows || here;
    seen = seen || !here;
    const T value = here ? x[row * n.channels + at.channel] : background[at.channel];
    if (any && !is_above(to_accum(value), to_accum(best))) continue;
    any = true;
    best = value;
    from = here ? row : special.background;
  }
  y[at.number] = rows ? best : T{};
  source[at.number] = rows ? from : special.none;
}

template <class T>
void pool_max(Device& device, const PoolSizes& n, const T* x, const int32_t* map, const T* background, T* y,
              int32_t* source) {
  const RowsOfChannels all(n.outputs, n.channels);
  cuda::launch(device.stream, all.grid(), pool_max_kernel<T>, all, n, x, map, background, y, source);
}

// out [outputs, channels]: the sum of x [rows, channels] over the taps with a row; where `source` is not null, of those
// numbers that are from this very output.
template <class T>
__global__ void pool_sum_kernel(RowsOfChannels all, int64_t rows, int64_t taps, const T* x, const int32_t* map,
                                const int32_t* source, T* out) {
  const RowChannel at(all);
  if (at.row >= all.rows) return;
  Accum<T> sum = 0;
  for (int64_t k = 0; k < taps; ++k) {
    const int32_t row = map[k * all.rows + at.row];
    if (!is_row(row, rows)) continue;
    const int64_t from = row * all.channels.by + at.channel;
    sum += source == nullptr || source[from] == at.row ? to_accum(x[from]) : Accum<T>{0};
  }
  out[at.number] = from_accum<T>(sum);
}

template <class T>
void pool_put(Device& device, const PoolSizes& n, const T* y, const int32_t* source, const int32_t* reverse, T* x) {
  const RowsOfChannels all(n.inputs, n.channels);
  cuda::launch(device.stream, all.grid(), pool_sum_kernel<T>, all, n.outputs, n.taps, y, reverse, source, x);
}

template <class T>
void pool_sum(Device& device, const PoolSizes& n, const T* x, const int32_t* map, T* y) {
  const RowsOfChannels all(n.outputs, n.channels);
  cuda::launch(device.stream, all.grid(), pool_sum_kernel<T>, all, n.inputs, n.taps, x, map, nullptr, y);
}

// ---- Over the rows of each batch element
// --------------------------------------------------------------------------------

template <class = void>
__global__ void find_segments_kernel(SegmentSizes n, const int32_t* segment, int32_t* begin) {
  const int64_t s = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (s > n.segments) return;
  int64_t low = 0, high = n.rows;
  while (low < high) {
    const int64_t middle = low + (high - low) / 2;
    if (segment[middle] < s)
      low = middle + 1;
    else
      high = middle;
  }
  begin[s] = static_cast<int32_t>(low);
}

template <class = void>
__global__ void count_pieces_kernel(SegmentSizes n, const int32_t* begin, int32_t* pieces) {
  const int64_t s = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (s >= n.segments) return;
  const int64_t rows = begin[s + 1] - begin[s];
  pieces[s] = static_cast<int32_t>(rows > 0 ? (rows + kPieceRows - 1) / kPieceRows : 0);
}

struct Segments {
  SegmentSizes n;
  int64_t most;  // pieces
  const int32_t *begin, *before;

  __device__ int64_t pieces(int64_t s) const {
    const int64_t rows = begin[s + 1] - begin[s], all = rows > 0 ? (rows + kPieceRows - 1) / kPieceRows : 0;
    const int64_t left = before[s] < 0 ? 0 : most - before[s];  // less where `segment` does not ascend
    return left < 0 ? 0 : all < left ? all : left;
  }
};

// f(row) for the rows of piece `piece`, in order.
template <class F>
__device__ void for_each_row(const Segments& all, int64_t piece, F&& f) {
  int64_t low = 0, high = all.n.segments;  // the last segment that begins with this piece or before
  while (high - low > 1) {
    const int64_t middle = low + (high - low) / 2;
    (all.before[middle] <= piece ? low : high) = middle;
  }
  if (all.n.segments == 0 || piece - all.before[low] >= all.pieces(low)) return;
  const int64_t begin = all.begin[low] + (piece - all.before[low]) * kPieceRows, last = all.begin[low + 1];
  const int64_t end = begin + kPieceRows < last ? begin + kPieceRows : last;
  for (int64_t row = begin; row < end; ++row) f(row);
}

template <class T>
__global__ void sum_pieces_kernel(RowsOfChannels each, Segments all, const T* x, double* sums) {
  const RowChannel at(each);
  if (at.row >= each.rows) return;
  double sum = 0;
  for_each_row(all, at.row,
               [&](int64_t row) { sum += static_cast<double>(to_accum(x[row * all.n.channels + at.channel])); });
  sums[at.number] = sum;
}

template <class T>
__global__ void sum_segments_kernel(RowsOfChannels each, Segments all, const double* sums, T* y) {
  const RowChannel at(each);
  if (at.row >= each.rows) return;
  double sum = 0;
  for (int64_t i = 0; i < all.pieces(at.row); ++i) sum += sums[(all.before[at.row] + i) * all.n.channels + at.channel];
  y[at.number] = from_accum<T>(static_cast<Accum<T>>(sum));
}

template <class T>
__global__ void max_pieces_kernel(RowsOfChannels each, Segments all, const T* x, int32_t* rows) {
  const RowChannel at(each);
  if (at.row >= each.rows) return;
  int64_t best_row = -1;
  Accum<T> best = 0;
  for_each_row(all, at.row, [&](int64_t row) {
    const Accum<T> value = to_accum(x[row * all.n.channels + at.channel]);
    if (best_row >= 0 && !is_above(value, best)) return;
    best = value;
    best_row = row;
  });
  rows[at.number] = static_cast<int32_t>(best_row);
}

template <class T>
__global__ void max_segments_kernel(RowsOfChannels each, Segments all, const T* x, const int32_t* rows, T* y,
                                    int32_t* source) {
  const RowChannel at(each);
  if (at.row >= each.rows) return;
  T best{};
  int32_t from = Source(all.n.rows).none;
  for (int64_t i = 0; i < all.pieces(at.row); ++i) {
    const int32_t row = rows[(all.before[at.row] + i) * all.n.channels + at.channel];
    const T value = x[row * all.n.channels + at.channel];
    if (i > 0 && !is_above(to_accum(value), to_accum(best))) continue;
    best = value;
    from = row;
  }
  y[at.number] = best;
  source[at.number] = from;
}

Segments find_segments(Device& device, const SegmentSizes& n, const int32_t* segment, const SegmentScratch& scratch) {
  if (device.workspace.bytes < scratch.bytes) throw std::invalid_argument("the workspace is too small");
  const auto grid = [](int64_t each) { return cuda::Grid{blocks_of(each, kListThreads), kListThreads}; };
  cuda::launch(device.stream, grid(n.segments + 1), find_segments_kernel<>, n, segment, scratch.begin);
  cuda::launch(device.stream, grid(n.segments), count_pieces_kernel<>, n, scratch.begin, scratch.before);
  cuda::scan_rows(device.stream, 1, n.segments, scratch.before, nullptr);
  return {n, scratch.pieces, scratch.begin, scratch.before};
}

template <class T>
void segment_sum(Device& device, const SegmentSizes& n, const T* x, const int32_t* segment, T* y) {
  const SegmentScratch scratch(n, true, device.workspace.data);
  const Segments all = find_segments(device, n, segment, scratch);
  const RowsOfChannels pieces(scratch.pieces, n.channels), segments(n.segments, n.channels);
  cuda::launch(device.stream, pieces.grid(), sum_pieces_kernel<T>, pieces, all, x, scratch.sums);
  cuda::launch(device.stream, segments.grid(), sum_segments_kernel<T>, segments, all, scratch.sums, y);
}

template <class T>
void segment_max(Device& device, const SegmentSizes& n, const T* x, const int32_t* segment, T* y, int32_t* source) {
  const SegmentScratch scratch(n, false, device.workspace.data);
  const Segments all = find_segments(device, n, segment, scratch);
  const RowsOfChannels pieces(scratch.pieces, n.channels), segments(n.segments, n.channels);
  cuda::launch(device.stream, pieces.grid(), max_pieces_kernel<T>, pieces, all, x, scratch.rows);
  cuda::launch(device.stream, segments.grid(), max_segments_kernel<T>, segments, all, x, scratch.rows, y, source);
}

}  // namespace
}  // namespace jaxsparse::voxel

#include "pool_handlers.h"

namespace jaxsparse::voxel {

JAXSPARSE_CUDA_HANDLER(JaxsparseVoxelPoolMax, PoolMax<cuda::Stream>);
JAXSPARSE_CUDA_HANDLER(JaxsparseVoxelPoolPut, PoolPut<cuda::Stream>);
JAXSPARSE_CUDA_HANDLER(JaxsparseVoxelPoolSum, PoolSum<cuda::Stream>);
JAXSPARSE_CUDA_HANDLER(JaxsparseVoxelSegmentSum, SegmentSum<cuda::Stream>);
JAXSPARSE_CUDA_HANDLER(JaxsparseVoxelSegmentMax, SegmentMax<cuda::Stream>);

}  // namespace jaxsparse::voxel
