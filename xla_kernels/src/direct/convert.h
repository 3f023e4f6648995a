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
  std::vector<Tile<A>> tiles;
  OutputJob<A>* jobs = nullptr;  // [concurrency][blocks]
  A* values = nullptr;           // [concurrency][channels][capacity] when the storage type is narrower
  A* no_bias = nullptr;
  int32_t* side_keys = nullptr;
  A* side_values = nullptr;
  int64_t blocks = 0, concurrency = 1, tile_size = 0;
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
  for (int w = 0; w < kMaxWorkers; ++w) out.tiles.push_back(take_tile<A>(arena, out.tile_size, out.lanes, 0));
  const int64_t values_each = std::is_same_v<T, A> ? 0 : n.channels * n.capacity;
  out.concurrency = batch_concurrency(values_each * static_cast<int64_t>(sizeof(A)) +
                                      out.blocks * static_cast<int64_t>(sizeof(OutputJob<A>)));
  out.jobs = arena.take<OutputJob<A>>(out.concurrency * out.blocks);
  out.values = arena.take<A>(out.concurrency * values_each);
  out.no_bias = arena.take<A>(kMaxLanes);
  const int64_t side = out.lanes * Committer<A>::side_entries(n.capacity);
  out.side_keys = arena.take<int32_t>(side);
  out.side_values = arena.take<A>(side);
  out.bytes = arena.bytes();
  return out;
}

namespace internal {
// Copies the voxels of a tile that are not all 0 and lists them.
template <class T>
CellList load_tile(Tile<Accum<T>>& tile, const LaneOps<Accum<T>>& ops, const T* x, int64_t begin, int64_t end,
                   int64_t channels, int64_t first, int64_t lanes_used) {
  using A = Accum<T>;
  uint64_t* bits = tile.bits + 1;
  std::memset(bits, 0, sizeof(uint64_t) * static_cast<size_t>((end - begin + 63) / 64));
  for (int64_t cell = begin; cell < end; ++cell) {
    const T* voxel = x + cell * channels + first;
    bool any = false;
    for (int64_t l = 0; l < lanes_used; ++l) any |= to_accum(voxel[l]) != A{0};
    if (!any) continue;
    A* to = tile.cells + (cell - begin) * ops.lanes;
    for (int64_t l = 0; l < lanes_used; ++l) to[l] = to_accum(voxel[l]);
    for (int64_t l = lanes_used; l < ops.lanes; ++l) to[l] = 0;
    bits[(cell - begin) >> 6] |= uint64_t{1} << ((cell - begin) & 63);
  }
  CellList list{tile.list_cell, tile.list_key, 0};
  ops.append_cells(list, bits, 0, end - begin, static_cast<int32_t>(begin));
  return list;
}
}  // namespace internal

template <class T, class Pool>
void from_dense(Pool& pool, const DenseSizes& n, const T* x, Rule rule, int32_t* keys, T* values, int32_t* found,
                void* workspace) {
  using A = Accum<T>;
  auto layout = lay_out_from_dense<T>(n, workspace);
  std::fill(layout.no_bias, layout.no_bias + kMaxLanes, A{0});
  const int64_t tiles = (n.volume + layout.tile_size - 1) / layout.tile_size;
  const int64_t blocks = layout.blocks;

  for (int64_t first = 0; first < n.batch; first += layout.concurrency) {
    const int64_t together = std::min(layout.concurrency, n.batch - first);
    const auto channel_values = [&](int64_t b, int64_t c) -> A* {
      if constexpr (std::is_same_v<T, A>)
        return values + ((first + b) * n.channels + c) * n.capacity;
      else
        return layout.values + (b * n.channels + c) * n.capacity;
    };
    for (int64_t b = 0; b < together; ++b) {
      for (int64_t k = 0; k < blocks; ++k) {
        OutputJob<A>& job = layout.jobs[b * blocks + k];
        const int64_t used = std::min<int64_t>(16, n.channels - k * 16);
        job.keys = keys + ((first + b) * n.channels + k * 16) * n.capacity;
        job.values = channel_values(b, k * 16);
        job.capacity = n.capacity;
        job.channels = static_cast<int>(used);
        job.rule = {layout.no_bias, lane_mask(used), rule};
        job.start();
      }
    }
    const int64_t items = together * blocks * tiles;
    const int64_t workers = worker_count(pool, items);
    std::atomic<int64_t> next{0};
    run_workers(pool, workers, [&](int worker) {
      Tile<A>& tile = layout.tiles[static_cast<size_t>(worker)];
      Committer<A> committer;
      committer.start(layout.side_keys, layout.side_values, n.capacity, layout.lanes, worker, workers);
      for (int64_t item; (item = next.fetch_add(1, std::memory_order_relaxed)) < items;) {
        const int64_t at = item % tiles, k = item / tiles % blocks, b = item / (tiles * blocks);
        OutputJob<A>& job = layout.jobs[b * blocks + k];
        const LaneOps<A>& ops = lane_ops<A>(block_lanes(job.channels));
        const int64_t begin = at * layout.tile_size, end = std::min(begin + layout.tile_size, n.volume);
        const CellList list = internal::load_tile<T>(tile, ops, x + (first + b) * n.volume * n.channels, begin, end,
                                                     n.channels, k * 16, job.channels);
        committer.commit(job, ops, at, tile.cells, list);
      }
      committer.flush();
    });
    parallel_for(pool, together * n.channels, std::max<int64_t>(1, 16384 / n.capacity), [&](int64_t i, int) {
      const int64_t b = i / n.channels, c = i % n.channels;
      const int64_t total = layout.jobs[b * blocks + c / 16].offset[c % 16];
      found[first * n.channels + i] = static_cast<int32_t>(total);
      const int64_t at = (first * n.channels + i) * n.capacity;
      finish_list<T>(keys + at, values + at, channel_values(b, c), std::min(total, n.capacity), n.capacity, n.volume);
    });
  }
}

// dense[batch][volume][channels], 0 where nothing is stored.
template <class T, class Pool>
void to_dense(Pool& pool, const DenseSizes& n, const int32_t* keys, const T* values, T* dense) {
  std::vector<int32_t> stored(static_cast<size_t>(n.batch * n.channels));
  parallel_for(pool, n.batch * n.channels, std::max<int64_t>(1, 16384 / n.capacity), [&](int64_t i, int) {
    stored[static_cast<size_t>(i)] =
        static_cast<int32_t>(stored_entries(keys + i * n.capacity, n.capacity, n.volume));
  });
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
