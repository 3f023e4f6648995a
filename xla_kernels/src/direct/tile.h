// One worker's tile of output cells: accumulated tap by tap, and the list of its touched voxels.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "../core/arena.h"
#include "entries.h"
#include "filter.h"
#include "grid.h"
#include "lanes.h"

namespace jaxsparse {

// The entries of a mark group that meet a tile.
struct GroupRange {
  int64_t from, to;
};

// One worker's tile: `size` cells of lanes, a bit for each touched cell, and lists. The taps of a group see
// the same entries, so those at the borders of the tile also write to its guards, up to kGroupReach cells.
template <class A>
struct Tile {
  A* cells;            // with guards on both sides
  uint64_t* bits;      // one word of slack on both sides
  uint64_t* occupied;  // for the tile and the reach of a cluster of groups
  int32_t* list_cell;
  int32_t* list_key;
  Span<A>* spans;
  GroupRange* ranges;
  int32_t* plane_keys;  // [lanes][size]; null where no planes are wanted
  int64_t size;
};

// About 256 KiB of accumulators stay in a core's second-level cache.
template <class A>
int64_t tile_cells(int lanes, int64_t total) {
  const int64_t cells = (int64_t{1} << 18) / (lanes * static_cast<int64_t>(sizeof(A)));
  return std::min(cells, (total + 63) / 64 * 64);
}

template <class A>
Tile<A> take_tile(Arena& arena, int64_t size, int lanes, int64_t taps, bool planes = false) {
  Tile<A> tile{};
  tile.size = size;
  A* cells = arena.take<A>((size + 2 * kGroupReach) * lanes);
  if (cells) tile.cells = cells + kGroupReach * lanes;
  tile.bits = arena.take<uint64_t>(size / 64 + 2);
  if (taps) tile.occupied = arena.take<uint64_t>(2 * size / 64 + 4);
  tile.list_cell = arena.take<int32_t>(size);
  tile.list_key = arena.take<int32_t>(size);
  tile.spans = arena.take<Span<A>>(taps);
  tile.ranges = arena.take<GroupRange>(taps);
  if (planes) tile.plane_keys = arena.take<int32_t>(size * lanes);
  return tile;
}

namespace internal {

// Sets the bits of `pattern`, which has at most kGroupReach + 1, from each cell position[i] + shift on.
inline void mark(uint64_t* bits, const int64_t* position, int64_t n, int64_t shift, uint64_t pattern) {
  for (int64_t i = 0; i < n; ++i) {
    const int64_t cell = position[i] + shift;
    bits[cell >> 6] |= pattern << (cell & 63);
    const uint64_t beyond = pattern >> 1 >> (63 - (cell & 63));
    if (beyond) bits[(cell >> 6) + 1] |= beyond;
  }
}

// bit i of `to` |= bit i + shift of `from`, which has a word behind the last one that is needed.
inline void merge_shifted(uint64_t* to, const uint64_t* from, int64_t words, int64_t shift) {
  from += shift >> 6;
  const int r = static_cast<int>(shift & 63);
  for (int64_t w = 0; w < words; ++w) to[w] |= from[w] >> r | from[w + 1] << 1 << (63 - r);
}

// Sets the cells among [begin, end) whose bits are set to 0.
template <class A>
void clear_marked(A* cells, const uint64_t* bits, int64_t begin, int64_t end, int lanes) {
  const size_t bytes = sizeof(A) * static_cast<size_t>(lanes);
  for (int64_t word = begin >> 6; word << 6 < end; ++word) {
    uint64_t w = bits[word];
    const int64_t base = word << 6;
    if (base < begin) w &= ~uint64_t{0} << (begin - base);
    if (base + 64 > end) w &= ~uint64_t{0} >> (base + 64 - end);
    for (; w; w &= w - 1) std::memset(cells + (base + __builtin_ctzll(w)) * lanes, 0, bytes);
  }
}

}  // namespace internal

// Accumulates output cells [begin, begin + tile.size) of one block and lists the touched voxels among
// them. The accumulators are 0 on entry; who reads the list sets its cells back to 0.
//
// Where few weights are alive, a step for all lanes of a cell does little for the time it takes, and most of the time
// goes to cells that a lane has nothing in. Then the tile is laid out by planes, one a lane: a step is a scalar
// multiply-add, and each plane is searched for its own responses. The sums are the same, to the bit: a lane meets the
// same weights in the same order, and those it skips are masked.
template <class A>
class TileAccumulator {
 public:
  // `lanes` is the widest block that the tile will hold.
  TileAccumulator(const ConvGrid& grid, Tile<A>& tile, int lanes) : grid_(grid), tile_(tile), bits_(tile.bits + 1) {
    std::memset(tile_.cells - kGroupReach * lanes, 0,
                sizeof(A) * static_cast<size_t>((tile_.size + 2 * kGroupReach) * lanes));
    std::memset(tile_.bits, 0, sizeof(uint64_t) * static_cast<size_t>(tile_.size / 64 + 2));
  }

  // About how much meets a tile: taps with a live weight, which are steps of all lanes, and live weights.
  struct Work {
    int64_t steps, products;
  };
  Work estimate(const FilterBlock<A>& block, const EntryList<A>* entries, int64_t in_channels, int64_t begin) const {
    const int64_t end = std::min(begin + tile_.size, grid_.cells());
    Work work{0, 0};
    for (int64_t ic = 0; ic < in_channels; ++ic) {
      const int32_t live = block.live_count[ic];
      if (!live) continue;
      const Tap& middle = grid_.taps()[static_cast<size_t>(block.live[ic * block.taps + live / 2].tap)];
      const int64_t n =
          entries[ic].count_about(grid_, middle.residue_class, begin + middle.offset, end + middle.offset);
      work.steps += live * n;
      work.products += block.weight_count[ic] * n;
    }
    return work;
  }

  // Which of the two layouts is cheaper for a tile of that work, in about cycles (fitted to measurements). Reading
  // touched cells is dear where more responses come than there is room for and no floor drops them in bulk: each is
  // looked at by itself.
  bool prefers_planes(const FilterBlock<A>& block, const Work& work, bool overflows) const {
    const int64_t cells = std::min(tile_.size, grid_.cells());
    const int64_t blocks = std::min((cells >> kPlaneBlockShift) + 1, 2 * work.steps);
    const int64_t a_cell = overflows ? 2 * block.lanes : tile_.size >= grid_.cells() ? block.lanes : 3;
    return 3 * work.products / 2 + 8 * block.channels * blocks < 2 * work.steps + a_cell * std::min(cells, work.steps);
  }

  // By planes; the rule says which responses are listed. Who reads them calls clear.
  TileResponses<A> accumulate_planes(const FilterBlock<A>& block, const EntryList<A>* entries, int64_t in_channels,
                                     int64_t begin, const LaneOps<A>& ops, const ResponseRule<A>& rule) {
    const int64_t end = std::min(begin + tile_.size, grid_.cells());
    planes_.stride = tile_.size + 2 * kGroupReach;
    planes_.cells = tile_.cells - kGroupReach * (block.lanes - 1);
    planes_.key = tile_.plane_keys;
    planes_.key_stride = tile_.size;
    std::fill(planes_.n, planes_.n + kMaxLanes, 0);
    std::fill(planes_.found, planes_.found + kMaxLanes, 0);
    bool any = false;
    for (int64_t ic = 0; ic < in_channels; ++ic) {
      bool exact = false;
      const int64_t spans = list_spans(block, entries[ic], ic, begin, end, &exact);
      if (!spans) continue;
      any = true;
      ops.accumulate_planes(planes_.cells, planes_.stride, tile_.spans, spans);
    }
    if (!any) return {{tile_.list_cell, tile_.list_key, 0}, &planes_};
    mark_union(block, entries, in_channels, begin, end, kPlaneBlockShift);
    grid_.for_each_run(begin, end, [&](int64_t a, int64_t b, int32_t key) {
      ops.pack_planes(planes_, bits_, a - begin, b - begin, key, rule);
    });
    clear_planes(block, end - begin);
    std::memset(tile_.bits, 0, sizeof(uint64_t) * static_cast<size_t>(tile_.size / 64 + 2));
    return {{tile_.list_cell, tile_.list_key, 0}, &planes_};
  }

  CellList accumulate(const FilterBlock<A>& block, const EntryList<A>* entries, int64_t in_channels, int64_t begin,
                      const Work& work, const LaneOps<A>& ops) {
    const int64_t end = std::min(begin + tile_.size, grid_.cells());
    CellList list{tile_.list_cell, tile_.list_key, 0};
    const bool crowded = work.steps > end - begin;  // then marks of single entries do not pay
    bool any = false;
    for (int64_t ic = 0; ic < in_channels; ++ic) {
      const EntryList<A>& e = entries[ic];
      bool exact = false;
      const int64_t spans = list_spans(block, e, ic, begin, end, &exact);
      if (!spans) continue;
      any = true;
      (exact ? ops.accumulate_exact : ops.accumulate)(tile_.cells, tile_.spans, spans);
      if (crowded) continue;
      for (int32_t i = 0; i < block.group_count[ic]; ++i) {
        const MarkGroup& group = block.group[ic * block.taps + i];
        const GroupRange& range = tile_.ranges[i];
        internal::mark(bits_, e.position + range.from, range.to - range.from, -group.last - begin, group.pattern);
      }
    }
    if (!any) return list;
    if (crowded) mark_union(block, entries, in_channels, begin, end, 0);
    std::memset(tile_.cells - block.reach * block.lanes, 0, guard_bytes(block));
    std::memset(tile_.cells + (end - begin) * block.lanes, 0, guard_bytes(block));
    int64_t done = 0;
    grid_.for_each_run(begin, end, [&](int64_t a, int64_t b, int32_t key) {
      internal::clear_marked(tile_.cells, bits_, done, a - begin, block.lanes);  // padding cells
      ops.append_cells(list, bits_, a - begin, b - begin, key);
      done = b - begin;
    });
    internal::clear_marked(tile_.cells, bits_, done, end - begin, block.lanes);
    std::memset(tile_.bits, 0, sizeof(uint64_t) * static_cast<size_t>(tile_.size / 64 + 2));
    return list;
  }

 private:
  static size_t guard_bytes(const FilterBlock<A>& block) {
    return sizeof(A) * static_cast<size_t>(block.reach * block.lanes);
  }

  // The work of one input channel: neighbouring taps of a group together, all in the order of the taps.
  int64_t list_spans(const FilterBlock<A>& block, const EntryList<A>& e, int64_t ic, int64_t begin, int64_t end,
                     bool* exact) {
    const LiveTap* live = block.live + ic * block.taps;
    const int32_t count = block.live_count[ic];
    if (count == 0) return 0;
    const auto offset = [&](int32_t i) { return grid_.taps()[static_cast<size_t>(live[i].tap)].offset; };
    // In a single class offsets rise with the taps.
    if (grid_.classes() == 1 && e.none_near(grid_, 0, begin + offset(0), end + offset(count - 1))) return 0;
    int64_t spans = 0;
    for (int32_t i = 0, groups = 0; i < count;) {
      const int32_t g = live[i].group;
      GroupRange& range = tile_.ranges[g];
      if (g == groups) {
        ++groups;
        const MarkGroup& group = block.group[ic * block.taps + g];
        range.from = e.lower_bound(grid_, group.residue_class, begin + group.first);
        range.to = e.lower_bound(grid_, group.residue_class, end + group.last);
      }
      Span<A>& span = tile_.spans[spans];
      span.position = e.position + range.from;
      span.value = e.value + range.from;
      span.n = range.to - range.from;
      span.taps = 0;
      for (; i < count && live[i].group == g && span.taps < Span<A>::kTaps; ++i) {
        span.shift[span.taps] = -offset(i) - begin;
        span.weight[span.taps] = block.weights(ic, live[i].tap);
        span.live[span.taps++] = live[i].lanes;
        *exact |= !e.finite && live[i].lanes != lane_mask(block.channels);
      }
      spans += span.n != 0;
    }
    return spans;
  }

  // Marks the cells that an entry of any input channel can reach by a tap that is live for any of them: the
  // occupied positions once, then a shift of whole words a tap. Cells that stay 0 are no candidates. A bit stands for
  // 2^shift cells.
  void mark_union(const FilterBlock<A>& block, const EntryList<A>* entries, int64_t in_channels, int64_t begin,
                  int64_t end, int shift) {
    const auto bits_for = [&](int64_t cells) { return (cells + (int64_t{1} << shift) - 1) >> shift; };
    const int64_t words = (bits_for(end - begin) + 63) / 64;
    for (int32_t g = 0; g < block.union_count;) {
      const MarkGroup& first = block.union_group[g];
      int64_t reach = first.last - first.first;
      int32_t behind = g + 1;
      for (; behind < block.union_count && block.union_group[behind].residue_class == first.residue_class; ++behind) {
        const int64_t farther = block.union_group[behind].last - first.first;
        if (farther > tile_.size) break;
        reach = std::max(reach, farther);
      }
      const int64_t origin = begin + first.first;
      const int64_t occupied_words = bits_for(end - begin + reach) / 64 + 3;
      std::memset(tile_.occupied, 0, sizeof(uint64_t) * static_cast<size_t>(occupied_words));
      for (int64_t ic = 0; ic < in_channels; ++ic) {
        const EntryList<A>& e = entries[ic];
        const int64_t to = e.lower_bound(grid_, first.residue_class, end + first.first + reach);
        for (int64_t i = e.lower_bound(grid_, first.residue_class, origin); i < to; ++i) {
          const int64_t at = (e.position[i] - origin) >> shift;
          tile_.occupied[at >> 6] |= uint64_t{1} << (at & 63);
        }
      }
      for (; g < behind; ++g) {
        const MarkGroup& group = block.union_group[g];
        int64_t done = -1;
        for (uint64_t p = group.pattern; p; p &= ~(uint64_t{1} << (63 - __builtin_clzll(p)))) {
          // Cell c is reached from c + back, which lies in one of two blocks behind c's.
          const int64_t back = group.last - (63 - __builtin_clzll(p)) - first.first;
          for (int64_t by = back >> shift; by <= bits_for(back); ++by) {
            if (by <= done) continue;
            internal::merge_shifted(bits_, tile_.occupied, words, by);
            done = by;
          }
        }
      }
    }
  }

  // Sets to 0 what the packed lists do not cover, guards included.
  void clear_planes(const FilterBlock<A>& block, int64_t cells) {
    const size_t guard = sizeof(A) * static_cast<size_t>(block.reach);
    for (int64_t l = 0; l < block.channels; ++l) {
      A* plane = planes_.plane(l);
      std::memset(plane - block.reach, 0, guard);
      std::memset(plane + cells, 0, guard);
    }
    const int64_t blocks = (cells + (int64_t{1} << kPlaneBlockShift) - 1) >> kPlaneBlockShift;
    for (int64_t at = 0; at < blocks;) {
      if (!bit(at)) {
        at = bits_[at >> 6] >> (at & 63) ? at + 1 : (at | 63) + 1;
        continue;
      }
      int64_t behind = at + 1;
      while (behind < blocks && bit(behind)) ++behind;
      const int64_t to = std::min(behind << kPlaneBlockShift, tile_.size);
      for (int64_t l = 0; l < block.channels; ++l) {
        const int64_t from = std::max(at << kPlaneBlockShift, planes_.n[l]);
        if (from < to) std::memset(planes_.plane(l) + from, 0, sizeof(A) * static_cast<size_t>(to - from));
      }
      at = behind;
    }
  }
  bool bit(int64_t at) const { return (bits_[at >> 6] >> (at & 63)) & 1u; }

  const ConvGrid& grid_;
  Tile<A>& tile_;
  uint64_t* bits_;
  Planes<A> planes_{};
};

}  // namespace jaxsparse
