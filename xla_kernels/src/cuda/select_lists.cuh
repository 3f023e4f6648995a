// Selection over lists that lie in memory: which of their first `found` entries are kept.
#pragma once

#include "lists.h"
#include "select.cuh"

namespace jaxsparse::cuda {

// The histogram of the bits of pass number `pass`, of lists with more entries than are kept.
template <class A>
__global__ void list_histogram_kernel(Chunks chunks, int pass, Rule rule, int32_t capacity, const int32_t* found,
                                      const A* values, const Threshold<A>* thresholds, int32_t* histograms) {
  JAXSPARSE_SHARED(int32_t, bins, kSelectBins);
  const Chunk chunk = chunks.of_block(blockIdx.x);
  const int64_t n = found[chunk.list];
  if (n <= capacity || chunk.begin >= n) return;
  for (unsigned i = threadIdx.x; i < kSelectBins; i += blockDim.x) bins[i] = 0;
  __syncthreads();
  const int64_t end = chunk.end < n ? chunk.end : n;
  for (int64_t i = chunk.begin + threadIdx.x; i < end; i += blockDim.x) {
    const Rank<A> rank = rank_of(values[chunk.list * chunks.slots + i], rule);
    if (pass == 0 || may_be_threshold(thresholds[chunk.list], rank, pass)) atomicAdd(&bins[bin_of<A>(rank, pass)], 1);
  }
  __syncthreads();
  for (unsigned i = threadIdx.x; i < kSelectBins; i += blockDim.x)
    if (bins[i]) atomicAdd(&histograms[chunk.list * kSelectBins + i], bins[i]);
}

// By chunk: how many entries are above the threshold, and how many tie.
template <class A>
__global__ void count_kept_kernel(Chunks chunks, Rule rule, int passes, const int32_t* found, const A* values,
                                  const Threshold<A>* thresholds, int32_t* above, int32_t* ties) {
  const Chunk chunk = chunks.of_block(blockIdx.x);
  const Threshold<A> threshold = thresholds[chunk.list];
  const int64_t n = found[chunk.list], end = chunk.end < n ? chunk.end : n;
  int32_t over = 0, tied = 0;
  for (int64_t i = chunk.begin + threadIdx.x; i < end; i += blockDim.x) {
    const Verdict verdict = cuda::verdict(threshold, rank_of(values[chunk.list * chunks.slots + i], rule), passes);
    over += verdict == Verdict::kAbove;
    tied += verdict == Verdict::kTie;
  }
  over = block_scan(over).total;
  tied = block_scan(tied).total;
  if (threadIdx.x != 0) return;
  above[blockIdx.x] = over;
  ties[blockIdx.x] = tied;
}

// Fills a selection of the `capacity` strongest of values[lists][slots]; `found` entries of each list are there.
template <class A>
void select_lists(const Stream& stream, const Chunks& chunks, Rule rule, int64_t capacity, const int32_t* found,
                  const A* values, const ListSelection<A>& selection) {
  constexpr int kPasses = kSelectPasses<A>;
  const Grid grid{chunks.blocks(), kListThreads};
  const auto& [histograms, thresholds] = selection.scratch;
  const int64_t bins = chunks.lists * kSelectBins;
  clear(stream, histograms, kPasses * bins * static_cast<int64_t>(sizeof(int32_t)));
  for (int pass = 0; pass < kPasses; ++pass) {
    launch(stream, grid, list_histogram_kernel<A>, chunks, pass, rule, static_cast<int32_t>(capacity), found, values,
           thresholds, histograms + pass * bins);
    choose(stream, chunks.lists, pass, capacity, found, selection.scratch);
  }
  launch(stream, grid, count_kept_kernel<A>, chunks, rule, kPasses, found, values, thresholds, selection.above,
         selection.ties);
  scan_rows(stream, chunks.lists, chunks.per_list, selection.above, nullptr);
  scan_rows(stream, chunks.lists, chunks.per_list, selection.ties, nullptr);
}

// Runs body(entry, slot of the output) for the kept entries of a block's chunk, in order; by all threads of the block.
template <class A, class Body>
__device__ void for_each_kept(const Chunks& chunks, Rule rule, const int32_t* found, const A* values,
                              const Threshold<A>* thresholds, const int32_t* above, const int32_t* ties, Body&& body) {
  const Chunk chunk = chunks.of_block(blockIdx.x);
  const Threshold<A> threshold = thresholds[chunk.list];
  const int64_t n = found[chunk.list], end = chunk.end < n ? chunk.end : n;
  int32_t over_before = above[blockIdx.x], tied_before = ties[blockIdx.x];
  for (int64_t begin = chunk.begin; begin < end; begin += blockDim.x) {
    const int64_t i = begin + threadIdx.x;
    Verdict verdict = Verdict::kOut;
    if (i < end)
      verdict = cuda::verdict(threshold, rank_of(values[chunk.list * chunks.slots + i], rule), kSelectPasses<A>);
    const auto over = block_scan<int32_t>(verdict == Verdict::kAbove);
    const auto tied = block_scan<int32_t>(verdict == Verdict::kTie);
    const int32_t ties_ahead = tied_before + tied.before;
    if (verdict == Verdict::kAbove || (verdict == Verdict::kTie && ties_ahead < threshold.keep))
      body(i, int64_t{over_before + over.before} + (ties_ahead < threshold.keep ? ties_ahead : threshold.keep));
    over_before += over.total;
    tied_before += tied.total;
  }
}

}  // namespace jaxsparse::cuda
