// Where the rows of sorted lists begin: all keys of row i are [i * length, (i + 1) * length). The functions are for all
// threads of a block.
#pragma once

#include "lists.h"

namespace jaxsparse::cuda {

// The first of keys [begin, end), ascending, that is not below `key`.
__device__ inline int32_t lower_bound(const int32_t* keys, int32_t begin, int32_t end, int64_t key) {
  while (begin < end) {
    const int32_t middle = begin + (end - begin) / 2;
    if (keys[middle] < key)
      begin = middle + 1;
    else
      end = middle;
  }
  return begin;
}

inline constexpr int64_t kRowsOfBlock = 4 * kListThreads;

// Sorted lists with so many rows of this length.
struct RowLists {
  Chunks chunks;
  int64_t rows, length;
  const int32_t* keys;
  int32_t* ends;    // [chunks]: the first slot of a chunk that ends the list, or the list's slots; of lists not whole
  int32_t* starts;  // [lists][rows + 1]: row i has the stored entries starts[i] to starts[i + 1]

  int64_t row_blocks() const { return chunks.lists * blocks_of(rows + 1, kRowsOfBlock); }

  __device__ void find_end(int64_t block) const {
    const Chunk chunk = chunks.of_block(block);
    const int64_t end = first_unstored(keys + chunk.list * chunks.slots, chunk.begin, chunk.end, rows * length);
    if (threadIdx.x == 0) ends[block] = static_cast<int32_t>(end < chunk.end ? end : chunks.slots);
  }
  // Lists that are not whole have their ends found before.
  __device__ void find_rows(int64_t block) const {
    const int64_t per_list = blocks_of(rows + 1, kRowsOfBlock), list = block / per_list;
    const int64_t begin = block % per_list * kRowsOfBlock;
    const int64_t end = begin + kRowsOfBlock < rows + 1 ? begin + kRowsOfBlock : rows + 1;
    const int32_t* of_list = keys + list * chunks.slots;
    const int32_t n = stored(list);
    for (int64_t row = begin + threadIdx.x; row < end; row += blockDim.x)
      starts[list * (rows + 1) + row] = row < rows ? lower_bound(of_list, 0, n, row * length) : n;
  }

 private:
  __device__ int32_t stored(int64_t list) const {
    if (chunks.per_list == 1)
      return static_cast<int32_t>(first_unstored(keys + list * chunks.slots, 0, chunks.slots, rows * length));
    auto n = static_cast<int32_t>(chunks.slots);
    for (int64_t i = threadIdx.x; i < chunks.per_list; i += blockDim.x) {
      const int32_t end = ends[list * chunks.per_list + i];
      n = end < n ? end : n;
    }
    return block_min(n);
  }
};

template <class = void>
__global__ void find_rows_kernel(RowLists lists) {
  lists.find_rows(blockIdx.x);
}

}  // namespace jaxsparse::cuda
