// The convolution over a kernel map and its kernel gradient on the GPU.
//
// Forward (and the gradient of the features, which is the same over the map's other direction): a block has a tile of
// output rows and channels. Tap by tap it gathers the input rows that there are into shared memory, beside the tap's
// matrix, and multiplies; a tap that no row of the tile has is skipped. A number of the result is one sum in one
// thread: taps ascend, and input channels within a tap.
//
// Kernel gradient: a block has a tile of one tap's matrix and a stretch of output rows, lists the pairs there and adds
// their outer products in order; a second kernel adds the stretches in order.
#include "map_conv_cuda.h"

#include "../bindings/ffi_cuda.h"
#include "products_cuda.cuh"
#include "rows_cuda.cuh"

namespace jaxsparse::voxel {
namespace {

using cuda::blocks_of;
using cuda::Device;
using cuda::Divisor;

__device__ inline int32_t row_or_none(int32_t row, int64_t rows) { return row >= 0 && row < rows ? row : -1; }

// Groups of so few channels are no matrices: a thread has a number of the result.
bool is_thin(const ConvSizes& n) { return n.groups > 1 && n.in_group() * n.out_group() <= 64; }

template <class T>
bool can_pack(const ConvSizes& n, std::initializer_list<const void*> arrays) {
  bool aligned = n.in_group() % kNeighbours<T> == 0 && n.out_group() % kNeighbours<T> == 0;
  for (const void* array : arrays) aligned = aligned && reinterpret_cast<uintptr_t>(array) % kNeighbourBytes == 0;
  return aligned;
}

// ---- The convolution
// ----------------------------------------------------------------------------------------------------

// The tiles of the result: of the rows, of a group's channels, and the groups, which vary fastest.
struct Tiles {
  int64_t depth, columns;  // channels of a group
  int64_t across;          // tiles of a group's channels
  int64_t blocks;

  Tiles(const ConvSizes& n, int64_t down, int64_t columns_of_tile)
      : depth(n.in_group()),
        columns(n.out_group()),
        across(blocks_of(columns, columns_of_tile)),
        blocks(down * across * n.groups) {}
};

template <class T, bool transposed>
__global__ void __launch_bounds__(kProductThreads)
    map_conv_kernel(ConvSizes n, Tiles tiles, bool packed, const T* features, const T* kernel, const int32_t* map,
                    Accum<T>* out) {
  using P = Products<T>;
  using Room = Neighbours<T, kNeighbours<T>>;
  JAXSPARSE_SHARED(Room, a_room, (kTileRoom<T, P::kRows>));
  JAXSPARSE_SHARED(Room, b_room, (kTileRoom<T, P::kColumns>));
  JAXSPARSE_SHARED(int32_t, row_of, P::kRows);
  T *const a = a_room[0].lane, *const b = b_room[0].lane;
  const int64_t of_rows = tiles.across * n.groups, rest = blockIdx.x % of_rows;
  const int64_t first_row = blockIdx.x / of_rows * P::kRows, group = rest / tiles.across;
  const int64_t first_column = rest % tiles.across * P::kColumns;
  P products(n.out_rows - first_row, tiles.columns - first_column);
  for (int64_t tap = 0; tap < n.taps; ++tap) {
    int32_t row = -1;
    if (threadIdx.x < P::kRows) {
      const int64_t m = first_row + threadIdx.x;
      if (m < n.out_rows) row = row_or_none(map[tap * n.out_rows + m], n.in_rows);
      row_of[threadIdx.x] = row;
    }
    if (!__syncthreads_or(row >= 0)) continue;
    products.begin(LinesWithRow{row_of});
    const T* weights = kernel + tap * tiles.depth * n.out_channels;
    for (int64_t c0 = 0; c0 < tiles.depth; c0 += P::kDepth) {
      fill_tile<T, true, P::kRows>(a, packed, [&](int i, int k) -> const T* {
        const int32_t from = row_of[i];
        if (from < 0 || c0 + k >= tiles.depth) return nullptr;
        return features + from * n.in_channels + group * tiles.depth + c0 + k;
      });
      fill_tile<T, transposed, P::kColumns>(b, packed, [&](int j, int k) -> const T* {
        const int64_t c = c0 + k, column = first_column + j;
        if (c >= tiles.depth || column >= tiles.columns) return nullptr;
        return weights + (transposed ? column * n.in_channels + group * tiles.depth + c
                                     : c * n.out_channels + group * tiles.columns + column);
      });
      __syncthreads();
      products.step(a, b, static_cast<int>(tiles.depth - c0 < P::kDepth ? tiles.depth - c0 : P::kDepth));
      __syncthreads();
    }
    products.end();
  }
  products.for_each([&](int i, int j, Accum<T> sum) {
    const int64_t m = first_row + i, column = first_column + j;
    if (m < n.out_rows && column < tiles.columns) out[m * n.out_channels + group * tiles.columns + column] = sum;
  });
}

template <class T>
__global__ void thin_conv_kernel(RowsOfChannels all, ConvSizes n, Divisor columns, bool transposed, const T* features,
                                 const T* kernel, const int32_t* map, Accum<T>* out) {
  const RowChannel at(all);
  if (at.row >= all.rows) return;
  const int64_t depth = n.in_group();
  int64_t group = at.channel;
  const int64_t column = columns.divide(group);
  Accum<T> sum = 0;
  for (int64_t tap = 0; tap < n.taps; ++tap) {
    const int32_t row = row_or_none(map[tap * n.out_rows + at.row], n.in_rows);
    if (row < 0) continue;
    const T* x = features + row * n.in_channels + group * depth;
    const T* w = transposed ? kernel + (tap * columns.by + column) * n.in_channels + group * depth
                            : kernel + tap * depth * n.out_channels + at.channel;
    const int64_t apart = transposed ? 1 : n.out_channels;
    for (int64_t c = 0; c < depth; ++c) sum = cuda::fused(to_accum(x[c]), to_accum(w[c * apart]), sum);
  }
  out[at.number] = sum;
}

template <class T>
void conv(Device& device, const ConvSizes& n, const T* features, const T* kernel, bool transposed, const int32_t* map,
          Accum<T>* out) {
  if (n.out_rows == 0) return;
  if (is_thin(n)) {
    const RowsOfChannels all(n.out_rows, n.out_channels);
    cuda::launch(device.stream, all.grid(), thin_conv_kernel<T>, all, n, Divisor(n.out_group()), transposed, features,
                 kernel, map, out);
    return;
  }
  using P = Products<T>;
  const Tiles tiles(n, blocks_of(n.out_rows, P::kRows), P::kColumns);
  cuda::launch(device.stream, {tiles.blocks, kProductThreads},
               transposed ? map_conv_kernel<T, true> : map_conv_kernel<T, false>, n, tiles,
               can_pack<T>(n, {features, kernel}), features, kernel, map, out);
}

// ---- Its kernel gradient
// ------------------------------------------------------------------------------------------------

// sums [splits, taps, depth, out_channels]
template <class T>
__global__ void __launch_bounds__(kProductThreads)
    map_conv_grad_kernel(ConvSizes n, Tiles tiles, GradSplits splits, bool packed, const T* features,
                         const T* cotangent, const int32_t* map, Accum<T>* sums) {
  using P = Products<T>;
  using Room = Neighbours<T, kNeighbours<T>>;
  JAXSPARSE_SHARED(Room, a_room, (kTileRoom<T, P::kRows>));
  JAXSPARSE_SHARED(Room, b_room, (kTileRoom<T, P::kColumns>));
  JAXSPARSE_SHARED(int32_t, input, kProductThreads);
  JAXSPARSE_SHARED(int32_t, output, kProductThreads);
  T *const a = a_room[0].lane, *const b = b_room[0].lane;
  int64_t rest = blockIdx.x;
  const int64_t first_column = rest % tiles.across * P::kColumns;
  rest /= tiles.across;
  const int64_t down = blocks_of(tiles.depth, P::kRows), first_row = rest % down * P::kRows;
  rest /= down;
  const int64_t group = rest % n.groups, tap = rest / n.groups % n.taps, split = rest / n.groups / n.taps;
  P products(tiles.depth - first_row, tiles.columns - first_column);
  const int64_t begin = split * splits.rows, last = begin + splits.rows, end = last < n.out_rows ? last : n.out_rows;
  for (int64_t m0 = begin; m0 < end; m0 += kProductThreads) {
    const int64_t m = m0 + threadIdx.x;
    const int32_t row = m < end ? row_or_none(map[tap * n.out_rows + m], n.in_rows) : -1;
    const cuda::Scan<int32_t> scan = cuda::block_scan(static_cast<int32_t>(row >= 0));
    if (row >= 0) {
      input[scan.before] = row;
      output[scan.before] = static_cast<int32_t>(m);
    }
    __syncthreads();
    products.begin(AllLines{});
    for (int p0 = 0; p0 < scan.total; p0 += P::kDepth) {
      fill_tile<T, false, P::kRows>(a, packed, [&](int i, int k) -> const T* {
        const int64_t c = first_row + i;
        if (p0 + k >= scan.total || c >= tiles.depth) return nullptr;
        return features + input[p0 + k] * n.in_channels + group * tiles.depth + c;
      });
      fill_tile<T, false, P::kColumns>(b, packed, [&](int j, int k) -> const T* {
        const int64_t column = first_column + j;
        if (p0 + k >= scan.total || column >= tiles.columns) return nullptr;
        return cotangent + output[p0 + k] * n.out_channels + group * tiles.columns + column;
      });
      __syncthreads();
      products.step(a, b, scan.total - p0 < P::kDepth ? scan.total - p0 : P::kDepth);
      __syncthreads();
    }
    products.end();
  }
  sums += split * splits.weights + tap * tiles.depth * n.out_channels;
  products.for_each([&](int i, int j, Accum<T> sum) {
    const int64_t c = first_row + i, column = first_column + j;
    if (c < tiles.depth && column < tiles.columns) sums[c * n.out_channels + group * tiles.columns + column] = sum;
  });
}

// Rows of `all` are (split, tap, input channel of a group).
template <class T>
__global__ void thin_grad_kernel(RowsOfChannels all, ConvSizes n, Divisor columns, GradSplits splits, const T* features,
                                 const T* cotangent, const int32_t* map, Accum<T>* sums) {
  const RowChannel at(all);
  if (at.row >= all.rows) return;
  const int64_t depth = n.in_group(), c = at.row % depth, tap = at.row / depth % n.taps;
  const int64_t begin = at.row / depth / n.taps * splits.rows, last = begin + splits.rows;
  int64_t group = at.channel;
  columns.divide(group);
  Accum<T> sum = 0;
  for (int64_t m = begin; m < (last < n.out_rows ? last : n.out_rows); ++m) {
    const int32_t row = row_or_none(map[tap * n.out_rows + m], n.in_rows);
    if (row < 0) continue;
    sum = cuda::fused(to_accum(features[row * n.in_channels + group * depth + c]),
                      to_accum(cotangent[m * n.out_channels + at.channel]), sum);
  }
  sums[at.number] = sum;
}

template <class A>
__global__ void add_splits_kernel(GradSplits splits, const A* sums, A* out) {
  const int64_t weight = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (weight >= splits.weights) return;
  A sum = sums[weight];
  for (int64_t s = 1; s < splits.splits; ++s) sum += sums[s * splits.weights + weight];
  out[weight] = sum;
}

template <class T>
void conv_kernel_grad(Device& device, const ConvSizes& n, const T* features, const T* cotangent, const int32_t* map,
                      Accum<T>* out) {
  using A = Accum<T>;
  using P = Products<T>;
  const GradSplits splits(n, sizeof(A));
  if (device.workspace.bytes < splits.bytes(sizeof(A))) throw std::invalid_argument("the workspace is too small");
  if (splits.weights == 0) return;
  Arena arena(device.workspace.data);
  A* sums = splits.splits == 1 ? out : arena.take<A>(splits.splits * splits.weights);
  if (is_thin(n)) {
    const RowsOfChannels all(splits.splits * n.taps * n.in_group(), n.out_channels);
    cuda::launch(device.stream, all.grid(), thin_grad_kernel<T>, all, n, Divisor(n.out_group()), splits, features,
                 cotangent, map, sums);
  } else {
    const Tiles tiles(n, blocks_of(n.in_group(), P::kRows) * n.taps * splits.splits, P::kColumns);
    cuda::launch(device.stream, {tiles.blocks, kProductThreads}, map_conv_grad_kernel<T>, n, tiles, splits,
                 can_pack<T>(n, {features, cotangent}), features, cotangent, map, sums);
  }
  if (splits.splits > 1)
    cuda::launch(device.stream, {blocks_of(splits.weights, cuda::kListThreads), cuda::kListThreads},
                 add_splits_kernel<A>, splits, sums, out);
}

}  // namespace
}  // namespace jaxsparse::voxel

#include "conv_handlers.h"

namespace jaxsparse::voxel {

JAXSPARSE_CUDA_HANDLER(JaxsparseVoxelMapConv, MapConv<cuda::Stream>, "groups", "transposed");
JAXSPARSE_CUDA_HANDLER(JaxsparseVoxelMapConvKernelGrad, MapConvKernelGrad<cuda::Stream>, "groups");

}  // namespace jaxsparse::voxel
