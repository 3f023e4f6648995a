// Restricted back-propagation (Eq. 3 of ILA-SCNN): gradients reach stored inputs and live weights only,
// from stored outputs only. Also the response at given output keys, which closes the set of bilinear maps.
#pragma once

#include <cstdint>
#include <vector>

#include "conv.h"
#include "grad_window.h"

namespace jaxsparse {

template <class T>
struct GradLayout {
  using A = Accum<T>;
  std::vector<FilterBlock<A>> blocks;
  std::vector<EntryList<A>> entries;   // [concurrency][in]
  A* sums = nullptr;                   // [concurrency][in][capacity], input gradient when it cannot be summed in place
  int32_t* stored = nullptr;           // [concurrency][out]
  uint8_t* finite = nullptr;           // [concurrency][out]
  std::vector<GradWindow<T>> windows;  // [workers]
  std::vector<WindowTap<A>*> window_taps;
  A* partial = nullptr;  // [slots][kernel], kernel gradient
  A* total = nullptr;    // [kernel]
  int64_t slots = 1, kernel_size = 0, concurrency = 1;
  int64_t bytes = 0;
};

template <class T>
GradLayout<T> lay_out_grad(const ConvGrid& grid, const ConvSizes& n, GradOf of, void* workspace) {
  using A = Accum<T>;
  constexpr bool kWidens = !std::is_same_v<T, A>;
  GradLayout<T> out;
  Arena arena(workspace);
  const auto taps = static_cast<int64_t>(grid.taps().size());
  for (int64_t first = 0; first < n.out_channels; first += 16)
    out.blocks.push_back(take_filter_block<A>(arena, first, n.out_channels, n.in_channels, taps));
  const bool copies = of == GradOf::kKernel && (kWidens || !grid.identity());
  const auto take_batch_element = [&](Arena& a) {
    for (int64_t ic = 0; ic < n.in_channels; ++ic)
      out.entries.push_back(take_entry_list<A>(a, grid, n.capacity, copies, true));
  };
  Arena one;
  take_batch_element(one);
  out.entries.clear();
  out.concurrency = batch_concurrency(one.bytes());
  for (int64_t b = 0; b < out.concurrency; ++b) take_batch_element(arena);
  if (of == GradOf::kInput && (kWidens || !grid.identity()))
    out.sums = arena.take<A>(out.concurrency * n.in_channels * n.capacity);
  out.stored = arena.take<int32_t>(out.concurrency * n.out_channels);
  out.finite = arena.take<uint8_t>(out.concurrency * n.out_channels);
  const int lanes = out.blocks[0].lanes;
  const auto take_window = [&](Arena& a) {
    GradWindow<T> window;
    window.take(a, grid, lanes);
    out.windows.push_back(window);
    out.window_taps.push_back(a.take<WindowTap<A>>(taps));
  };
  Arena measure;
  take_window(measure);
  out.windows.clear();
  out.window_taps.clear();
  const int64_t workers = window_workers(measure.bytes());
  for (int64_t w = 0; w < workers; ++w) take_window(arena);
  if (of == GradOf::kKernel) {
    for (const auto& block : out.blocks) out.kernel_size += n.in_channels * taps * block.lanes;
    const int64_t kernel_bytes = out.kernel_size * static_cast<int64_t>(sizeof(A));
    out.slots = std::clamp<int64_t>((int64_t{16} << 20) / kernel_bytes, 1, kMaxWorkers);
    out.partial = arena.take<A>(out.slots * out.kernel_size);
    out.total = arena.take<A>(out.kernel_size);
  }
  out.bytes = arena.bytes();
  return out;
}

template <class T>
int64_t grad_bytes(T, const ConvGrid& grid, const ConvSizes& n, GradOf of) {
  return lay_out_grad<T>(grid, n, of, nullptr).bytes;
}

namespace internal {

// Places the inputs and measures the outputs of a few batch elements.
template <class T, class Pool>
void prepare_grad(Pool& pool, GradLayout<T>& layout, const ConvGrid& grid, const ConvSizes& n, int64_t first,
                  int64_t together, const int32_t* x_keys, const T* x_values, const int32_t* y_keys, const T* grads) {
  const int64_t at = first * n.in_channels * n.capacity;
  place_lists<T>(pool, layout.entries.data(), together * n.in_channels, grid, x_keys + at,
                 x_values ? x_values + at : nullptr, n.capacity);
  parallel_for(pool, together * n.out_channels, std::max<int64_t>(1, 8192 / n.out_capacity), [&](int64_t i, int) {
    const int64_t list = (first * n.out_channels + i) * n.out_capacity;
    const int64_t stored = stored_entries(y_keys + list, n.out_capacity, grid.out_volume());
    layout.stored[i] = static_cast<int32_t>(stored);
    layout.finite[i] = all_finite(grads + list, stored);
  });
}

// Walks one range of input cells of one batch element; visit(block, ic, from, to, origin, taps, count) gets
// the entries [from, to) of one class and the window taps of that class.
template <class T, class Visit>
void walk_chunk(GradLayout<T>& layout, int worker, const ConvGrid& grid, const ConvSizes& n, const OutputLists<T>& out,
                const EntryList<Accum<T>>* entries, const uint8_t* finite, bool exact_inputs, int64_t begin,
                int64_t end, Visit&& visit) {
  GradWindow<T>& window = layout.windows[static_cast<size_t>(worker)];
  auto* taps = layout.window_taps[static_cast<size_t>(worker)];
  for (const auto& block : layout.blocks) {
    bool exact = exact_inputs;
    for (int64_t l = 0; l < block.channels; ++l) exact |= !finite[block.first + l];
    window.start(grid, out, block.first, block.channels, block.lanes, begin);
    for (int64_t at = begin; at < end; at += window.tile()) {
      const int64_t stop = std::min(at + window.tile(), end);
      window.advance(at + window.tile(), exact);
      for (int64_t ic = 0; ic < n.in_channels; ++ic) {
        const auto& e = entries[ic];
        for (int cls = 0; cls < grid.classes(); ++cls) {
          const int64_t from = e.lower_bound(grid, cls, at), to = e.lower_bound(grid, cls, stop);
          if (from == to) continue;
          int64_t count = 0;
          for (int32_t i = 0; i < block.live_count[ic]; ++i) {
            const LiveTap& live = block.live[ic * block.taps + i];
            const Tap& tap = grid.taps()[static_cast<size_t>(live.tap)];
            if (tap.residue_class != cls) continue;
            const int64_t base = window.base(at, tap.offset);
            taps[count++] = {window.cells() + base * block.lanes, exact ? window.present() + base : nullptr,
                             block.weights(ic, live.tap), nullptr, live.lanes};
          }
          if (count) visit(block, ic, from, to, at, taps, count);
        }
      }
    }
    window.finish();
  }
}

}  // namespace internal

// grads[batch][out][out_capacity] at y_keys -> x_grads[batch][in][capacity].
template <class T, class Pool>
void conv_input_grad(Pool& pool, const ConvGrid& grid, const ConvSizes& n, const int32_t* x_keys, const T* kernel,
                     const bool* mask, const int32_t* y_keys, const T* grads, T* x_grads, void* workspace) {
  using A = Accum<T>;
  auto layout = lay_out_grad<T>(grid, n, GradOf::kInput, workspace);
  pack_blocks<T>(pool, layout.blocks, grid, n.in_channels, n.out_channels, kernel, mask,
                 static_cast<const T*>(nullptr));
  bool finite_kernel = true;
  for (const auto& block : layout.blocks)
    finite_kernel &= all_finite(block.weight, n.in_channels * block.taps * block.lanes);
  const int64_t chunks = grad_chunks(grid), span = (grid.cells() + chunks - 1) / chunks;

  for (int64_t first = 0; first < n.batch; first += layout.concurrency) {
    const int64_t together = std::min(layout.concurrency, n.batch - first);
    internal::prepare_grad<T>(pool, layout, grid, n, first, together, x_keys, static_cast<const T*>(nullptr), y_keys,
                              grads);
    const int64_t lists = together * n.in_channels;
    T* result = x_grads + first * n.in_channels * n.capacity;
    prefer_huge_pages(result, lists * n.capacity * static_cast<int64_t>(sizeof(T)));
    A* sums;
    if constexpr (std::is_same_v<T, A>)
      sums = layout.sums ? layout.sums : result;
    else
      sums = layout.sums;
    std::memset(static_cast<void*>(result), 0, sizeof(T) * static_cast<size_t>(lists * n.capacity));
    if (layout.sums) std::memset(layout.sums, 0, sizeof(A) * static_cast<size_t>(lists * n.capacity));

    std::atomic<int64_t> next{0};
    const int64_t items = together * chunks;
    const auto windows = static_cast<int64_t>(layout.windows.size());
    run_workers(pool, std::min(windows, worker_count(pool, items)), [&](int worker) {
      layout.windows[static_cast<size_t>(worker)].prepare();
      for (int64_t item; (item = next.fetch_add(1, std::memory_order_relaxed)) < items;) {
        const int64_t b = item / chunks, begin = item % chunks * span;
        const OutputLists<T> out{y_keys + (first + b) * n.out_channels * n.out_capacity,
                                 grads + (first + b) * n.out_channels * n.out_capacity,
                                 layout.stored + b * n.out_channels, n.out_capacity};
        const auto* entries = layout.entries.data() + b * n.in_channels;
        internal::walk_chunk<T>(layout, worker, grid, n, out, entries, layout.finite + b * n.out_channels,
                                !finite_kernel, begin, std::min(begin + span, grid.cells()),
                                [&](const FilterBlock<A>& block, int64_t ic, int64_t from, int64_t to, int64_t origin,
                                    const WindowTap<A>* taps, int64_t count) {
                                  lane_ops<A>(block.lanes)
                                      .input_grad(entries[ic].position + from, to - from, origin, taps, count,
                                                  static_cast<int>(block.channels),
                                                  sums + (b * n.in_channels + ic) * n.capacity + from);
                                });
      }
    });
    if (!layout.sums) continue;
    parallel_for(pool, lists, std::max<int64_t>(1, 16384 / n.capacity), [&](int64_t i, int) {
      const EntryList<A>& e = layout.entries[static_cast<size_t>(i)];
      for (int32_t at = 0; at < e.start[grid.classes()]; ++at)
        result[i * n.capacity + (e.slot ? e.slot[at] : at)] = from_accum<T>(layout.sums[i * n.capacity + at]);
    });
  }
}

// -> kernel_grads[taps][in][out], 0 where masked. Partial sums belong to fixed ranges of cells and are
// added in their order, whatever the number of threads.
template <class T, class Pool>
void conv_kernel_grad(Pool& pool, const ConvGrid& grid, const ConvSizes& n, const int32_t* x_keys, const T* x_values,
                      const bool* mask, const int32_t* y_keys, const T* grads, T* kernel_grads, void* workspace) {
  using A = Accum<T>;
  auto layout = lay_out_grad<T>(grid, n, GradOf::kKernel, workspace);
  pack_blocks<T>(pool, layout.blocks, grid, n.in_channels, n.out_channels, static_cast<const T*>(nullptr), mask,
                 static_cast<const T*>(nullptr));
  const int64_t chunks = grad_chunks(grid), span = (grid.cells() + chunks - 1) / chunks;
  std::fill(layout.total, layout.total + layout.kernel_size, A{0});

  for (int64_t first = 0; first < n.batch; first += layout.concurrency) {
    const int64_t together = std::min(layout.concurrency, n.batch - first);
    internal::prepare_grad<T>(pool, layout, grid, n, first, together, x_keys, x_values, y_keys, grads);
    const int64_t items = together * chunks;
    for (int64_t round = 0; round < items; round += layout.slots) {
      const int64_t in_round = std::min(layout.slots, items - round);
      std::atomic<int64_t> next{0};
      const auto windows = static_cast<int64_t>(layout.windows.size());
      run_workers(pool, std::min(windows, worker_count(pool, in_round)), [&](int worker) {
        layout.windows[static_cast<size_t>(worker)].prepare();
        for (int64_t slot; (slot = next.fetch_add(1, std::memory_order_relaxed)) < in_round;) {
          A* partial = layout.partial + slot * layout.kernel_size;
          std::fill(partial, partial + layout.kernel_size, A{0});
          const int64_t b = (round + slot) / chunks, begin = (round + slot) % chunks * span;
          const OutputLists<T> out{y_keys + (first + b) * n.out_channels * n.out_capacity,
                                   grads + (first + b) * n.out_channels * n.out_capacity,
                                   layout.stored + b * n.out_channels, n.out_capacity};
          const auto* entries = layout.entries.data() + b * n.in_channels;
          bool exact = false;
          for (int64_t ic = 0; ic < n.in_channels; ++ic) exact |= !entries[ic].finite;
          internal::walk_chunk<T>(
              layout, worker, grid, n, out, entries, layout.finite + b * n.out_channels, exact, begin,
              std::min(begin + span, grid.cells()),
              [&](const FilterBlock<A>& block, int64_t ic, int64_t from, int64_t to, int64_t origin, WindowTap<A>* taps,
                  int64_t count) {
                A* sums = partial + block.first * n.in_channels * block.taps;  // earlier blocks are full
                for (int64_t t = 0; t < count; ++t) taps[t].weight_sum = sums + (taps[t].weight - block.weight);
                lane_ops<A>(block.lanes)
                    .kernel_grad(entries[ic].position + from, entries[ic].value + from, to - from, origin, taps, count);
              });
        }
      });
      parallel_for(pool, (layout.kernel_size + 4095) / 4096, 4, [&](int64_t part, int) {
        const int64_t end = std::min(layout.kernel_size, (part + 1) * 4096);
        for (int64_t s = 0; s < in_round; ++s)
          for (int64_t i = part * 4096; i < end; ++i) layout.total[i] += layout.partial[s * layout.kernel_size + i];
      });
    }
  }

  for (const auto& block : layout.blocks) {
    const A* sums = layout.total + block.first * n.in_channels * block.taps;
    for (int64_t tap = 0; tap < block.taps; ++tap)
      for (int64_t ic = 0; ic < n.in_channels; ++ic)
        for (int64_t l = 0; l < block.channels; ++l) {
          const int64_t at = (tap * n.in_channels + ic) * n.out_channels + block.first + l;
          const bool alive = !mask || mask[at];
          kernel_grads[at] = from_accum<T>(alive ? sums[(ic * block.taps + tap) * block.lanes + l] : A{0});
        }
  }
}

// The response of the convolution, without bias, at given output keys.
template <class T, class Pool>
void conv_at(Pool& pool, const ConvGrid& grid, const ConvSizes& n, const int32_t* x_keys, const T* x_values,
             const T* kernel, const bool* mask, const int32_t* y_keys, T* y_values, void* workspace) {
  using A = Accum<T>;
  if (n.batch == 0) return;  // an empty buffer may be null
  auto layout = lay_out_conv<T>(grid, n, workspace, false);
  pack_blocks<T>(pool, layout.blocks, grid, n.in_channels, n.out_channels, kernel, mask,
                 static_cast<const T*>(nullptr));
  const auto blocks = static_cast<int64_t>(layout.blocks.size());
  const int64_t tiles = layout.tiles;
  std::memset(static_cast<void*>(y_values), 0,
              sizeof(T) * static_cast<size_t>(n.batch * n.out_channels * n.out_capacity));
  std::vector<int32_t> stored(static_cast<size_t>(n.batch * n.out_channels));
  parallel_for(pool, n.batch * n.out_channels, std::max<int64_t>(1, 8192 / n.out_capacity), [&](int64_t i, int) {
    stored[static_cast<size_t>(i)] =
        static_cast<int32_t>(stored_entries(y_keys + i * n.out_capacity, n.out_capacity, grid.out_volume()));
  });

  for (int64_t first = 0; first < n.batch; first += layout.concurrency) {
    const int64_t together = std::min(layout.concurrency, n.batch - first);
    const int64_t at = first * n.in_channels * n.capacity;
    place_lists<T>(pool, layout.entries.data(), together * n.in_channels, grid, x_keys + at, x_values + at, n.capacity);
    std::atomic<int64_t> next{0};
    const int64_t items = together * blocks * tiles;
    run_workers(pool, worker_count(pool, items), [&](int worker) {
      Tile<A>& tile = layout.tiles_of_workers[static_cast<size_t>(worker)];
      TileAccumulator<A> accumulator(grid, tile, layout.lanes);
      for (int64_t item; (item = next.fetch_add(1, std::memory_order_relaxed)) < items;) {
        const int64_t begin = item % tiles * layout.tile_size, b = item / (tiles * blocks);
        const FilterBlock<A>& block = layout.blocks[static_cast<size_t>(item / tiles % blocks)];
        const LaneOps<A>& ops = lane_ops<A>(block.lanes);
        const EntryList<A>* entries = layout.entries.data() + b * n.in_channels;
        const auto work = accumulator.estimate(block, entries, n.in_channels, begin);
        const CellList list = accumulator.accumulate(block, entries, n.in_channels, begin, work, ops);
        for (int64_t l = 0; l < block.channels; ++l) {
          const int64_t channel = (first + b) * n.out_channels + block.first + l;
          const int64_t at = channel * n.out_capacity;
          const int32_t* keys = y_keys + at;
          const int32_t* end = keys + stored[static_cast<size_t>(channel)];
          const int32_t* key =
              std::lower_bound(keys, end, begin, [&](int32_t k, int64_t cell) { return grid.output_cell(k) < cell; });
          for (; key < end; ++key) {
            const int64_t cell = grid.output_cell(*key) - begin;
            if (cell >= layout.tile_size) break;
            // An underflow can leave -0, which a masked weight's step would turn into +0: always +0.
            y_values[at + (key - keys)] = from_accum<T>(tile.cells[cell * block.lanes + l] + A{0});
          }
        }
        for (int64_t i = 0; i < list.n; ++i)
          std::fill_n(tile.cells + int64_t{list.cell[i]} * block.lanes, block.lanes, A{0});
      }
    });
  }
}

}  // namespace jaxsparse
