// Workspaces of the conversions between dense arrays and lists on the GPU.
#pragma once

#include "../core/arena.h"
#include "../cuda/chunks.h"
#include "../cuda/select_scratch.h"
#include "convert.h"

namespace jaxsparse {

// How blocks share out a dense array [batch, volume, channels]: a tile is some voxels of up to 16 channels, a block
// goes over `kTilesOfBlock` of them.
struct DenseTiles {
  static constexpr int64_t kElements = 2048;  // of a tile, at most
  static constexpr int64_t kTilesOfBlock = 8;
  static constexpr int kChannels = 16;

  int64_t volume, channels, tile_channels, tile_voxels, channel_tiles, blocks_of_row;

  DenseTiles(int64_t volume_, int64_t channels_) : volume(volume_), channels(channels_) {
    tile_channels = std::clamp<int64_t>(channels, 1, kChannels);
    tile_voxels = kElements / tile_channels / 32 * 32;  // whole warps
    channel_tiles = (channels + kChannels - 1) / kChannels;
    blocks_of_row = (volume + tile_voxels * kTilesOfBlock - 1) / (tile_voxels * kTilesOfBlock);
  }
  int64_t blocks(int64_t batch) const { return batch * channel_tiles * blocks_of_row; }
};

// Of from_dense: by list and block, the candidates above the threshold and those that are equal to it.
template <class T>
struct FromDenseScratch {
  int32_t *above, *ties;  // [lists][blocks_of_row]
  cuda::SelectScratch<Accum<T>> select;
  int64_t bytes;

  FromDenseScratch(const DenseSizes& n, void* workspace) {
    Arena arena(workspace);
    const int64_t lists = n.batch * n.channels, blocks = DenseTiles(n.volume, n.channels).blocks_of_row;
    above = arena.take<int32_t>(lists * blocks);
    ties = n.capacity < n.volume ? arena.take<int32_t>(lists * blocks) : nullptr;
    if (n.capacity < n.volume) select = cuda::SelectScratch<Accum<T>>(arena, lists, cuda::kSelectPasses<T>);
    bytes = arena.bytes();
  }
};

// Of to_dense and gather_dense.
struct DenseListScratch {
  int32_t* unused = nullptr;  // [lists]
  int64_t bytes;

  DenseListScratch(const DenseSizes& n, void* workspace) {
    Arena arena(workspace);
    if (!cuda::Chunks(n.batch * n.channels, n.capacity).whole()) unused = arena.take<int32_t>(n.batch * n.channels);
    bytes = arena.bytes();
  }
};

}  // namespace jaxsparse
