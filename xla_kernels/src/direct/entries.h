// The stored entries of one (batch element, channel), placed on the grid of a convolution.
#pragma once

#include <algorithm>
#include <cstdint>

#include "../core/arena.h"
#include "../core/dtype.h"
#include "../core/keys.h"
#include "../core/pages.h"
#include "grid.h"

namespace jaxsparse {

// Entries of class c are [start[c], start[c + 1]), positions ascending. `table` finds a position in
// about one step: for each class and bucket, the first entry at or behind the start of the bucket.
template <class A>
struct EntryList {
  int64_t* position;
  A* copied;             // values in the accumulator type, when they had to be copied
  int32_t* slot;         // slot of the entry in the input buffer; null: entry e is slot e
  int32_t* start;        // [classes + 1]
  int32_t* table;        // [classes][buckets]; null if the caller never searches
  const A* value;        // `copied`, or the input buffer itself
  bool finite;           // no inf or NaN among the values

  // First entry of class c at or behind cell x.
  int64_t lower_bound(const ConvGrid& grid, int cls, int64_t x) const {
    if (x <= 0) return start[cls];
    if (x >= grid.cells()) return start[cls + 1];
    const int32_t* bucket = table + cls * grid.buckets() + (x >> grid.bucket_shift());
    int64_t low = bucket[0];
    const int64_t high = bucket[1];
    if (high - low > 16) return std::lower_bound(position + low, position + high, x) - position;
    while (low < high && position[low] < x) ++low;
    return low;
  }
};

template <class A>
EntryList<A> take_entry_list(Arena& arena, const ConvGrid& grid, int64_t capacity, bool copy_values, bool table) {
  EntryList<A> list{};
  list.position = arena.take<int64_t>(capacity);
  if (copy_values) list.copied = arena.take<A>(capacity);
  if (!grid.identity()) list.slot = arena.take<int32_t>(capacity);
  list.start = arena.take<int32_t>(grid.classes() + 1);
  if (table) list.table = arena.take<int32_t>(grid.classes() * grid.buckets());
  return list;
}

namespace internal {
template <class A>
void build_table(EntryList<A>& list, const ConvGrid& grid) {
  for (int c = 0; c < grid.classes(); ++c) {
    int32_t* table = list.table + c * grid.buckets();
    int64_t next = 0;
    for (int32_t e = list.start[c]; e < list.start[c + 1]; ++e) {
      const int64_t bucket = list.position[e] >> grid.bucket_shift();
      while (next <= bucket) table[next++] = e;
    }
    while (next < grid.buckets()) table[next++] = list.start[c + 1];
  }
}
}  // namespace internal

// Fills a list from a key buffer. `values` may be null (positions only).
template <class T>
void place_entries(EntryList<Accum<T>>& list, const ConvGrid& grid, const int32_t* keys, const T* values,
                   int64_t capacity) {
  using A = Accum<T>;
  const int64_t n = stored_entries(keys, capacity, grid.in_volume());
  list.finite = true;
  list.value = nullptr;
  prefer_huge_pages(list.position, n * static_cast<int64_t>(sizeof(int64_t)));
  if (grid.identity()) {
    for (int64_t e = 0; e < n; ++e) list.position[e] = grid.identity_cell(keys[e]);
    list.start[0] = 0;
    list.start[1] = static_cast<int32_t>(n);
    if (values) {
      bool finite = true;
      if constexpr (std::is_same_v<T, A>) {
        for (int64_t e = 0; e < n; ++e) finite &= is_finite(values[e]);
        list.value = values;
      } else {
        for (int64_t e = 0; e < n; ++e) {
          list.copied[e] = to_accum(values[e]);
          finite &= is_finite(list.copied[e]);
        }
        list.value = list.copied;
      }
      list.finite = finite;
    }
  } else {
    // A stable partition by class: count, then place.
    const int classes = grid.classes();
    std::fill(list.start, list.start + classes + 1, 0);
    int64_t cell;
    for (int64_t e = 0; e < n; ++e) {
      const int cls = grid.input_cell(keys[e], &cell);
      if (cls >= 0) ++list.start[cls + 1];
    }
    for (int c = 0; c < classes; ++c) list.start[c + 1] += list.start[c];
    for (int64_t e = 0; e < n; ++e) {
      const int cls = grid.input_cell(keys[e], &cell);
      if (cls < 0) continue;
      const int32_t at = list.start[cls]++;
      list.position[at] = cell;
      list.slot[at] = static_cast<int32_t>(e);
      if (values) {
        list.copied[at] = to_accum(values[e]);
        list.finite &= is_finite(list.copied[at]);
      }
    }
    for (int c = classes; c > 0; --c) list.start[c] = list.start[c - 1];
    list.start[0] = 0;
    list.value = list.copied;
  }
  if (list.table) internal::build_table(list, grid);
}

}  // namespace jaxsparse
