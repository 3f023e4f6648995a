// Sorted lists on the GPU: which entries are stored, and places in the output for those that a kernel keeps.
#pragma once

#include <cstdint>
#include <type_traits>

#include "block.h"
#include "chunks.h"
#include "device.h"

namespace jaxsparse::cuda {

// The first slot of [begin, end) that ends the list (its key does not ascend within [0, volume)), or `end`; by all
// threads of a block.
__device__ inline int64_t first_unstored(const int32_t* keys, int64_t begin, int64_t end, int64_t volume) {
  int64_t at = begin + threadIdx.x;
  for (; at < end; at += blockDim.x) {
    const int32_t key = keys[at];
    if (key < 0 || key >= volume || (at > 0 && keys[at - 1] >= key)) break;
  }
  return block_min(at < end ? at : end);
}

// How many entries lists store, as stored_entries counts them. Short lists are counted by the block that works on them:
// `unused` is null.
struct Stored {
  int64_t volume;
  const int32_t* unused;  // [lists]: slots behind the stored entries

  // By all threads of a block; `keys` are those of the list.
  __device__ int64_t of(const Chunks& chunks, const int32_t* keys, int64_t list) const {
    if (unused) return chunks.slots - unused[list];
    return first_unstored(keys, 0, chunks.slots, volume);
  }
};

template <class = void>
__global__ void count_unused_kernel(Chunks chunks, int64_t volume, const int32_t* keys, int32_t* unused) {
  const Chunk chunk = chunks.of_block(blockIdx.x);
  const int64_t end = first_unstored(keys + chunk.list * chunks.slots, chunk.begin, chunk.end, volume);
  if (threadIdx.x == 0 && end < chunk.end) atomicMax(&unused[chunk.list], static_cast<int32_t>(chunks.slots - end));
}

// `unused` is scratch of [lists], looked at for lists of several chunks only.
inline Stored find_stored(const Stream& stream, const Chunks& chunks, int64_t volume, const int32_t* keys,
                          int32_t* unused) {
  if (chunks.whole()) return {volume, nullptr};
  clear(stream, unused, chunks.lists * static_cast<int64_t>(sizeof(int32_t)));
  launch(stream, {chunks.blocks(), kListThreads}, count_unused_kernel<>, chunks, volume, keys, unused);
  return {volume, unused};
}

inline constexpr int kMostThreads = 1024;
inline int row_threads(int64_t n) { return n <= kListThreads ? kListThreads : kMostThreads; }

// Every row of counts[rows][n] becomes its exclusive prefix sum; one block a row, four neighbours a thread.
template <class Count>
__global__ void __launch_bounds__(kMostThreads) scan_rows_kernel(int64_t n, Count* counts, Count* totals) {
  constexpr int kEach = 4;
  Count* row = counts + static_cast<int64_t>(blockIdx.x) * n;
  Count before = 0;
  for (int64_t begin = 0; begin < n; begin += int64_t{kEach} * blockDim.x) {
    const int64_t first = begin + int64_t{kEach} * threadIdx.x;
    Count count[kEach], sum = 0;
    JAXSPARSE_UNROLL
    for (int i = 0; i < kEach; ++i) {
      count[i] = first + i < n ? row[first + i] : Count{0};
      sum += count[i];
    }
    const Scan<Count> scan = block_scan(sum);
    Count place = before + scan.before;
    JAXSPARSE_UNROLL
    for (int i = 0; i < kEach; ++i) {
      if (first + i < n) row[first + i] = place;
      place += count[i];
    }
    before += scan.total;
  }
  if (totals && threadIdx.x == 0) totals[blockIdx.x] = before;
}

// `totals` [rows] gets the sums of the rows; null: nobody asks.
template <class Count>
void scan_rows(const Stream& stream, int64_t rows, int64_t n, Count* counts, std::common_type_t<Count>* totals) {
  launch(stream, {rows, row_threads(n)}, scan_rows_kernel<Count>, n, counts, totals);
}

template <class = void>
__global__ void __launch_bounds__(kMostThreads) sum_rows_kernel(int64_t n, const int32_t* counts, int32_t* totals) {
  const int32_t* row = counts + static_cast<int64_t>(blockIdx.x) * n;
  int32_t sum = 0;
  for (int64_t i = threadIdx.x; i < n; i += blockDim.x) sum += row[i];
  sum = block_scan(sum).total;
  if (threadIdx.x == 0) totals[blockIdx.x] = sum;
}

inline void sum_rows(const Stream& stream, int64_t rows, int64_t n, const int32_t* counts, int32_t* totals) {
  launch(stream, {rows, row_threads(n)}, sum_rows_kernel<>, n, counts, totals);
}

// Slots behind the `found` first ones of each list hold no entry.
template <class T>
__global__ void fill_unused_kernel(Chunks chunks, int32_t volume, const int32_t* found, int32_t* keys, T* values) {
  const Chunk chunk = chunks.of_block(blockIdx.x);
  const int64_t base = chunk.list * chunks.slots;
  for (int64_t i = chunk.begin + threadIdx.x; i < chunk.end; i += blockDim.x) {
    if (i < found[chunk.list]) continue;
    keys[base + i] = volume;
    values[base + i] = T{};
  }
}

template <class T>
void fill_unused(const Stream& stream, const Chunks& chunks, int64_t volume, const int32_t* found, int32_t* keys,
                 T* values) {
  launch(stream, {chunks.blocks(), kListThreads}, fill_unused_kernel<T>, chunks, static_cast<int32_t>(volume), found,
         keys, values);
}

}  // namespace jaxsparse::cuda
