// Sorting 64-bit numbers, from the last digit to the first; numbers that are equal stay in their order.
//
// A pass counts the digits of every tile, turns counts into places, and moves. A warp of a tile has neighbours: the
// place of a number among equal digits follows from the lanes before it, so it is the same whatever runs first.
#pragma once

#include "lists.h"
#include "radix_sort.h"

namespace jaxsparse::cuda {

static_assert(kDigits == kListThreads, "a thread has a digit");

__device__ inline int digit_of(int64_t key, int shift) { return static_cast<int>(key >> shift) & (kDigits - 1); }

template <class = void>
__global__ void count_digits_kernel(int64_t n, int shift, const int64_t* keys, int64_t tiles, int32_t* counts) {
  JAXSPARSE_SHARED(int32_t, found, kDigits);
  found[threadIdx.x] = 0;
  __syncthreads();
  const int64_t begin = static_cast<int64_t>(blockIdx.x) * kChunk, end = begin + kChunk < n ? begin + kChunk : n;
  for (int64_t i = begin + threadIdx.x; i < end; i += kListThreads) atomicAdd(&found[digit_of(keys[i], shift)], 1);
  __syncthreads();
  counts[threadIdx.x * tiles + blockIdx.x] = found[threadIdx.x];
}

// `counts` hold how many numbers of a digit earlier tiles have.
template <class = void>
__global__ void __launch_bounds__(kListThreads)
    move_by_digit_kernel(int64_t n, int shift, const int64_t* keys, const int32_t* rows, int64_t tiles,
                         const int32_t* counts, const int32_t* totals, int64_t* to_keys, int32_t* to_rows) {
  constexpr int kWarps = kListThreads / kWarp, kEach = static_cast<int>(kChunk) / kListThreads;
  JAXSPARSE_SHARED(int32_t, place, kWarps* kDigits);
  for (int i = static_cast<int>(threadIdx.x); i < kWarps * kDigits; i += kListThreads) place[i] = 0;
  __syncthreads();
  const int lane = lane_index();
  int32_t* mine = place + warp_index() * kDigits;
  const int64_t begin = static_cast<int64_t>(blockIdx.x) * kChunk + int64_t{warp_index()} * kEach * kWarp + lane;
  int64_t key[kEach];
  int32_t among[kEach];
  JAXSPARSE_UNROLL
  for (int i = 0; i < kEach; ++i) {
    const bool here = begin + i * kWarp < n;
    key[i] = here ? keys[begin + i * kWarp] : 0;
    const int digit = here ? digit_of(key[i], shift) : kDigits;
    const unsigned peers = __match_any_sync(kAllLanes, digit);
    const int before = __popc(peers & ((1u << lane) - 1));
    among[i] = here ? mine[digit] + before : 0;
    __syncwarp();
    if (here && before == 0) mine[digit] += __popc(peers);
    __syncwarp();
  }
  __syncthreads();
  const int digit = static_cast<int>(threadIdx.x);
  int32_t at = block_scan(totals[digit]).before + counts[digit * tiles + blockIdx.x];
  for (int w = 0; w < kWarps; ++w) {
    const int32_t count = place[w * kDigits + digit];
    place[w * kDigits + digit] = at;
    at += count;
  }
  __syncthreads();
  JAXSPARSE_UNROLL
  for (int i = 0; i < kEach; ++i) {
    if (begin + i * kWarp >= n) continue;
    const int64_t to = mine[digit_of(key[i], shift)] + among[i];
    to_keys[to] = key[i];
    if (rows) to_rows[to] = rows[begin + i * kWarp];
  }
}

// Sorts keys[0], with rows[0], by the lowest `bits` bits, all there are; returns which of the two arrays has them then.
inline int sort_keys(const Stream& stream, const SortScratch& s, int bits) {
  int from = 0;
  for (int shift = 0; shift < bits; shift += kDigitBits, from = 1 - from) {
    launch(stream, {s.tiles, kListThreads}, count_digits_kernel<>, s.numbers, shift, s.keys[from], s.tiles, s.counts);
    scan_rows(stream, kDigits, s.tiles, s.counts, s.totals);
    launch(stream, {s.tiles, kListThreads}, move_by_digit_kernel<>, s.numbers, shift, s.keys[from], s.rows[from],
           s.tiles, s.counts, s.totals, s.keys[1 - from], s.rows[1 - from]);
  }
  return from;
}

}  // namespace jaxsparse::cuda
