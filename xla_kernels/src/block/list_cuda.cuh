// Lists of blocks on the GPU: which rows count, where their pixels lie, and which other blocks cover a pixel.
#pragma once

#include "../cuda/block.h"
#include "../cuda/device.h"
#include "move_cuda.h"
#include "tiling.h"

namespace jaxsparse::block {

// A pixel's place in a block.
struct Pixel {
  int32_t at[kMaxDims];
};
// A row of a list.
struct ListedBlock {
  int32_t batch, at[kMaxDims];
};

// Sizes are below 2^31, and so are the blocks and the rows in all (attributes.h): 32 bits do for all but places in
// arrays, and registers are what keeps threads from running beside each other.
struct BoxList {
  int32_t shape[kMaxDims], size[kMaxDims], stride[kMaxDims], offset[kMaxDims], grid[kMaxDims];
  int32_t dims, batch, capacity;
  const int32_t* indices;
  const int32_t* unused;  // one number: rows behind those that count; null: each block of threads looks itself

  BoxList(const Tiling& t, const MoveSizes& n, const int32_t* list)
      : dims(t.dims), batch(narrow(n.batch)), capacity(narrow(n.capacity)), indices(list), unused(nullptr) {
    for (int i = 0; i < kMaxDims; ++i) {
      const Axis& a = t.axis[i];
      shape[i] = narrow(a.shape);
      size[i] = narrow(a.size);
      stride[i] = narrow(a.stride);
      offset[i] = narrow(a.offset);
      grid[i] = narrow(a.grid);
    }
  }

  __device__ ListedBlock block(int32_t row) const {
    const int32_t* from = indices + static_cast<int64_t>(row) * (dims + 1);
    ListedBlock b{from[0], {}};
    JAXSPARSE_UNROLL
    for (int i = 0; i < kMaxDims; ++i) b.at[i] = i < kMaxDims - dims ? 0 : from[1 + i - (kMaxDims - dims)];
    return b;
  }
  // Of a block that is inside, here and below.
  __device__ int32_t raster(const ListedBlock& b) const {
    return ((b.batch * grid[0] + b.at[0]) * grid[1] + b.at[1]) * grid[2] + b.at[2];
  }
  __device__ int32_t raster(int32_t row) const { return raster(block(row)); }

  // Whether a row ends the list, whatever is before it.
  __device__ bool ends_at(int32_t row) const {
    if (!inside(block(row))) return true;
    if (row == 0) return false;
    const ListedBlock before = block(row - 1);
    return !inside(before) || raster(row) <= raster(before);
  }
  // The first of rows [begin, end) that ends the list, or `end`; by all threads of a block.
  __device__ int32_t first_end(int32_t begin, int32_t end) const {
    int64_t row = int64_t{begin} + threadIdx.x;
    while (row < end && !ends_at(static_cast<int32_t>(row))) row += blockDim.x;
    return cuda::block_min(row < end ? static_cast<int32_t>(row) : end);
  }
  // As stored_blocks; by all threads of a block.
  __device__ int32_t stored() const { return unused ? capacity - *unused : first_end(0, capacity); }

  // Whether a pixel of a block lies in the image, and then which one of the batch's.
  __device__ bool locate(const ListedBlock& b, const Pixel& pixel, int64_t& place) const {
    place = b.batch;
    JAXSPARSE_UNROLL
    for (int i = 0; i < kMaxDims; ++i) {
      const int64_t at = offset[i] + int64_t{b.at[i]} * stride[i] + pixel.at[i];
      if (at < 0 || at >= shape[i]) return false;
      place = place * shape[i] + at;
    }
    return true;
  }

  // Calls f(row, the pixel's place in that block) for blocks of the list that cover a pixel of block `row`, too, in
  // raster order: for the later ones, or for the earlier ones. Until f returns false.
  template <bool later, class F>
  __device__ void for_each_over(int32_t stored, int32_t row, const ListedBlock& b, const Pixel& pixel, F&& f) const {
    // How far off blocks may be that still cover the pixel.
    int32_t down[kMaxDims], up[kMaxDims];
    JAXSPARSE_UNROLL
    for (int i = 0; i < kMaxDims; ++i) {
      const int32_t rest = size[i] - 1 - pixel.at[i];
      down[i] = rest < stride[i] ? 0 : rest / stride[i];
      up[i] = pixel.at[i] < stride[i] ? 0 : pixel.at[i] / stride[i];
      if (down[i] > b.at[i]) down[i] = b.at[i];
      if (up[i] > grid[i] - 1 - b.at[i]) up[i] = grid[i] - 1 - b.at[i];
    }
    const int32_t from = later ? row + 1 : 0, to = later ? stored : row, own = raster(b);
    for (int32_t d0 = later ? 0 : -down[0]; d0 <= (later ? up[0] : 0); ++d0) {
      const bool same0 = d0 == 0;
      for (int32_t d1 = later && same0 ? 0 : -down[1]; d1 <= (!later && same0 ? 0 : up[1]); ++d1) {
        const bool same = same0 && d1 == 0;
        const int32_t first = later && same ? 1 : -down[2], last = !later && same ? -1 : up[2];
        if (first > last) continue;
        const int32_t zero = own + (d0 * grid[1] + d1) * grid[2];
        for (int32_t other = lower_bound(from, to, zero + first); other < to; ++other) {
          const int32_t d2 = raster(other) - zero;
          if (d2 > last) break;
          const Pixel there{{pixel.at[0] - d0 * stride[0], pixel.at[1] - d1 * stride[1], pixel.at[2] - d2 * stride[2]}};
          if (!f(other, there)) return;
        }
      }
    }
  }
  // Whether there is such a block.
  template <bool later>
  __device__ bool covered(int32_t stored, int32_t row, const ListedBlock& b, const Pixel& pixel) const {
    bool any = false;
    for_each_over<later>(stored, row, b, pixel, [&](int32_t, const Pixel&) {
      any = true;
      return false;
    });
    return any;
  }

 private:
  static int32_t narrow(int64_t n) {
    if (n != static_cast<int32_t>(n)) throw std::invalid_argument("batches and capacities must be below 2^31");
    return static_cast<int32_t>(n);
  }
  __device__ bool inside(const ListedBlock& b) const {
    bool all = b.batch >= 0 && b.batch < batch;
    JAXSPARSE_UNROLL
    for (int i = 0; i < kMaxDims; ++i) all = all && b.at[i] >= 0 && b.at[i] < grid[i];
    return all;
  }
  // The first of rows [begin, end), which count, that is not before a place in raster order.
  __device__ int32_t lower_bound(int32_t begin, int32_t end, int32_t place) const {
    while (begin < end) {
      const int32_t middle = begin + (end - begin) / 2;
      if (raster(middle) < place)
        begin = middle + 1;
      else
        end = middle;
    }
    return begin;
  }
};

template <class = void>
__global__ void count_unused_rows_kernel(BoxList list, int32_t* unused) {
  const auto begin = static_cast<int32_t>(blockIdx.x * kRowsOfBlock);
  const int32_t end = list.capacity - begin < kRowsOfBlock ? list.capacity : begin + static_cast<int32_t>(kRowsOfBlock);
  const int32_t last = list.first_end(begin, end);
  if (threadIdx.x == 0 && last < end) atomicMax(unused, list.capacity - last);
}

inline BoxList make_list(cuda::Device& device, const Tiling& t, const MoveSizes& n, const int32_t* indices) {
  BoxList list(t, n, indices);
  if (n.capacity <= kRowsOfBlock) return list;
  const ListScratch scratch(device.workspace.data);
  if (device.workspace.bytes < scratch.bytes) throw std::invalid_argument("the workspace is too small");
  cuda::clear(device.stream, scratch.unused, sizeof(int32_t));
  cuda::launch(device.stream, {cuda::blocks_of(n.capacity, kRowsOfBlock), cuda::kListThreads},
               count_unused_rows_kernel<>, list, scratch.unused);
  list.unused = scratch.unused;
  return list;
}

}  // namespace jaxsparse::block
