// How pooling is cut up on the GPU, and its workspace.
#pragma once

#include <algorithm>
#include <cstdint>

#include "../core/arena.h"
#include "../core/dtype.h"
#include "../core/score.h"
#include "../cuda/chunks.h"
#include "pool_windows.h"

namespace jaxsparse {

// Tiles of the output, a block each: contiguous ranges of keys. A tile is some rows of one dimension, whole in the
// dimensions behind it.
struct PoolTiles {
  static constexpr int64_t kCells = 32 * cuda::kListThreads;  // a word of bits for every thread

  int64_t rows, row_cells, split_rows, slice_tiles, per_list = 1;

  explicit PoolTiles(const ConvGeometry& g) {
    int split = g.dims - 1;
    row_cells = 1;
    while (split > 0 && row_cells * g.out[split] <= kCells) row_cells *= g.out[split--];
    split_rows = g.out[split];
    rows = std::min(kCells / row_cells, split_rows);
    slice_tiles = (split_rows + rows - 1) / rows;
    for (int i = 0; i < split; ++i) per_list = checked_product(per_list, g.out[i]);
    per_list = checked_product(per_list, slice_tiles);
  }

  struct Tile {
    int64_t key, cells;
  };
  JAXSPARSE_ANYWHERE Tile of(int64_t tile) const {
    const int64_t first = tile % slice_tiles * rows, left = split_rows - first;
    return {(tile / slice_tiles * split_rows + first) * row_cells, (rows < left ? rows : left) * row_cells};
  }
};

inline constexpr int64_t kMostWindows = int64_t{1} << 40;  // of a list: more than any volume has

// More windows than this never have entries.
inline int64_t most_pool_windows(const ConvGeometry& g, int64_t capacity) {
  int64_t volume = 1, most = capacity;
  for (int i = 0; i < g.dims; ++i) {
    volume *= g.out[i];
    const int64_t windows_of_a_voxel = (g.kernel[i] - 1) / g.stride[i] + 1;
    most = std::min(most, kMostWindows / windows_of_a_voxel) * windows_of_a_voxel;
  }
  return std::min(volume, most);
}

struct PoolCudaScratch {
  // Digits of a rank, highest first, that the search for the weakest kept window looks at one by one.
  static constexpr int kDigitBits = 11;
  static constexpr int64_t kBins = int64_t{1} << kDigitBits;

  static cuda::Chunks pieces(int64_t lists, int64_t slots) { return {lists, slots, 1024}; }

  int32_t* unused = nullptr;  // [lists]
  int32_t* places = nullptr;  // [lists][tiles] windows that have entries; then, how many before
  // Where not all may fit:
  int32_t *above = nullptr, *ties = nullptr;  // [lists][tiles] windows above the bar and at it; then, how many before
  int32_t* totals = nullptr;                  // [lists]
  uint32_t* bins = nullptr;                   // [lists][kBins]
  uint64_t* bar = nullptr;                    // [lists] the rank of the weakest kept window
  int32_t* kept_ties = nullptr;               // [lists] how many of that rank are kept
  int64_t bytes;

  PoolCudaScratch(const PoolSizes& n, const ConvGeometry& g, void* workspace) {
    Arena arena(workspace);
    const int64_t tiles = n.lists() * PoolTiles(g).per_list;
    const bool may_cut = most_pool_windows(g, n.capacity) > n.out_capacity;
    if (!pieces(1, n.capacity).whole()) unused = arena.take<int32_t>(n.lists());
    if (may_cut || PoolTiles(g).per_list > 1) places = arena.take<int32_t>(tiles);
    if (may_cut) {
      above = arena.take<int32_t>(tiles);
      ties = arena.take<int32_t>(tiles);
      totals = arena.take<int32_t>(n.lists());
      bins = arena.take<uint32_t>(n.lists() * kBins);
      bar = arena.take<uint64_t>(n.lists());
      kept_ties = arena.take<int32_t>(n.lists());
    }
    bytes = arena.bytes();
  }
};

}  // namespace jaxsparse
