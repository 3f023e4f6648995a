// Between the entries of lists (fine) and the windows that hold them (coarse), both with given keys: sums over the
// windows and their adjoint, which gives every entry the sum over its windows.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "pool.h"

namespace jaxsparse {

// A worker's scratch for one list of each kind.
template <class A>
struct WindowScratch {
  EntryList<A> fine;  // positions only
  int64_t* cell;      // [out_capacity] of the coarse entries
  A* sum;             // [capacity or out_capacity, the larger]
  A* term;            // [out_capacity]
};

template <class T>
std::vector<WindowScratch<Accum<T>>> lay_out_windows(const ConvGrid& grid, const PoolSizes& n, void* workspace,
                                                     int64_t* bytes) {
  using A = Accum<T>;
  return share_workspace<WindowScratch<A>>(workspace, bytes, [&](Arena& arena) {
    WindowScratch<A> s{};
    s.fine = take_entry_list<A>(arena, grid, n.capacity, false, false);
    s.cell = arena.take<int64_t>(n.out_capacity);
    s.sum = arena.take<A>(std::max(n.capacity, n.out_capacity));
    s.term = arena.take<A>(n.out_capacity);
    return s;
  });
}

template <class T>
int64_t windows_bytes(T, const ConvGrid& grid, const PoolSizes& n) {
  int64_t bytes;
  lay_out_windows<T>(grid, n, nullptr, &bytes);
  return bytes;
}

namespace internal {

// The first of the ascending numbers [at, end) that is not below `wanted`, which is likely near.
inline const int64_t* advance(const int64_t* at, const int64_t* end, int64_t wanted) {
  int64_t step = 1;
  while (end - at > step && at[step] < wanted) {
    at += step;
    step *= 2;
  }
  return std::lower_bound(at, std::min(at + step + 1, end), wanted);
}

// Calls visit(fine slot, coarse slot) for every stored window of every stored entry: the entries of one window by key.
template <class A, class Visit>
void for_each_pair(const ConvGrid& grid, const WindowScratch<A>& s, int64_t coarse, Visit&& visit) {
  const int64_t* end = s.cell + coarse;
  for (const Tap& tap : grid.taps()) {
    const int64_t* cell = s.cell;
    for (int64_t e = s.fine.start[tap.residue_class]; e < s.fine.start[tap.residue_class + 1]; ++e) {
      const int64_t wanted = s.fine.position[e] - tap.offset;
      cell = advance(cell, end, wanted);
      if (cell == end) break;
      if (*cell == wanted) visit(s.fine.slot ? s.fine.slot[e] : e, cell - s.cell);
    }
  }
}

// Runs body(scratch, list, stored coarse entries) for every list, with entries placed.
template <class T, class Pool, class Body>
void for_each_windowed_list(Pool& pool, const ConvGrid& grid, const PoolSizes& n, const int32_t* fine_keys,
                            const int32_t* coarse_keys, void* workspace, Body&& body) {
  int64_t bytes;
  auto scratch = lay_out_windows<T>(grid, n, workspace, &bytes);
  for_each_list(pool, n.batch * n.channels, scratch, [&](WindowScratch<Accum<T>>& s, int64_t list) {
    place_entries<T>(s.fine, grid, fine_keys + list * n.capacity, nullptr, n.capacity);
    const int32_t* keys = coarse_keys + list * n.out_capacity;
    const int64_t coarse = stored_entries(keys, n.out_capacity, grid.out_volume());
    for (int64_t i = 0; i < coarse; ++i) s.cell[i] = grid.output_cell(keys[i]);
    body(s, list, coarse);
  });
}

}  // namespace internal

// coarse[o] = sum of the fine values in window o, by key, over count[o] (null: 1).
template <class T, class Pool>
void window_sum(Pool& pool, const ConvGrid& grid, const PoolSizes& n, const int32_t* fine_keys, const T* fine_values,
                const int32_t* coarse_keys, const int32_t* count, T* coarse_values, void* workspace) {
  using A = Accum<T>;
  internal::for_each_windowed_list<T>(
      pool, grid, n, fine_keys, coarse_keys, workspace, [&](WindowScratch<A>& s, int64_t list, int64_t coarse) {
        const T* values = fine_values + list * n.capacity;
        std::fill(s.sum, s.sum + coarse, A{0});
        internal::for_each_pair(grid, s, coarse,
                                [&](int64_t entry, int64_t window) { s.sum[window] += to_accum(values[entry]); });
        for (int64_t i = 0, at = list * n.out_capacity; i < n.out_capacity; ++i, ++at) {
          const A sum = i < coarse ? s.sum[i] : A{0};
          coarse_values[at] = from_accum<T>(count && i < coarse ? sum / static_cast<A>(count[at]) : sum);
        }
      });
}

// fine[i] = sum over the windows o that hold entry i of coarse[o] / count[o] (null: 1). The adjoint of window_sum.
template <class T, class Pool>
void window_spread(Pool& pool, const ConvGrid& grid, const PoolSizes& n, const int32_t* fine_keys,
                   const int32_t* coarse_keys, const T* coarse_values, const int32_t* count, T* fine_values,
                   void* workspace) {
  using A = Accum<T>;
  internal::for_each_windowed_list<T>(
      pool, grid, n, fine_keys, coarse_keys, workspace, [&](WindowScratch<A>& s, int64_t list, int64_t coarse) {
        for (int64_t i = 0, at = list * n.out_capacity; i < coarse; ++i, ++at) {
          const A value = to_accum(coarse_values[at]);
          s.term[i] = count ? value / static_cast<A>(count[at]) : value;
        }
        std::fill(s.sum, s.sum + n.capacity, A{0});
        internal::for_each_pair(grid, s, coarse,
                                [&](int64_t entry, int64_t window) { s.sum[entry] += s.term[window]; });
        T* out = fine_values + list * n.capacity;
        for (int64_t i = 0; i < n.capacity; ++i) out[i] = from_accum<T>(s.sum[i]);
      });
}

}  // namespace jaxsparse
