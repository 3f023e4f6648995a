// Memory of the selection of the strongest entries (select.cuh). Plain C++.
#pragma once

#include <cstdint>

#include "../core/arena.h"
#include "../core/dtype.h"
#include "../core/score.h"
#include "chunks.h"

namespace jaxsparse::cuda {

// A threshold is found eight bits of the rank at a time. Narrow types differ in the upper bits alone: those of bfloat16
// are the upper half of a float's, float16 has 1 + 8 + 10 of them as a float.
inline constexpr int kSelectBits = 8;
inline constexpr int kSelectBins = 1 << kSelectBits;
template <class T>
inline constexpr int kSelectPasses = sizeof(T) == 8 ? 8 : 4;
template <>
inline constexpr int kSelectPasses<BF16> = 2;
template <>
inline constexpr int kSelectPasses<F16> = 3;

// What is known of a list's threshold.
template <class A>
struct Threshold {
  Rank<A> prefix;  // the upper bits of the threshold, those found so far
  int32_t keep;    // of the entries whose upper bits are these, so many are kept
  int32_t cut;     // whether anything is cut at all
};

template <class A>
struct SelectScratch {
  int32_t* histograms = nullptr;  // [passes][lists][kSelectBins]
  Threshold<A>* thresholds = nullptr;

  SelectScratch() = default;
  SelectScratch(Arena& arena, int64_t lists, int passes)
      : histograms(arena.take<int32_t>(passes * lists * kSelectBins)), thresholds(arena.take<Threshold<A>>(lists)) {}
};

// Memory of a selection: thresholds, and by chunk the entries above the threshold and the ties before the chunk.
template <class A>
struct ListSelection {
  SelectScratch<A> scratch;
  int32_t *above = nullptr, *ties = nullptr;

  ListSelection() = default;
  ListSelection(Arena& arena, const Chunks& chunks)
      : scratch(arena, chunks.lists, kSelectPasses<A>),
        above(arena.take<int32_t>(chunks.blocks())),
        ties(arena.take<int32_t>(chunks.blocks())) {}
};

}  // namespace jaxsparse::cuda
