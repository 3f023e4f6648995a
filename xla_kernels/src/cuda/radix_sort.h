// The memory that sorting takes. Plain C++.
#pragma once

#include <cstdint>
#include <limits>
#include <stdexcept>

#include "../core/arena.h"
#include "chunks.h"

namespace jaxsparse::cuda {

inline constexpr int kDigitBits = 8;
inline constexpr int kDigits = 1 << kDigitBits;

// Numbers, and what comes along with each: where `with_rows` says so.
struct SortScratch {
  int64_t numbers, tiles;
  int64_t* keys[2];
  int32_t* rows[2];  // null: nothing comes along
  int32_t* counts;   // [digits, tiles]
  int32_t* totals;   // [digits]

  SortScratch(Arena& arena, int64_t n, bool with_rows) : numbers(n), tiles((n + kChunk - 1) / kChunk) {
    if (n > std::numeric_limits<int32_t>::max()) throw std::invalid_argument("more than 2^31 - 1 numbers to sort");
    for (int64_t*& k : keys) k = arena.take<int64_t>(n);
    for (int32_t*& r : rows) r = with_rows ? arena.take<int32_t>(n) : nullptr;
    counts = arena.take<int32_t>(kDigits * tiles);
    totals = arena.take<int32_t>(kDigits);
  }
};

}  // namespace jaxsparse::cuda
