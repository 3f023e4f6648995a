// Rows in any order and with repetitions to a list of sites.
#pragma once

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <vector>

#include "site_list.h"

namespace jaxsparse::voxel {

// The first `*rows_used` rows count; those outside of the box are dropped.
template <class Pool>
void sort_rows(Pool&, const Box& box, const int32_t* coords, int64_t rows, const int32_t* rows_used, int64_t capacity,
               const Sorted& out) {
  const int64_t used = std::max<int64_t>(0, std::min<int64_t>(*rows_used, rows));
  std::vector<int64_t> keys(static_cast<size_t>(used));
  std::vector<int32_t> order;
  order.reserve(static_cast<size_t>(used));
  for (int64_t n = 0; n < used; ++n) {
    keys[n] = key_of(box, coords + n * box.columns());
    if (keys[n] >= 0) order.push_back(static_cast<int32_t>(n));
  }
  const auto before = [&](int32_t a, int32_t b) { return keys[a] < keys[b]; };
  if (!std::is_sorted(order.begin(), order.end(), before)) std::stable_sort(order.begin(), order.end(), before);
  std::fill(out.row_of, out.row_of + rows, static_cast<int32_t>(capacity));
  std::fill(out.order, out.order + rows, static_cast<int32_t>(rows));
  std::vector<int64_t> distinct;
  int64_t count = 0, placed = 0, last = -1;
  for (const int32_t n : order) {
    if (keys[n] != last) {
      if (count < capacity) {
        out.starts[count] = static_cast<int32_t>(placed);
        distinct.push_back(keys[n]);
      }
      ++count;
      last = keys[n];
    }
    if (count > capacity) continue;
    out.row_of[n] = static_cast<int32_t>(count - 1);
    out.order[placed++] = n;
  }
  const int64_t stored = std::min(count, capacity);
  std::fill(out.starts + stored, out.starts + capacity + 1, static_cast<int32_t>(placed));
  write_sites(box, distinct.data(), stored, capacity, out.coords);
  *out.count = saturated(count);
}

}  // namespace jaxsparse::voxel
