// A kernel packed for the leaf loops: output channels in blocks of lanes, only live taps listed.
#pragma once

#include <algorithm>
#include <cstdint>

#include "../core/arena.h"
#include "../core/dtype.h"
#include "grid.h"
#include "lanes.h"

namespace jaxsparse {

struct LiveTap {
  int32_t tap;
  int32_t group;  // its mark group; groups are numbered as their first taps come
  uint32_t lanes;
};

// The taps of a group lie at most this many cells apart.
inline constexpr int64_t kGroupReach = 55;

// Live taps of one row of the kernel and one residue class: bit i of the pattern is the cell i behind
// position - last, so one pattern marks all cells that an entry touches in an output row.
struct MarkGroup {
  int64_t first, last;  // smallest and largest tap offset
  uint64_t pattern;
  int32_t residue_class;
};

inline int block_lanes(int64_t channels_left) { return channels_left > 8 ? 16 : 8; }
inline int64_t block_count(int64_t channels) { return channels / 16 + (channels % 16 ? 1 : 0); }
inline int64_t padded_channels(int64_t channels) {
  return channels / 16 * 16 + (channels % 16 == 0 ? 0 : block_lanes(channels % 16));
}
inline uint32_t lane_mask(int64_t channels) { return channels >= 16 ? 0xffffu : (1u << channels) - 1u; }

// One block: channels [first, first + channels) of the output.
template <class A>
struct FilterBlock {
  int64_t first, channels;
  int lanes;
  A* weight;               // [in][taps][lanes], 0 where masked
  A* bias;                 // [lanes]
  LiveTap* live;           // [in][taps], the first live_count[ic] of each
  int32_t* live_count;     // [in]
  int32_t* weight_count;   // [in] live weights
  MarkGroup* group;        // [in][taps], likewise
  int32_t* group_count;    // [in]
  LiveTap* union_live;     // [taps] taps that are live for any input channel
  MarkGroup* union_group;  // [taps], the first union_count, by class and first offset
  int32_t union_count;
  int64_t reach;  // the farthest that taps of a group lie apart
  int64_t taps;

  const A* weights(int64_t ic, int64_t tap) const { return weight + (ic * taps + tap) * lanes; }
};

template <class A>
FilterBlock<A> take_filter_block(Arena& arena, int64_t first, int64_t channels, int64_t in, int64_t taps) {
  FilterBlock<A> block{};
  block.first = first;
  block.channels = std::min<int64_t>(16, channels - first);
  block.lanes = block_lanes(block.channels);
  block.taps = taps;
  block.weight = arena.take<A>(in * taps * block.lanes);
  block.bias = arena.take<A>(kMaxLanes);
  block.live = arena.take<LiveTap>(in * taps);
  block.live_count = arena.take<int32_t>(in);
  block.weight_count = arena.take<int32_t>(in);
  block.group = arena.take<MarkGroup>(in * taps);
  block.group_count = arena.take<int32_t>(in);
  block.union_live = arena.take<LiveTap>(taps);
  block.union_group = arena.take<MarkGroup>(taps);
  return block;
}

namespace internal {
inline int32_t group_taps(const ConvGrid& grid, LiveTap* live, int64_t count, MarkGroup* groups) {
  const int64_t row_taps = grid.geometry().kernel[grid.dims() - 1];
  int32_t n = 0;
  int64_t row = -1;
  int32_t row_begin = 0;
  for (int64_t i = 0; i < count; ++i) {
    const Tap& tap = grid.taps()[static_cast<size_t>(live[i].tap)];
    if (live[i].tap / row_taps != row) {
      row = live[i].tap / row_taps;
      row_begin = n;
    }
    int32_t g = row_begin;
    while (g < n && (groups[g].residue_class != tap.residue_class || tap.offset - groups[g].first > kGroupReach)) ++g;
    if (g == n) groups[n++] = {tap.offset, tap.offset, 0, tap.residue_class};
    live[i].group = g;
    groups[g].last = tap.offset;
    groups[g].pattern |= uint64_t{1} << (tap.offset - groups[g].first);
  }
  for (int32_t g = 0; g < n; ++g) {  // from "cells before first" to "cells behind last"
    uint64_t mirrored = 0;
    for (int64_t i = 0; i <= groups[g].last - groups[g].first; ++i)
      mirrored |= ((groups[g].pattern >> i) & 1u) << (groups[g].last - groups[g].first - i);
    groups[g].pattern = mirrored;
  }
  return n;
}
}  // namespace internal

// kernel[tap][in][out]; mask (may be null) the same; bias[out] may be null. Fills input channel ic.
template <class T>
void pack_filter(FilterBlock<Accum<T>>& block, const ConvGrid& grid, int64_t ic, int64_t in, int64_t out,
                 const T* kernel, const bool* mask) {
  LiveTap* live = block.live + ic * block.taps;
  int32_t count = 0, weights = 0;
  for (int64_t tap = 0; tap < block.taps; ++tap) {
    const int64_t at = (tap * in + ic) * out + block.first;
    auto* weight = block.weight + (ic * block.taps + tap) * block.lanes;
    uint32_t lanes = 0;
    for (int64_t l = 0; l < block.lanes; ++l) {
      const bool alive = l < block.channels && (!mask || mask[at + l]);
      weight[l] = alive && kernel ? to_accum(kernel[at + l]) : 0;
      lanes |= static_cast<uint32_t>(alive) << l;
    }
    weights += __builtin_popcount(lanes);
    if (lanes) live[count++] = {static_cast<int32_t>(tap), 0, lanes};
  }
  block.live_count[ic] = count;
  block.weight_count[ic] = weights;
  block.group_count[ic] = internal::group_taps(grid, live, count, block.group + ic * block.taps);
}

// When every input channel is packed: what they have in common.
template <class A>
void finish_filter(FilterBlock<A>& block, const ConvGrid& grid, int64_t in) {
  block.reach = 0;
  for (int64_t tap = 0; tap < block.taps; ++tap) block.union_live[tap] = {static_cast<int32_t>(tap), 0, 0};
  for (int64_t ic = 0; ic < in; ++ic) {
    for (int32_t i = 0; i < block.live_count[ic]; ++i) {
      const LiveTap& live = block.live[ic * block.taps + i];
      block.union_live[live.tap].lanes |= live.lanes;
    }
    for (int32_t g = 0; g < block.group_count[ic]; ++g) {
      const MarkGroup& group = block.group[ic * block.taps + g];
      block.reach = std::max(block.reach, group.last - group.first);
    }
  }
  const auto* end = std::remove_if(block.union_live, block.union_live + block.taps,
                                   [](const LiveTap& live) { return live.lanes == 0; });
  block.union_count = internal::group_taps(grid, block.union_live, end - block.union_live, block.union_group);
  std::sort(block.union_group, block.union_group + block.union_count, [](const MarkGroup& a, const MarkGroup& b) {
    return a.residue_class != b.residue_class ? a.residue_class < b.residue_class : a.first < b.first;
  });
}

}  // namespace jaxsparse
