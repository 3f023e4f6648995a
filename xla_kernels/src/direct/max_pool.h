// Max-pooling over stored entries, on the tap machinery of the convolution: within one tap the map from
// entry to window is injective, and taps in row-major order visit the entries of a window by key.
#pragma once

#include <cstdint>
#include <cstring>
#include <vector>

#include "../core/parallel.h"
#include "../core/select.h"
#include "conv.h"
#include "entries.h"

namespace jaxsparse {

struct PoolSizes {
  int64_t batch, channels, capacity, out_capacity;
};

// Windows start at multiples of the stride and are cut at the end.
inline ConvGeometry pool_geometry(int dims, const int64_t* in, const int64_t* out, const int64_t* window,
                                  const int64_t* strides) {
  ConvGeometry g;
  g.dims = dims;
  for (int i = 0; i < dims; ++i) {
    g.in[i] = in[i];
    g.out[i] = out[i];
    g.kernel[i] = window[i];
    g.stride[i] = strides[i];
    g.dilation[i] = 1;
  }
  return g;
}

// A worker's scratch for one list.
template <class A>
struct PoolScratch {
  EntryList<A> entries;
  A* value;       // [tile] running maximum
  int32_t* slot;  // [tile] which entry it came from
  uint64_t* bits;
  int32_t* cell;  // [tile]
  int32_t* key;   // [tile]
  Responses<A> kept, side;
};

inline constexpr int64_t kPoolTile = 8192;

template <class T>
std::vector<PoolScratch<Accum<T>>> lay_out_pool(const ConvGrid& grid, const PoolSizes& n, void* workspace,
                                                int64_t* bytes) {
  using A = Accum<T>;
  const auto take_one = [&](Arena& arena) {
    PoolScratch<A> s{};
    s.entries = take_entry_list<A>(arena, grid, n.capacity, !std::is_same_v<T, A> || !grid.identity(), true);
    const int64_t tile = std::min(kPoolTile, (grid.cells() + 63) / 64 * 64);
    s.value = arena.take<A>(tile);
    s.slot = arena.take<int32_t>(tile);
    s.bits = arena.take<uint64_t>(tile / 64);
    s.cell = arena.take<int32_t>(tile);
    s.key = arena.take<int32_t>(tile);
    s.kept.value = arena.take<A>(n.out_capacity);
    s.side.key = arena.take<int32_t>(n.out_capacity + kSideSlack);
    s.side.value = arena.take<A>(n.out_capacity + kSideSlack);
    s.side.extra = arena.take<int32_t>(n.out_capacity + kSideSlack);
    return s;
  };
  Arena one;
  take_one(one);
  const int64_t workers = std::clamp<int64_t>((int64_t{32} << 20) / one.bytes(), 1, kMaxWorkers);
  Arena arena(workspace);
  std::vector<PoolScratch<A>> out;
  for (int64_t w = 0; w < workers; ++w) out.push_back(take_one(arena));
  *bytes = arena.bytes();
  return out;
}

namespace internal {

// NaN is the maximum; of equal ones the first stays.
template <class A>
bool takes_over(A value, A current) {
  return value > current || (value != value && current == current);
}

template <class A>
int64_t pool_list(const ConvGrid& grid, PoolScratch<A>& s, int64_t out_capacity, const LaneOps<A>& ops) {
  int64_t found = 0;
  Bound<A> bound;
  s.kept.n = s.side.n = 0;
  const int64_t tile = std::min(kPoolTile, (grid.cells() + 63) / 64 * 64);
  std::memset(s.bits, 0, sizeof(uint64_t) * static_cast<size_t>(tile / 64));
  for (int64_t begin = 0; begin < grid.cells(); begin += tile) {
    const int64_t end = std::min(begin + tile, grid.cells());
    bool any = false;
    for (const Tap& tap : grid.taps()) {
      const int64_t to = s.entries.lower_bound(grid, tap.residue_class, end + tap.offset);
      for (int64_t e = s.entries.lower_bound(grid, tap.residue_class, begin + tap.offset); e < to; ++e) {
        const int64_t c = s.entries.position[e] - tap.offset - begin;
        const uint64_t bit = uint64_t{1} << (c & 63);
        any = true;
        if (!(s.bits[c >> 6] & bit) || takes_over(s.entries.value[e], s.value[c])) {
          s.bits[c >> 6] |= bit;
          s.value[c] = s.entries.value[e];
          s.slot[c] = static_cast<int32_t>(e);
        }
      }
    }
    if (!any) continue;
    CellList list{s.cell, s.key, 0};
    grid.for_each_run(begin, end, [&](int64_t a, int64_t b, int32_t key) {
      ops.append_cells(list, s.bits, a - begin, b - begin, key);
    });
    std::memset(s.bits, 0, sizeof(uint64_t) * static_cast<size_t>(tile / 64));
    found += list.n;
    for (int64_t i = 0; i < list.n; ++i) {
      const A value = s.value[s.cell[i]];
      Responses<A>* to = &s.kept;
      if (s.kept.n == out_capacity) {
        const Rank<A> rank = rank_of(value, Rule::kValue);
        if (rank < bound.rank || (rank == bound.rank && s.key[i] > bound.key)) continue;
        to = &s.side;
      }
      to->key[to->n] = s.key[i];
      to->value[to->n] = value;
      to->extra[to->n] = s.slot[s.cell[i]];
      if (++to->n == out_capacity + kSideSlack) bound = keep_strongest(s.kept, s.side, out_capacity, Rule::kValue);
    }
  }
  if (s.side.n) keep_strongest(s.kept, s.side, out_capacity, Rule::kValue);
  return found;
}

}  // namespace internal

// x lists -> pooled lists; source[i] is the input slot whose value window i took.
template <class T, class Pool>
void max_pool(Pool& pool, const ConvGrid& grid, const PoolSizes& n, const int32_t* x_keys, const T* x_values,
              int32_t* keys, T* values, int32_t* found, int32_t* source, void* workspace) {
  using A = Accum<T>;
  int64_t bytes;
  auto scratch = lay_out_pool<T>(grid, n, workspace, &bytes);
  const LaneOps<A>& ops = lane_ops<A>(8);
  std::atomic<int64_t> next{0};
  const int64_t lists = n.batch * n.channels;
  run_workers(pool, std::min<int64_t>(worker_count(pool, lists), static_cast<int64_t>(scratch.size())),
              [&](int worker) {
                PoolScratch<A>& s = scratch[static_cast<size_t>(worker)];
                for (int64_t list; (list = next.fetch_add(1, std::memory_order_relaxed)) < lists;) {
                  const int64_t in = list * n.capacity, out = list * n.out_capacity;
                  place_entries<T>(s.entries, grid, x_keys + in, x_values + in, n.capacity);
                  s.kept.key = keys + out;
                  s.kept.extra = source + out;
                  found[list] = static_cast<int32_t>(internal::pool_list(grid, s, n.out_capacity, ops));
                  for (int64_t i = 0; i < s.kept.n; ++i) {
                    values[out + i] = from_accum<T>(s.kept.value[i]);
                    if (s.entries.slot) source[out + i] = s.entries.slot[source[out + i]];
                  }
                  for (int64_t i = s.kept.n; i < n.out_capacity; ++i) {
                    keys[out + i] = static_cast<int32_t>(grid.out_volume());
                    values[out + i] = from_accum<T>(0);
                    source[out + i] = -1;
                  }
                }
              });
}

}  // namespace jaxsparse
