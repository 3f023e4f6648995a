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
#include "tile.h"

namespace jaxsparse {

struct ConvSizes {
  int64_t batch, in_channels, out_channels, capacity, out_capacity;
};

enum class GradOf { kInput, kKernel };

// Batch elements in flight together: enough to fill the workers when volumes are small, within 8 MiB.
inline int64_t batch_concurrency(int64_t bytes_each) {
  return std::clamp<int64_t>((int64_t{8} << 20) / std::max<int64_t>(1, bytes_each), 1, kMaxWorkers);
}

template <class A>
struct ConvLayout {
  std::vector<FilterBlock<A>> blocks;
  std::vector<EntryList<A>> entries;  // [concurrency][in]
  A* values = nullptr;                // [jobs_together][lanes][out_capacity] when the storage type is narrower
  OutputJob<A>* jobs = nullptr;       // [jobs_together]
  std::vector<Tile<A>> tiles_of_workers;
  CommitScratch<A> commit;
  int64_t concurrency = 1;    // batch elements whose entries are placed together
  int64_t jobs_together = 1;  // a job is one of them and a block
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
    out.tiles_of_workers.push_back(take_tile<A>(arena, out.tile_size, out.lanes, taps, commits));
  if (commits) {
    out.jobs_together = out.concurrency * static_cast<int64_t>(out.blocks.size());
    if (kWidens) {
      const int64_t each = out.lanes * n.out_capacity;
      out.jobs_together =
          std::clamp<int64_t>((int64_t{8} << 20) / (each * static_cast<int64_t>(sizeof(A))), 1, out.jobs_together);
      out.values = arena.take<A>(out.jobs_together * each);
    }
    out.jobs = arena.take<OutputJob<A>>(out.jobs_together);
    out.commit = take_commit_scratch<A>(arena, n.out_capacity, out.lanes, out.tiles);
  }
  out.bytes = arena.bytes();
  return out;
}

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
  for (auto& block : blocks) finish_filter(block, grid, in);
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

// What run_jobs asks of a convolution: job j, counted from `first_job`, is batch element j / blocks, block j % blocks.
template <class A>
class ConvSource {
 public:
  ConvSource(const ConvGrid& grid, const ConvLayout<A>& layout, int64_t in_channels, int64_t first_job, Tile<A>& tile)
      : layout_(layout),
        in_channels_(in_channels),
        first_job_(first_job),
        tile_(tile),
        accumulator_(grid, tile, layout.lanes) {}

  TileResponses<A> compute(int64_t job, int64_t tile) {
    const auto blocks = static_cast<int64_t>(layout_.blocks.size());
    const EntryList<A>* entries = layout_.entries.data() + (first_job_ + job) / blocks * in_channels_;
    const int64_t begin = tile * layout_.tile_size;
    const OutputJob<A>& to = layout_.jobs[job];
    const auto work = accumulator_.estimate(block(job), entries, in_channels_, begin);
    const bool overflows = layout_.tiles == 1 ? work.products > 2 * to.capacity * to.channels
                                              : to.overflows.load(std::memory_order_relaxed) && !to.has_floors();
    if (accumulator_.prefers_planes(block(job), work, overflows))
      return accumulator_.accumulate_planes(block(job), entries, in_channels_, begin, ops(job), to.rule);
    return {accumulator_.accumulate(block(job), entries, in_channels_, begin, work, ops(job)), nullptr};
  }
  const LaneOps<A>& ops(int64_t job) const { return lane_ops<A>(block(job).lanes); }
  A* cells() const { return tile_.cells; }

 private:
  const FilterBlock<A>& block(int64_t job) const {
    return layout_.blocks[static_cast<size_t>(first_job_ + job) % layout_.blocks.size()];
  }
  const ConvLayout<A>& layout_;
  int64_t in_channels_, first_job_;
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

    for (int64_t first_job = 0; first_job < together * blocks; first_job += layout.jobs_together) {
      const int64_t jobs = std::min(layout.jobs_together, together * blocks - first_job);
      const auto first_channel = [&](int64_t j) {  // of job j, in the output
        return (first + (first_job + j) / blocks) * n.out_channels + (first_job + j) % blocks * 16;
      };
      const auto lane_values = [&](int64_t j, int64_t lane) -> A* {
        if constexpr (std::is_same_v<T, A>)
          return y_values + (first_channel(j) + lane) * n.out_capacity;
        else
          return layout.values + (j * layout.lanes + lane) * n.out_capacity;
      };
      for (int64_t j = 0; j < jobs; ++j) {
        const FilterBlock<A>& block = layout.blocks[static_cast<size_t>((first_job + j) % blocks)];
        OutputJob<A>& job = layout.jobs[j];
        job.keys = y_keys + first_channel(j) * n.out_capacity;
        job.values = lane_values(j, 0);
        job.capacity = n.out_capacity;
        job.channels = static_cast<int>(block.channels);
        job.rule = {block.bias, nullptr, lane_mask(block.channels), rule};
      }
      run_jobs<A>(pool, layout.jobs, jobs, layout.tiles, layout.commit, [&](int worker) {
        return ConvSource<A>(grid, layout, n.in_channels, first_job,
                             layout.tiles_of_workers[static_cast<size_t>(worker)]);
      });

      const int64_t finish_grain = std::max<int64_t>(1, 16384 / n.out_capacity);
      parallel_for(pool, jobs * layout.lanes, finish_grain, [&](int64_t i, int) {
        const int64_t j = i / layout.lanes;
        const auto lane = static_cast<int>(i % layout.lanes);
        const OutputJob<A>& job = layout.jobs[j];
        if (lane >= job.channels) return;
        const int64_t channel = first_channel(j) + lane, at = channel * n.out_capacity;
        y_found[channel] = static_cast<int32_t>(job.found[lane]);
        finish_list<T>(y_keys + at, y_values + at, lane_values(j, lane), job.stored(lane), n.out_capacity,
                       grid.out_volume());
      });
    }
  }
}

}  // namespace jaxsparse
