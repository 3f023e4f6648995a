// Sums over the entries of lists, in the order of fixed_sum, for the operations that need them.
#pragma once

#include "../cuda/fixed_sum.h"
#include "../cuda/lists.h"
#include "sums_cuda.h"

namespace jaxsparse {

static_assert(kSumSegment >= cuda::kWholeList, "a list that is not whole has its unused slots counted");

// sums[list][segment] of term(list, place of the entry in the buffers). The entries' number goes to stored_counts.
template <class Term>
__global__ void list_sums_kernel(cuda::Chunks segments, cuda::Stored stored, const int32_t* keys, Term term,
                                 double* sums, int32_t* stored_counts) {
  const cuda::Chunk chunk = segments.of_block(blockIdx.x);
  const int64_t base = chunk.list * segments.slots;
  const int64_t n = stored.of(segments, keys + base, chunk.list), end = chunk.end < n ? chunk.end : n;
  double part = 0;
  for (int64_t i = chunk.begin + threadIdx.x; i < end; i += kSumParts) part += term(chunk.list, base + i);
  const double sum = cuda::block_sum_in_halves(part);
  if (threadIdx.x != 0) return;
  sums[blockIdx.x] = sum;
  if (chunk.begin == 0) stored_counts[chunk.list] = static_cast<int32_t>(n);
}

// The values themselves as terms.
template <class T>
struct Value {
  const T* values;
  __device__ double operator()(int64_t, int64_t place) const { return static_cast<double>(to_accum(values[place])); }
};

// Of one list; segments behind its end are sums of nothing.
__device__ inline double sum_of_list(const double* sums, int64_t list, int64_t segments, int64_t stored) {
  double sum = 0;
  for (int64_t s = 0; s < segments && s * kSumSegment < stored; ++s) sum += sums[list * segments + s];
  return sum;
}

// Adds the lists of a stretch of the batch to the totals; the last stretch writes out. A warp has a channel: its lanes
// load, and all add the same, in order. (Segments behind the end of a list are 0.)
template <class T>
__global__ void channel_totals_kernel(ListSizes n, int64_t segments, const double* sums, bool first, bool last,
                                      double* totals, T* out) {
  const int64_t c = (static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) / cuda::kWarp;
  if (c >= n.channels) return;
  const int64_t terms = n.batch * segments;
  double total = first ? 0.0 : totals[c], of_list = 0;
  int64_t left = segments;  // of a list
  for (int64_t begin = 0; begin < terms; begin += cuda::kWarp) {
    const int64_t i = begin + cuda::lane_index();
    const double mine = i < terms ? sums[(i / segments * n.channels + c) * segments + i % segments] : 0.0;
    for (int lane = 0; lane < cuda::kWarp && begin + lane < terms; ++lane) {
      of_list += __shfl_sync(cuda::kAllLanes, mine, lane);
      if (--left) continue;
      total += of_list;
      of_list = 0;
      left = segments;
    }
  }
  if (cuda::lane_index() != 0) return;
  totals[c] = total;
  if (last) out[c] = from_accum<T>(static_cast<Accum<T>>(total));
}

// out[channel] = sum over the batch and the stored entries; term_at(first entry of a stretch) makes its terms.
template <class T, class TermAt>
void channel_totals(cuda::Device& device, const ListSizes& all, int64_t volume, const int32_t* keys, TermAt&& term_at,
                    T* out) {
  const auto of = [&](int64_t elements) { return ListSizes{elements, all.channels, all.capacity}; };
  const auto bytes_of = [&](int64_t elements) { return SumScratch(of(elements), nullptr).bytes; };
  cuda::clear(device.stream, out, all.batch ? 0 : all.channels * static_cast<int64_t>(sizeof(T)));
  cuda::for_each_stretch(all.batch, device.workspace.bytes, bytes_of, [&](int64_t first, int64_t elements) {
    const ListSizes n = of(elements);
    const SumScratch scratch(n, device.workspace.data);
    const cuda::Chunks segments = sum_segments(n);
    const int64_t at = first * n.channels * n.capacity;
    const auto stored = cuda::find_stored(device.stream, {n.lists(), n.capacity}, volume, keys + at, scratch.unused);
    const auto term = term_at(at);
    cuda::launch(device.stream, {segments.blocks(), cuda::kListThreads}, list_sums_kernel<decltype(term_at(at))>,
                 segments, stored, keys + at, term, scratch.sums, scratch.stored);
    cuda::launch(device.stream, {cuda::blocks_of(n.channels * cuda::kWarp, 64), 64}, channel_totals_kernel<T>, n,
                 segments.per_list, scratch.sums, first == 0, first + elements == all.batch, scratch.totals, out);
  });
}

}  // namespace jaxsparse
