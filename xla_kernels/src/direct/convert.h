// Between dense arrays [batch, volume, channels] and sorted lists [batch, channels, capacity].
#pragma once

#include <cstdint>
#include <cstring>
#include <vector>

#include "conv.h"

namespace jaxsparse {

struct DenseSizes {
  int64_t batch, volume, channels, capacity;
};

template <class A>
struct FromDenseLayout {
  std::vector<Tile<A>> tiles_of_workers;
  OutputJob<A>* jobs = nullptr;  // [concurrency][blocks]
  A* values = nullptr;           // [concurrency][channels][capacity] when the storage type is narrower
  A* no_bias = nullptr;
  CommitScratch<A> commit;
  int64_t blocks = 0, concurrency = 1, tile_size = 0, tiles = 0;
  int lanes = 8;
  int64_t bytes = 0;
};

template <class T>
FromDenseLayout<Accum<T>> lay_out_from_dense(const DenseSizes& n, void* workspace) {
  using A = Accum<T>;
  FromDenseLayout<A> out;
  Arena arena(workspace);
  out.lanes = n.channels > 8 ? 16 : 8;
  out.blocks = (n.channels + 15) / 16;
  out.tile_size = tile_cells<A>(out.lanes, n.volume);
  out.tiles = (n.volume + out.tile_size - 1) / out.tile_size;
  for (int w = 0; w < kMaxWorkers; ++w)
    out.tiles_of_workers.push_back(take_tile<A>(arena, out.tile_size, out.lanes, 0));
  const int64_t values_each = std::is_same_v<T, A> ? 0 : n.channels * n.capacity;
  out.concurrency = batch_concurrency(values_each * static_cast<int64_t>(sizeof(A)) +
                                      out.blocks * static_cast<int64_t>(sizeof(OutputJob<A>)));
  out.jobs = arena.take<OutputJob<A>>(out.concurrency * out.blocks);
  out.values = arena.take<A>(out.concurrency * values_each);
  out.no_bias = arena.take<A>(kMaxLanes);
  out.commit = take_commit_scratch<A>(arena, n.capacity, out.lanes, out.tiles);
  out.bytes = arena.bytes();
  return out;
}

// What run_jobs asks of a dense array: the voxels of a tile that are not all 0.
template <class T>
class DenseSource {
  using A = Accum<T>;

 public:
  DenseSource(const FromDenseLayout<A>& layout, const DenseSizes& n, const T* x, Tile<A>& tile)
      : layout_(layout), n_(n), x_(x), tile_(tile) {}

  TileResponses<A> compute(int64_t job, int64_t index) {
    const int64_t begin = index * layout_.tile_size, end = std::min(begin + layout_.tile_size, n_.volume);
    const int64_t used = layout_.jobs[job].channels;
    const int lanes = block_lanes(used);
    const T* x = x_ + job / layout_.blocks * n_.volume * n_.channels + job % layout_.blocks * 16;
    uint64_t* bits = tile_.bits + 1;
    std::memset(bits, 0, sizeof(uint64_t) * static_cast<size_t>((end - begin + 63) / 64));
    for (int64_t cell = begin; cell < end; ++cell) {
      const T* voxel = x + cell * n_.channels;
      bool any = false;
      for (int64_t l = 0; l < used; ++l) any |= to_accum(voxel[l]) != A{0};
      if (!any) continue;
      A* to = tile_.cells + (cell - begin) * lanes;
      for (int64_t l = 0; l < used; ++l) to[l] = to_accum(voxel[l]);
      for (int64_t l = used; l < lanes; ++l) to[l] = 0;
      bits[(cell - begin) >> 6] |= uint64_t{1} << ((cell - begin) & 63);
    }
    CellList list{tile_.list_cell, tile_.list_key, 0};
    ops(job).append_cells(list, bits, 0, end - begin, static_cast<int32_t>(begin));
    return {list, nullptr};
  }
  const LaneOps<A>& ops(int64_t job) const { return lane_ops<A>(block_lanes(layout_.jobs[job].channels)); }
  A* cells() const { return tile_.cells; }

 private:
  const FromDenseLayout<A>& layout_;
  const DenseSizes& n_;
  const T* x_;
  Tile<A>& tile_;
};

template <class T, class Pool>
void from_dense(Pool& pool, const DenseSizes& n, const T* x, Rule rule, int32_t* keys, T* values, int32_t* found,
                void* workspace) {
  using A = Accum<T>;
  auto layout = lay_out_from_dense<T>(n, workspace);
  std::fill(layout.no_bias, layout.no_bias + kMaxLanes, A{0});
  const int64_t blocks = layout.blocks;

  for (int64_t first = 0; first < n.batch; first += layout.concurrency) {
    const int64_t together = std::min(layout.concurrency, n.batch - first);
    const auto channel_values = [&](int64_t b, int64_t c) -> A* {
      if constexpr (std::is_same_v<T, A>)
        return values + ((first + b) * n.channels + c) * n.capacity;
      else
        return layout.values + (b * n.channels + c) * n.capacity;
    };
    for (int64_t j = 0; j < together * blocks; ++j) {
      OutputJob<A>& job = layout.jobs[j];
      const int64_t channel = j % blocks * 16, used = std::min<int64_t>(16, n.channels - channel);
      job.keys = keys + ((first + j / blocks) * n.channels + channel) * n.capacity;
      job.values = channel_values(j / blocks, channel);
      job.capacity = n.capacity;
      job.channels = static_cast<int>(used);
      job.rule = {layout.no_bias, nullptr, lane_mask(used), rule};
    }
    run_jobs<A>(pool, layout.jobs, together * blocks, layout.tiles, layout.commit, [&](int worker) {
      return DenseSource<T>(layout, n, x + first * n.volume * n.channels,
                            layout.tiles_of_workers[static_cast<size_t>(worker)]);
    });
    parallel_for(pool, together * n.channels, std::max<int64_t>(1, 16384 / n.capacity), [&](int64_t i, int) {
      const int64_t b = i / n.channels, c = i % n.channels;
      const OutputJob<A>& job = layout.jobs[b * blocks + c / 16];
      const int lane = static_cast<int>(c % 16);
      found[first * n.channels + i] = static_cast<int32_t>(job.found[lane]);
      const int64_t at = (first * n.channels + i) * n.capacity;
      finish_list<T>(keys + at, values + at, channel_values(b, c), job.stored(lane), n.capacity, n.volume);
    });
  }
}

// dense[batch][volume][channels], 0 where nothing is stored.
template <class T, class Pool>
void to_dense(Pool& pool, const DenseSizes& n, const int32_t* keys, const T* values, T* dense) {
  std::vector<int32_t> stored(static_cast<size_t>(n.batch * n.channels));
  parallel_for(pool, n.batch * n.channels, std::max<int64_t>(1, 16384 / n.capacity), [&](int64_t i, int) {
    stored[static_cast<size_t>(i)] = static_cast<int32_t>(stored_entries(keys + i * n.capacity, n.capacity, n.volume));
  });
  prefer_huge_pages(dense, n.batch * n.volume * n.channels * static_cast<int64_t>(sizeof(T)));
  const int64_t span = std::max<int64_t>(1, (int64_t{1} << 16) / n.channels);  // voxels an item writes
  const int64_t spans = (n.volume + span - 1) / span;
  parallel_for(pool, n.batch * spans, 1, [&](int64_t item, int) {
    const int64_t b = item / spans, begin = item % spans * span, end = std::min(begin + span, n.volume);
    T* out = dense + b * n.volume * n.channels;
    std::memset(static_cast<void*>(out + begin * n.channels), 0,
                sizeof(T) * static_cast<size_t>((end - begin) * n.channels));
    for (int64_t c = 0; c < n.channels; ++c) {
      const int64_t list = b * n.channels + c;
      const int32_t* k = keys + list * n.capacity;
      const T* v = values + list * n.capacity;
      const int32_t* last = k + stored[static_cast<size_t>(list)];
      for (const int32_t* at = std::lower_bound(k, last, begin); at < last && *at < end; ++at)
        out[*at * n.channels + c] = v[at - k];
    }
  });
}

// values[batch][channels][capacity] read from a dense array at the stored keys, 0 in unused slots.
template <class T, class Pool>
void gather_dense(Pool& pool, const DenseSizes& n, const int32_t* keys, const T* dense, T* values) {
  parallel_for(pool, n.batch * n.channels, std::max<int64_t>(1, 16384 / n.capacity), [&](int64_t i, int) {
    const int32_t* k = keys + i * n.capacity;
    T* v = values + i * n.capacity;
    const T* from = dense + i / n.channels * n.volume * n.channels + i % n.channels;
    const int64_t stored = stored_entries(k, n.capacity, n.volume);
    for (int64_t e = 0; e < stored; ++e) v[e] = from[int64_t{k[e]} * n.channels];
    std::memset(static_cast<void*>(v + stored), 0, sizeof(T) * static_cast<size_t>(n.capacity - stored));
  });
}

}  // namespace jaxsparse
