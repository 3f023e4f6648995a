// Where the rows of sorted lists begin: all keys of row i are [i * length, (i + 1) * length).
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

template <class = void>
__global__ void find_rows_kernel(Chunks chunks, Stored stored, int64_t rows, int64_t length, const int32_t* keys,
                                 int32_t* starts) {
  const int64_t per_list = blocks_of(rows + 1, kRowsOfBlock), list = blockIdx.x / per_list;
  const int64_t begin = blockIdx.x % per_list * kRowsOfBlock;
  const int64_t end = begin + kRowsOfBlock < rows + 1 ? begin + kRowsOfBlock : rows + 1;
  keys += list * chunks.slots;
  const auto n = static_cast<int32_t>(stored.of(chunks, keys, list));
  for (int64_t row = begin + threadIdx.x; row < end; row += blockDim.x)
    starts[list * (rows + 1) + row] = row < rows ? lower_bound(keys, 0, n, row * length) : n;
}

// starts[list][rows + 1]: row i of a list has the stored entries starts[i] to starts[i + 1]. `unused` as for
// find_stored.
inline void find_rows(const Stream& stream, const Chunks& chunks, int64_t rows, int64_t length, const int32_t* keys,
                      int32_t* unused, int32_t* starts) {
  const Stored stored = find_stored(stream, chunks, rows * length, keys, unused);
  launch(stream, {chunks.lists * blocks_of(rows + 1, kRowsOfBlock), kListThreads}, find_rows_kernel<>, chunks, stored,
         rows, length, keys, starts);
}

}  // namespace jaxsparse::cuda
