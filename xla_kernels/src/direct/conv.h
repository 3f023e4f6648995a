// Direct sparse convolution, forward: tiles of the output are accumulated tap by tap and committed as
// sorted lists (ILA-SCNN's Algorithm 1 without its dense buffer, atomics and full sorts).
#pragma once

#include <cstdint>
#include <cstring>
#include <vector>

#include "../core/pages.h"
#include "../core/parallel.h"
#include "commit.h"
#include "entries.h"
#include "filter.h"
#include "grid.h"

namespace jaxsparse {

struct ConvSizes {
  int64_t batch, in_channels, out_channels, capacity, out_capacity;
};

// The entries of a mark group that meet a tile: [from, to) for its latest tap, from `first` on for all.
struct GroupRange {
  int64_t first, from, to;
};

// One worker's tile: `size` cells of lanes, a bit for each touched cell, and lists.
template <class A>
struct Tile {
  A* cells;
  uint64_t* bits;  // one word of slack on both sides
  int32_t* list_cell;
  int32_t* list_key;
  Span<A>* spans;
  GroupRange* ranges;
  int64_t size;
};

// About 256 KiB of accumulators stay in a core's second-level cache.
template <class A>
int64_t tile_cells(int lanes, int64_t total) {
  const int64_t cells = (int64_t{1} << 18) / (lanes * static_cast<int64_t>(sizeof(A)));
  return std::min(cells, (total + 63) / 64 * 64);
}

template <class A>
Tile<A> take_tile(Arena& arena, int64_t size, int lanes, int64_t taps) {
  Tile<A> tile{};
  tile.size = size;
  tile.cells = arena.take<A>(size * lanes);
  tile.bits = arena.take<uint64_t>(size / 64 + 2);
  tile.list_cell = arena.take<int32_t>(size);
  tile.list_key = arena.take<int32_t>(size);
  tile.spans = arena.take<Span<A>>(taps);
  tile.ranges = arena.take<GroupRange>(taps);
  return tile;
}

// Batch elements in flight together: enough to fill the workers when volumes are small, within 8 MiB.
inline int64_t batch_concurrency(int64_t bytes_each) {
  return std::clamp<int64_t>((int64_t{8} << 20) / std::max<int64_t>(1, bytes_each), 1, kMaxWorkers);
}

template <class A>
struct ConvLayout {
  std::vector<FilterBlock<A>> blocks;
  std::vector<EntryList<A>> entries;  // [concurrency][in]
  A* values = nullptr;                // [concurrency][out][out_capacity] when the storage type is narrower
  OutputJob<A>* jobs = nullptr;       // [concurrency][blocks]
  std::vector<Tile<A>> tiles_of_workers;
  CommitScratch<A> commit;
  int64_t concurrency = 1;
  int lanes = 8;
  int64_t tile_size = 0, tiles = 0;
  int64_t bytes = 0;
};

template <class T>
ConvLayout<Accum<T>> lay_out_conv(const ConvGrid& grid, const ConvSizes& n, void* workspace, bool commits) {
  using A = Accum<T>;
  constexpr bool kWidens = !std::is_same_v<T, A>;
  ConvLayout<A> out;
  Arena arena(workspace);
  const auto taps = static_cast<int64_t>(grid.taps().size());
  for (int64_t first = 0; first < n.out_channels; first += 16)
    out.blocks.push_back(take_filter_block<A>(arena, first, n.out_channels, n.in_channels, taps));
  out.lanes = out.blocks[0].lanes;
  out.tile_size = tile_cells<A>(out.lanes, grid.cells());
  out.tiles = (grid.cells() + out.tile_size - 1) / out.tile_size;
  const auto take_batch_element = [&](Arena& a) {
    for (int64_t ic = 0; ic < n.in_channels; ++ic)
      out.entries.push_back(take_entry_list<A>(a, grid, n.capacity, kWidens || !grid.identity(), true));
  };
  Arena one;
  take_batch_element(one);
  out.entries.clear();
  out.concurrency = batch_concurrency(one.bytes());
  for (int64_t b = 0; b < out.concurrency; ++b) take_batch_element(arena);
  for (int w = 0; w < kMaxWorkers; ++w)
    out.tiles_of_workers.push_back(take_tile<A>(arena, out.tile_size, out.lanes, taps));
  if (commits) {
    if (kWidens) out.values = arena.take<A>(out.concurrency * n.out_channels * n.out_capacity);
    out.jobs = arena.take<OutputJob<A>>(out.concurrency * static_cast<int64_t>(out.blocks.size()));
    out.commit = take_commit_scratch<A>(arena, n.out_capacity, out.lanes, out.tiles);
  }
  out.bytes = arena.bytes();
  return out;
}

namespace internal {

// Sets the bits of `pattern`, which has at most 56, from each cell position[i] + shift on.
inline void mark(uint64_t* bits, const int64_t* position, int64_t n, int64_t shift, uint64_t pattern) {
  for (int64_t i = 0; i < n; ++i) {
    const int64_t cell = position[i] + shift;
    bits[cell >> 6] |= pattern << (cell & 63);
    const uint64_t beyond = pattern >> 1 >> (63 - (cell & 63));
    if (beyond) bits[(cell >> 6) + 1] |= beyond;
  }
}

// Sets the touched cells among [begin, end) to 0; null bits: all are touched.
template <class A>
void clear_range(A* cells, const uint64_t* bits, int64_t begin, int64_t end, int lanes) {
  const size_t bytes = sizeof(A) * static_cast<size_t>(lanes);
  if (!bits) {
    std::memset(cells + begin * lanes, 0, bytes * static_cast<size_t>(end - begin));
    return;
  }
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
template <class A>
class TileAccumulator {
 public:
  // `lanes` is the widest block that the tile will hold.
  TileAccumulator(const ConvGrid& grid, Tile<A>& tile, int lanes) : grid_(grid), tile_(tile), bits_(tile.bits + 1) {
    std::memset(tile_.cells, 0, sizeof(A) * static_cast<size_t>(tile_.size * lanes));
    std::memset(tile_.bits, 0, sizeof(uint64_t) * static_cast<size_t>(tile_.size / 64 + 2));
  }

  CellList accumulate(const FilterBlock<A>& block, const EntryList<A>* entries, int64_t in_channels, int64_t begin,
                      const LaneOps<A>& ops) {
    const int64_t end = std::min(begin + tile_.size, grid_.cells());
    CellList list{tile_.list_cell, tile_.list_key, 0};
    const bool dense = estimate(block, entries, in_channels, begin, end) > end - begin;
    bool any = false;
    for (int64_t ic = 0; ic < in_channels; ++ic) {
      const EntryList<A>& e = entries[ic];
      int64_t spans = 0;
      bool exact = false;
      for (int32_t i = 0, groups = 0; i < block.live_count[ic]; ++i) {
        const LiveTap& live = block.live[ic * block.taps + i];
        const Tap& tap = grid_.taps()[static_cast<size_t>(live.tap)];
        GroupRange& range = tile_.ranges[live.group];
        if (live.group == groups) {
          ++groups;
          range.from = e.lower_bound(grid_, tap.residue_class, begin + tap.offset);
          range.to = e.lower_bound(grid_, tap.residue_class, end + tap.offset);
          range.first = range.from;
        } else {  // a neighbour of the group's tap before: a few cells, so a few entries, further
          range.from = e.lower_bound_after(range.from, tap.residue_class, begin + tap.offset);
          range.to = e.lower_bound_after(range.to, tap.residue_class, end + tap.offset);
        }
        if (range.from == range.to) continue;
        tile_.spans[spans++] = {e.position + range.from, e.value + range.from,        range.to - range.from,
                                -tap.offset - begin,     block.weights(ic, live.tap), live.lanes};
        exact |= !e.finite && live.lanes != lane_mask(block.channels);
      }
      if (!spans) continue;
      any = true;
      (exact ? ops.accumulate_exact : ops.accumulate)(tile_.cells, tile_.spans, spans);
      if (dense) continue;
      for (int32_t i = 0; i < block.group_count[ic]; ++i) {
        const MarkGroup& group = block.group[ic * block.taps + i];
        const GroupRange& range = tile_.ranges[i];
        internal::mark(bits_, e.position + range.first, range.to - range.first, -group.last - begin, group.pattern);
      }
    }
    if (!any) return list;
    const uint64_t* bits = dense ? nullptr : bits_;
    int64_t done = 0;
    grid_.for_each_run(begin, end, [&](int64_t a, int64_t b, int32_t key) {
      internal::clear_range(tile_.cells, bits, done, a - begin, block.lanes);  // padding cells
      ops.append_cells(list, bits, a - begin, b - begin, key);
      done = b - begin;
    });
    internal::clear_range(tile_.cells, bits, done, end - begin, block.lanes);
    if (!dense) std::memset(tile_.bits, 0, sizeof(uint64_t) * static_cast<size_t>(tile_.size / 64 + 2));
    return list;
  }

 private:
  // About how many multiply-adds meet this tile: when more than it has cells, marking does not pay.
  int64_t estimate(const FilterBlock<A>& block, const EntryList<A>* entries, int64_t in_channels, int64_t begin,
                   int64_t end) const {
    int64_t steps = 0;
    for (int64_t ic = 0; ic < in_channels; ++ic) {
      const int32_t live = block.live_count[ic];
      if (!live) continue;
      const Tap& middle = grid_.taps()[static_cast<size_t>(block.live[ic * block.taps + live / 2].tap)];
      steps += live * (entries[ic].lower_bound(grid_, middle.residue_class, end + middle.offset) -
                       entries[ic].lower_bound(grid_, middle.residue_class, begin + middle.offset));
    }
    return steps;
  }

  const ConvGrid& grid_;
  Tile<A>& tile_;
  uint64_t* bits_;
};

// Packs the kernel into every block, input channels in parallel.
template <class T, class Pool>
void pack_blocks(Pool& pool, std::vector<FilterBlock<Accum<T>>>& blocks, const ConvGrid& grid, int64_t in, int64_t out,
                 const T* kernel, const bool* mask, const T* bias) {
  for (auto& block : blocks)
    for (int l = 0; l < kMaxLanes; ++l)
      block.bias[l] = bias && l < block.channels ? to_accum(bias[block.first + l]) : 0;
  const int64_t grain = std::max<int64_t>(1, 65536 / std::max<int64_t>(1, blocks[0].taps * out));
  parallel_for(pool, in, grain, [&](int64_t ic, int) {
    for (auto& block : blocks) pack_filter<T>(block, grid, ic, in, out, kernel, mask);
  });
}

// Writes the tails of finished lists and rounds values to the storage type.
template <class T>
void finish_list(int32_t* keys, T* values, const Accum<T>* computed, int64_t stored, int64_t capacity, int64_t volume) {
  if constexpr (!std::is_same_v<T, Accum<T>>)
    for (int64_t i = 0; i < stored; ++i) values[i] = from_accum<T>(computed[i]);
  else
    (void)computed;
  std::fill(keys + stored, keys + capacity, static_cast<int32_t>(volume));
  std::memset(static_cast<void*>(values + stored), 0, sizeof(T) * static_cast<size_t>(capacity - stored));
}

// What run_jobs asks of a convolution: job j is batch element j / blocks, block j % blocks.
template <class A>
class ConvSource {
 public:
  ConvSource(const ConvGrid& grid, const ConvLayout<A>& layout, int64_t in_channels, Tile<A>& tile)
      : layout_(layout), in_channels_(in_channels), tile_(tile), accumulator_(grid, tile, layout.lanes) {}

  CellList compute(int64_t job, int64_t tile) {
    const auto blocks = static_cast<int64_t>(layout_.blocks.size());
    return accumulator_.accumulate(block(job), layout_.entries.data() + job / blocks * in_channels_, in_channels_,
                                   tile * layout_.tile_size, ops(job));
  }
  const LaneOps<A>& ops(int64_t job) const { return lane_ops<A>(block(job).lanes); }
  A* cells() const { return tile_.cells; }

 private:
  const FilterBlock<A>& block(int64_t job) const {
    return layout_.blocks[static_cast<size_t>(job) % layout_.blocks.size()];
  }
  const ConvLayout<A>& layout_;
  int64_t in_channels_;
  Tile<A>& tile_;
  TileAccumulator<A> accumulator_;
};

// x lists [batch][in][capacity] -> lists [batch][out][out_capacity] and counts [batch][out].
template <class T, class Pool>
void conv_forward(Pool& pool, const ConvGrid& grid, const ConvSizes& n, const int32_t* x_keys, const T* x_values,
                  const T* kernel, const T* bias, const bool* mask, Rule rule, int32_t* y_keys, T* y_values,
                  int32_t* y_found, void* workspace) {
  using A = Accum<T>;
  auto layout = lay_out_conv<T>(grid, n, workspace, true);
  const int64_t entries = n.batch * n.out_channels * n.out_capacity;
  prefer_huge_pages(y_keys, entries * static_cast<int64_t>(sizeof(int32_t)));
  prefer_huge_pages(y_values, entries * static_cast<int64_t>(sizeof(T)));
  pack_blocks<T>(pool, layout.blocks, grid, n.in_channels, n.out_channels, kernel, mask, bias);
  const auto blocks = static_cast<int64_t>(layout.blocks.size());

  for (int64_t first = 0; first < n.batch; first += layout.concurrency) {
    const int64_t together = std::min(layout.concurrency, n.batch - first);
    const int64_t at = first * n.in_channels * n.capacity;
    place_lists<T>(pool, layout.entries.data(), together * n.in_channels, grid, x_keys + at, x_values + at, n.capacity);

    const auto channel_values = [&](int64_t b, int64_t oc) -> A* {
      if constexpr (std::is_same_v<T, A>)
        return y_values + ((first + b) * n.out_channels + oc) * n.out_capacity;
      else
        return layout.values + (b * n.out_channels + oc) * n.out_capacity;
    };
    for (int64_t j = 0; j < together * blocks; ++j) {
      const FilterBlock<A>& block = layout.blocks[static_cast<size_t>(j % blocks)];
      OutputJob<A>& job = layout.jobs[j];
      job.keys = y_keys + ((first + j / blocks) * n.out_channels + block.first) * n.out_capacity;
      job.values = channel_values(j / blocks, block.first);
      job.capacity = n.out_capacity;
      job.channels = static_cast<int>(block.channels);
      job.rule = {block.bias, nullptr, lane_mask(block.channels), rule};
    }
    run_jobs<A>(pool, layout.jobs, together * blocks, layout.tiles, layout.commit, [&](int worker) {
      return ConvSource<A>(grid, layout, n.in_channels, layout.tiles_of_workers[static_cast<size_t>(worker)]);
    });

    const int64_t finish_grain = std::max<int64_t>(1, 16384 / n.out_capacity);
    parallel_for(pool, together * n.out_channels, finish_grain, [&](int64_t i, int) {
      const int64_t b = i / n.out_channels, oc = i % n.out_channels;
      const OutputJob<A>& job = layout.jobs[b * blocks + oc / 16];
      const int lane = static_cast<int>(oc % 16);
      y_found[first * n.out_channels + i] = static_cast<int32_t>(job.found[lane]);
      const int64_t at = (first * n.out_channels + i) * n.out_capacity;
      finish_list<T>(y_keys + at, y_values + at, channel_values(b, oc), job.stored(lane), n.out_capacity,
                     grid.out_volume());
    });
  }
}

}  // namespace jaxsparse
