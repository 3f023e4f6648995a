// Pooling over stored entries. Windows that do not overlap are visited directly; others use the tap machinery of
// the convolution: within one tap the map from entry to window is injective. Either way the entries of a window come by
// key.
#pragma once

#include <cstdint>
#include <cstring>
#include <vector>

#include "../core/select.h"
#include "../core/worker_scratch.h"
#include "conv.h"
#include "entries.h"
#include "pool_windows.h"

namespace jaxsparse {

// A worker's scratch for one list.
template <class A>
struct PoolScratch {
  EntryList<A> entries;
  A* value;        // [tile] what a window amounts to so far
  int32_t* extra;  // [tile] a number that goes with it
  uint64_t* bits;
  int32_t* cell;  // [tile]
  int32_t* key;   // [tile]
  Responses<A> kept, side;
};

template <class T>
std::vector<PoolScratch<Accum<T>>> lay_out_pool(const PoolWindows& windows, const PoolSizes& n, void* workspace,
                                                int64_t* bytes) {
  using A = Accum<T>;
  return share_workspace<PoolScratch<A>>(workspace, bytes, [&](Arena& arena) {
    PoolScratch<A> s{};
    if (windows.grid) {
      const bool copy_values = !std::is_same_v<T, A> || !windows.grid->identity();
      s.entries = take_entry_list<A>(arena, *windows.grid, n.capacity, copy_values, true);
    }
    const int64_t tile = windows.tile_cells();
    s.value = arena.take<A>(tile);
    s.extra = arena.take<int32_t>(tile);
    s.bits = arena.take<uint64_t>(tile / 64);
    s.cell = arena.take<int32_t>(tile);
    s.key = arena.take<int32_t>(tile);
    s.kept.value = arena.take<A>(n.out_capacity);
    s.side.key = arena.take<int32_t>(n.out_capacity + kSideSlack);
    s.side.value = arena.take<A>(n.out_capacity + kSideSlack);
    s.side.extra = arena.take<int32_t>(n.out_capacity + kSideSlack);
    return s;
  });
}

template <class T>
int64_t pool_bytes(T, const PoolWindows& windows, const PoolSizes& n) {
  int64_t bytes;
  lay_out_pool<T>(windows, n, nullptr, &bytes);
  return bytes;
}

namespace internal {

// One list in the making.
template <class Join, class A>
class PoolList {
 public:
  PoolList(PoolScratch<A>& scratch, int64_t tile, int64_t out_capacity, const LaneOps<A>& ops)
      : s_(scratch), out_capacity_(out_capacity), ops_(ops) {
    s_.kept.n = s_.side.n = 0;
    clear(tile);
  }

  // An entry of the window in cell c; those of one window come by key.
  void offer(int64_t c, A value, int32_t slot) {
    const uint64_t bit = uint64_t{1} << (c & 63);
    if (s_.bits[c >> 6] & bit) {
      Join::join(s_.value[c], s_.extra[c], value, slot);
      return;
    }
    s_.bits[c >> 6] |= bit;
    s_.value[c] = value;
    s_.extra[c] = Join::first(slot);
  }

  // The windows of cells [begin, end) that have entries; cell begin has the given key.
  void list_windows(int64_t begin, int64_t end, int32_t key) { ops_.append_cells(cells_, s_.bits, begin, end, key); }

  // To the output, what was listed.
  void close_tile(int64_t tile) {
    clear(tile);
    found_ += cells_.n;
    for (int64_t i = 0; i < cells_.n; ++i) {
      const int32_t extra = s_.extra[s_.cell[i]];
      const A value = Join::result(s_.value[s_.cell[i]], extra);
      Responses<A>* to = &s_.kept;
      if (s_.kept.n == out_capacity_) {
        const Rank<A> rank = rank_of(value, Rule::kValue);
        if (rank < bound_.rank || (rank == bound_.rank && s_.key[i] > bound_.key)) continue;
        to = &s_.side;
      }
      to->key[to->n] = s_.key[i];
      to->value[to->n] = value;
      to->extra[to->n] = extra;
      if (++to->n == out_capacity_ + kSideSlack) bound_ = keep_strongest(s_.kept, s_.side, out_capacity_, Rule::kValue);
    }
    cells_.n = 0;
  }

  int64_t finish() {
    if (s_.side.n) keep_strongest(s_.kept, s_.side, out_capacity_, Rule::kValue);
    return found_;
  }

 private:
  void clear(int64_t tile) { std::memset(s_.bits, 0, sizeof(uint64_t) * static_cast<size_t>((tile + 63) / 64)); }

  PoolScratch<A>& s_;
  const int64_t out_capacity_;
  const LaneOps<A>& ops_;
  CellList cells_{s_.cell, s_.key, 0};
  Bound<A> bound_;
  int64_t found_ = 0;
};

template <class T, class List>
void pool_disjoint(const DisjointWindows& windows, List& list, const int32_t* keys, const T* values, int64_t capacity) {
  windows.for_each_tile(
      keys, stored_entries(keys, capacity, windows.in_volume()),
      [&](int32_t slot, int64_t cell) { list.offer(cell, to_accum(values[slot]), slot); },
      [&](int32_t key, int64_t cells) {
        list.list_windows(0, cells, key);
        list.close_tile(cells);
      });
}

template <class T, class List>
void pool_on_grid(const ConvGrid& grid, EntryList<Accum<T>>& entries, List& list, const int32_t* keys, const T* values,
                  int64_t capacity) {
  place_entries<T>(entries, grid, keys, values, capacity);
  for (int64_t begin = 0; begin < grid.cells(); begin += kPoolTile) {
    const int64_t end = std::min(begin + kPoolTile, grid.cells());
    bool any = false;
    for (const Tap& tap : grid.taps()) {
      const int64_t to = entries.lower_bound(grid, tap.residue_class, end + tap.offset);
      for (int64_t e = entries.lower_bound(grid, tap.residue_class, begin + tap.offset); e < to; ++e) {
        any = true;
        list.offer(entries.position[e] - tap.offset - begin, entries.value[e],
                   entries.slot ? entries.slot[e] : static_cast<int32_t>(e));
      }
    }
    if (!any) continue;
    grid.for_each_run(begin, end,
                      [&](int64_t a, int64_t b, int32_t key) { list.list_windows(a - begin, b - begin, key); });
    list.close_tile(end - begin);
  }
}

}  // namespace internal

// x lists -> pooled lists. `extra` says, for a maximum, which input slot has it, for a mean, of how many entries.
template <template <class> class Join, class T, class Pool>
void pool_lists(Pool& pool, const PoolWindows& windows, const PoolSizes& n, const int32_t* x_keys, const T* x_values,
                int32_t* keys, T* values, int32_t* found, int32_t* extra, void* workspace) {
  using A = Accum<T>;
  int64_t bytes;
  auto scratch = lay_out_pool<T>(windows, n, workspace, &bytes);
  const LaneOps<A>& ops = lane_ops<A>(8);
  for_each_list(pool, n.batch * n.channels, scratch, [&](PoolScratch<A>& s, int64_t list) {
    const int64_t in = list * n.capacity, out = list * n.out_capacity;
    s.kept.key = keys + out;
    s.kept.extra = extra + out;
    internal::PoolList<Join<A>, A> pooled(s, windows.tile_cells(), n.out_capacity, ops);
    if (windows.disjoint)
      internal::pool_disjoint<T>(*windows.disjoint, pooled, x_keys + in, x_values + in, n.capacity);
    else
      internal::pool_on_grid<T>(*windows.grid, s.entries, pooled, x_keys + in, x_values + in, n.capacity);
    found[list] = static_cast<int32_t>(pooled.finish());
    for (int64_t i = 0; i < s.kept.n; ++i) values[out + i] = from_accum<T>(s.kept.value[i]);
    for (int64_t i = s.kept.n; i < n.out_capacity; ++i) {
      keys[out + i] = static_cast<int32_t>(windows.out_volume());
      values[out + i] = from_accum<T>(0);
      extra[out + i] = Join<A>::kUnused;
    }
  });
}

}  // namespace jaxsparse
