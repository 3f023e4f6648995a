// The stored entries of one (batch element, channel), placed on the grid of a convolution.
#pragma once

#include <algorithm>
#include <cstdint>
#include <type_traits>
#include <vector>

#include "../core/arena.h"
#include "../core/dtype.h"
#include "../core/keys.h"
#include "../core/pages.h"
#include "../core/parallel.h"
#include "grid.h"

namespace jaxsparse {

// Entries of class c are [start[c], start[c + 1]), positions ascending. `table` finds a position in
// about one step: for each class and bucket, the first entry at or behind the start of the bucket.
template <class A>
struct EntryList {
  int64_t* position;
  A* copied;       // values in the accumulator type, when they had to be copied
  int32_t* slot;   // slot of the entry in the input buffer; null: entry e is slot e
  int32_t* start;  // [classes + 1]
  int32_t* table;  // [classes][buckets]; null if the caller never searches
  const A* value;  // `copied`, or the input buffer itself
  bool finite;     // no inf or NaN among the values

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

  // Whether no entry of class c lies in cells [a, b), nor in the rest of their buckets.
  bool none_near(const ConvGrid& grid, int cls, int64_t a, int64_t b) const {
    const int32_t* buckets = table + cls * grid.buckets();
    const auto bucket = [&](int64_t x) { return std::clamp<int64_t>(x, 0, grid.cells()) >> grid.bucket_shift(); };
    return buckets[bucket(a)] == buckets[std::min(bucket(b) + 1, grid.buckets() - 1)];
  }

  // About how many entries of class c lie in cells [a, b): whole buckets.
  int64_t count_about(const ConvGrid& grid, int cls, int64_t a, int64_t b) const {
    const int32_t* buckets = table + cls * grid.buckets();
    const auto before = [&](int64_t x) {
      return buckets[std::clamp<int64_t>(x, 0, grid.cells()) >> grid.bucket_shift()];
    };
    return before(b) - before(a);
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

// Fills the table for entries [begin, end) of a class; `before` is the position of the entry before them,
// -1 for the first. The call with the last entry closes the table.
template <class A>
void build_table(EntryList<A>& list, const ConvGrid& grid, int cls, int64_t begin, int64_t end, int64_t before) {
  int32_t* table = list.table + cls * grid.buckets();
  const int32_t last = list.start[cls + 1];
  int64_t next = before < 0 ? 0 : (before >> grid.bucket_shift()) + 1;
  for (int64_t e = begin; e < end; ++e) {
    const int64_t bucket = list.position[e] >> grid.bucket_shift();
    while (next <= bucket) table[next++] = static_cast<int32_t>(e);
  }
  if (end == last)
    while (next < grid.buckets()) table[next++] = last;
}

// Entries [begin, end) of a list whose positions follow the keys.
template <class T>
bool place_identity(EntryList<Accum<T>>& list, const ConvGrid& grid, const int32_t* keys, const T* values,
                    int64_t begin, int64_t end) {
  for (int64_t e = begin; e < end; ++e) list.position[e] = grid.identity_cell(keys[e]);
  bool finite = true;
  if (!values) return finite;
  if constexpr (std::is_same_v<T, Accum<T>>) {
    for (int64_t e = begin; e < end; ++e) finite &= is_finite(values[e]);
  } else {
    for (int64_t e = begin; e < end; ++e) {
      list.copied[e] = to_accum(values[e]);
      finite &= is_finite(list.copied[e]);
    }
  }
  return finite;
}

// A stable partition by class: count, then place.
template <class T>
bool place_by_class(EntryList<Accum<T>>& list, const ConvGrid& grid, const int32_t* keys, const T* values, int64_t n) {
  const int classes = grid.classes();
  bool finite = true;
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
      finite &= is_finite(list.copied[at]);
    }
  }
  for (int c = classes; c > 0; --c) list.start[c] = list.start[c - 1];
  list.start[0] = 0;
  return finite;
}

}  // namespace internal

// Fills a list from a key buffer, on the calling thread. `values` may be null (positions only).
template <class T>
void place_entries(EntryList<Accum<T>>& list, const ConvGrid& grid, const int32_t* keys, const T* values,
                   int64_t capacity) {
  const int64_t n = stored_entries(keys, capacity, grid.in_volume());
  prefer_huge_pages(list.position, n * static_cast<int64_t>(sizeof(int64_t)));
  list.value = list.copied;
  if constexpr (std::is_same_v<T, Accum<T>>)
    if (grid.identity()) list.value = values;
  if (grid.identity()) {
    list.start[0] = 0;
    list.start[1] = static_cast<int32_t>(n);
    list.finite = internal::place_identity<T>(list, grid, keys, values, 0, n);
  } else {
    list.finite = internal::place_by_class<T>(list, grid, keys, values, n);
  }
  if (list.table)
    for (int c = 0; c < grid.classes(); ++c) internal::build_table(list, grid, c, list.start[c], list.start[c + 1], -1);
}

// The same for `count` lists in a row, in parallel; long lists are cut into parts.
template <class T, class Pool>
void place_lists(Pool& pool, EntryList<Accum<T>>* lists, int64_t count, const ConvGrid& grid, const int32_t* keys,
                 const T* values, int64_t capacity) {
  using A = Accum<T>;
  constexpr int64_t kPart = 8192;
  if (!grid.identity() || capacity <= 2 * kPart) {
    parallel_for(pool, count, std::max<int64_t>(1, kPart / capacity), [&](int64_t i, int) {
      place_entries<T>(lists[i], grid, keys + i * capacity, values ? values + i * capacity : nullptr, capacity);
    });
    return;
  }
  parallel_for(pool, count, 1, [&](int64_t i, int) {
    EntryList<A>& list = lists[i];
    const int64_t n = stored_entries(keys + i * capacity, capacity, grid.in_volume());
    prefer_huge_pages(list.position, n * static_cast<int64_t>(sizeof(int64_t)));
    list.start[0] = 0;
    list.start[1] = static_cast<int32_t>(n);
    list.finite = true;
    list.value = list.copied;
    if constexpr (std::is_same_v<T, A>) list.value = values ? values + i * capacity : nullptr;
    if (n == 0 && list.table) internal::build_table(list, grid, 0, 0, 0, -1);
  });
  const int64_t parts = (capacity + kPart - 1) / kPart;
  std::vector<uint8_t> finite(static_cast<size_t>(count * parts), 1);
  parallel_for(pool, count * parts, 1, [&](int64_t item, int) {
    const int64_t i = item / parts, begin = item % parts * kPart;
    EntryList<A>& list = lists[i];
    const int64_t end = std::min<int64_t>(begin + kPart, list.start[1]);
    if (begin >= end) return;
    const int32_t* k = keys + i * capacity;
    finite[static_cast<size_t>(item)] =
        internal::place_identity<T>(list, grid, k, values ? values + i * capacity : nullptr, begin, end);
    if (list.table) internal::build_table(list, grid, 0, begin, end, begin ? grid.identity_cell(k[begin - 1]) : -1);
  });
  for (int64_t item = 0; item < count * parts; ++item)
    lists[item / parts].finite &= finite[static_cast<size_t>(item)] != 0;
}

}  // namespace jaxsparse
