// Keeping the strongest entries of every list: the threshold, eight bits at a time.
//
// Pass by pass a kernel of the operation counts the entries that may still be the threshold in a histogram of their
// next bits, and choose finds the bin in which the last entry lies that is kept. Counts are the same in any order, so
// atomics do no harm.
#pragma once

#include "../core/score.h"
#include "block.h"
#include "device.h"
#include "select_scratch.h"

namespace jaxsparse::cuda {

enum class Verdict { kOut, kTie, kAbove };

// The upper bits of a rank that `passes` passes look at.
template <class A>
__device__ Rank<A> upper_bits(Rank<A> rank, int passes) {
  return passes ? rank >> (static_cast<int>(sizeof(A)) * 8 - passes * kSelectBits) : 0;
}

// Whether an entry of this rank is still to be told from the threshold after so many passes.
template <class A>
__device__ bool may_be_threshold(const Threshold<A>& t, Rank<A> rank, int passes) {
  return upper_bits<A>(rank, passes) == t.prefix;
}
// The bin of pass number `pass`.
template <class A>
__device__ int bin_of(Rank<A> rank, int pass) {
  return static_cast<int>(upper_bits<A>(rank, pass + 1) & (kSelectBins - 1));
}

// After all passes: of the ties the first `keep` stay.
template <class A>
__device__ Verdict verdict(const Threshold<A>& t, Rank<A> rank, int passes) {
  if (!t.cut) return Verdict::kAbove;
  const Rank<A> upper = upper_bits<A>(rank, passes);
  return upper > t.prefix ? Verdict::kAbove : upper == t.prefix ? Verdict::kTie : Verdict::kOut;
}

// Looks for the bin in which the last kept entry lies; the thread that has it calls put(threshold). By all threads of a
// block; each has a bin, in descending order, and the entries in it.
template <class A, class Put>
__device__ void choose_bin(const Threshold<A>& known, int pass, int bin, int32_t count, Put&& put) {
  const int32_t above = block_scan(count).before;
  if (above >= known.keep || known.keep - above > count) return;
  const Rank<A> bits = static_cast<Rank<A>>(bin);
  // Nothing is known before the first pass; and no shift is as wide as the number.
  put(Threshold<A>{pass ? static_cast<Rank<A>>(known.prefix << kSelectBits | bits) : bits, known.keep - above, 1});
}

// One block of kSelectBins threads a list. `found` is the number of candidates; the first pass decides whether to cut.
template <class A>
__global__ void choose_kernel(int pass, int32_t capacity, const int32_t* found, const int32_t* histograms,
                              Threshold<A>* thresholds) {
  const int64_t list = blockIdx.x;
  const Threshold<A> known =
      pass ? thresholds[list] : Threshold<A>{0, capacity, static_cast<int32_t>(found[list] > capacity)};
  if (!known.cut) {
    if (threadIdx.x == 0) thresholds[list] = known;
    return;
  }
  const int bin = kSelectBins - 1 - static_cast<int>(threadIdx.x);  // the strongest first
  choose_bin(known, pass, bin, histograms[list * kSelectBins + bin],
             [&](const Threshold<A>& threshold) { thresholds[list] = threshold; });
}

template <class A>
void choose(const Stream& stream, int64_t lists, int pass, int64_t capacity, const int32_t* found,
            const SelectScratch<A>& scratch) {
  launch(stream, {lists, kSelectBins}, choose_kernel<A>, pass, static_cast<int32_t>(capacity), found,
         scratch.histograms + pass * lists * kSelectBins, scratch.thresholds);
}

}  // namespace jaxsparse::cuda
