// Keeping the strongest K of a stream of responses with memory for K and a short side list.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <limits>

#include "parallel.h"
#include "score.h"

namespace jaxsparse {

// A response list with ascending keys; `extra` is an optional payload that moves along.
template <class A>
struct Responses {
  int32_t* key;
  A* value;
  int32_t* extra;
  int64_t n;
};

// The weakest response that is kept: a later one must beat it, by rank or, at equal rank, by a lower key.
template <class A>
struct Bound {
  Rank<A> rank = 0;
  int32_t key = std::numeric_limits<int32_t>::max();
  A score = -std::numeric_limits<A>::infinity();
};

namespace internal {

// The kept list and a side list of each worker.
inline constexpr int64_t kMaxLists = 1 + kMaxWorkers;

template <class A>
struct Threshold {
  Rank<A> rank;  // everything above is kept
  int64_t ties;  // how many responses have exactly this rank (or lie in its open interval, all kept)
  int64_t kept_ties;
};

// The k-th largest rank of some lists: a histogram over the range of ranks that occur, then over the one
// bin that holds it, until the bin is one rank wide or all of it is kept.
template <class A>
Threshold<A> kth_largest(const Responses<A>* lists, int64_t count_of_lists, int64_t k, Rule rule) {
  using R = Rank<A>;
  constexpr R kMaxBins = 2048;
  R low = ~R{0}, high = 0;
  int64_t total = 0;
  for (const Responses<A>* list = lists; list < lists + count_of_lists; ++list) {
    total += list->n;
    for (int64_t i = 0; i < list->n; ++i) {
      const R rank = rank_of(list->value[i], rule);
      low = std::min(low, rank);
      high = std::max(high, rank);
    }
  }
  uint32_t histogram[2][kMaxBins];  // two, so that neighbours with one bin do not wait for each other
  R bins = 64;                      // a short list is not worth a long histogram
  while (bins < static_cast<R>(total) && bins < kMaxBins) bins *= 2;
  for (int64_t remaining = k;;) {
    int shift = 0;
    while (((high - low) >> shift) >= bins) ++shift;
    for (auto& half : histogram) std::memset(half, 0, sizeof(uint32_t) * bins);
    const R span = high - low;
    for (const Responses<A>* list = lists; list < lists + count_of_lists; ++list) {
      for (int64_t i = 0; i < list->n; ++i) {
        const R above = rank_of(list->value[i], rule) - low;  // wraps below `low`, so one test does
        if (above <= span) ++histogram[i & 1][above >> shift];
      }
    }
    int64_t bin = static_cast<int64_t>(span >> shift) + 1;
    int64_t count = 0;
    do {
      remaining -= count;
      --bin;
      count = int64_t{histogram[0][bin]} + histogram[1][bin];
    } while (count < remaining);
    low += static_cast<R>(bin) << shift;
    high = low + std::min<R>(high - low, (R{1} << shift) - 1);
    if (shift == 0 || count == remaining) return {low, count, remaining};
  }
}

// The key of the last tie that is kept when only the first `keep` of all ties stay.
template <class A>
int32_t last_kept_tie(const Responses<A>* lists, int64_t count, Rank<A> rank, int64_t keep, Rule rule) {
  int64_t at[kMaxLists] = {};
  int32_t key = -1;
  for (; keep > 0; --keep) {
    int64_t lowest = -1;
    for (int64_t j = 0; j < count; ++j) {
      while (at[j] < lists[j].n && rank_of(lists[j].value[at[j]], rule) != rank) ++at[j];
      if (at[j] < lists[j].n && (lowest < 0 || lists[j].key[at[j]] < key)) {
        lowest = j;
        key = lists[j].key[at[j]];
      }
    }
    ++at[lowest];
  }
  return key;
}

template <class A>
void drop_weak(Responses<A>& list, Rank<A> rank, int32_t last_tie, Rule rule, int32_t* highest_tie) {
  int64_t kept = 0;
  for (int64_t i = 0; i < list.n; ++i) {
    const Rank<A> r = rank_of(list.value[i], rule);
    const bool tie = r == rank && list.key[i] <= last_tie;
    if (tie) *highest_tie = std::max(*highest_tie, list.key[i]);
    list.key[kept] = list.key[i];
    list.value[kept] = list.value[i];
    if (list.extra) list.extra[kept] = list.extra[i];
    kept += tie || r > rank;
  }
  list.n = kept;
}

// Merges `side` into `main`, whose buffer has room for both.
template <class A>
void merge_by_key(Responses<A>& main, const Responses<A>& side) {
  int64_t i = main.n - 1, j = side.n - 1;
  int64_t at = main.n + side.n - 1;
  main.n += side.n;
  while (j >= 0) {
    const bool from_main = i >= 0 && main.key[i] > side.key[j];
    const Responses<A>& from = from_main ? main : side;
    const int64_t index = from_main ? i-- : j--;
    main.key[at] = from.key[index];
    main.value[at] = from.value[index];
    if (main.extra) main.extra[at] = from.extra[index];
    --at;
  }
}

template <class A>
A score_at(Rank<A> rank, Rule rule) {
  using R = Rank<A>;
  constexpr R kSign = R{1} << (sizeof(R) * 8 - 1);
  R bits = rank & kSign ? static_cast<R>(rank ^ kSign) : static_cast<R>(~rank);
  if (rule == Rule::kMagnitude) bits = rank & ~kSign;
  A score;
  std::memcpy(&score, &bits, sizeof score);
  return score;
}

}  // namespace internal

// Keeps the `capacity` strongest of `main` and all sides in `main` (ties: the lower keys), ascending by
// key, and returns what a further response has to beat. `main` has room for `capacity`; all lists together hold
// at least as many.
template <class A>
Bound<A> keep_strongest(Responses<A>& main, Responses<A>* sides, int64_t count, int64_t capacity, Rule rule) {
  Responses<A> lists[internal::kMaxLists] = {main};
  for (int64_t j = 0; j < count; ++j) lists[j + 1] = sides[j];
  const internal::Threshold<A> threshold = internal::kth_largest(lists, count + 1, capacity, rule);
  int32_t last_tie = std::numeric_limits<int32_t>::max();
  if (threshold.kept_ties < threshold.ties)
    last_tie = internal::last_kept_tie(lists, count + 1, threshold.rank, threshold.kept_ties, rule);
  Bound<A> bound;
  bound.rank = threshold.rank;
  bound.score = internal::score_at<A>(threshold.rank, rule);
  bound.key = -1;
  internal::drop_weak(main, threshold.rank, last_tie, rule, &bound.key);
  for (int64_t j = 0; j < count; ++j) {
    internal::drop_weak(sides[j], threshold.rank, last_tie, rule, &bound.key);
    internal::merge_by_key(main, sides[j]);
    sides[j].n = 0;
  }
  return bound;
}

template <class A>
Bound<A> keep_strongest(Responses<A>& main, Responses<A>& side, int64_t capacity, Rule rule) {
  return keep_strongest(main, &side, 1, capacity, rule);
}

}  // namespace jaxsparse
