// Workspace of the convolution on the GPU.
#pragma once

#include <algorithm>
#include <numeric>

#include "../core/arena.h"
#include "../cuda/chunks.h"
#include "../cuda/conv_geometry.h"
#include "conv.h"

namespace jaxsparse {

// Output channels that one block works on, and the most consecutive output keys, a tile.
inline constexpr int kConvGroup = 8;
inline constexpr int64_t kConvTile = 4096;
inline constexpr int64_t kConvBins = 2048;
// The most words of shared memory that say where input rows have entries (conv_device.h).
inline constexpr int64_t kReachWords = 8192;

// The output lists cut into tiles: small ones where volumes are small, so that there are blocks enough.
struct ConvTiles {
  int64_t volume, cells, per_list;

  explicit ConvTiles(int64_t volume_)
      : volume(volume_), cells(volume_ <= 65536 ? kConvTile / 4 : kConvTile), per_list((volume_ + cells - 1) / cells) {}

  // Words of shared memory for a tile's rows of entries: one for each input channel, tap row and output row.
  int64_t reach_words(const cuda::ConvAxes& g, int64_t in_channels) const {
    const int64_t rows = std::min(g.out_rows(), (cells - 1) / g.out[cuda::ConvAxes::kX] + 2);
    const int64_t taps = std::min(g.tap_rows(), kReachWords), channels = std::min(in_channels, kReachWords);
    return std::min(kReachWords, rows * taps * channels);
  }
};

// More responses than this no output list has, whatever the input: an entry meets a tap in a few outputs at most.
inline int64_t most_responses(const ConvGeometry& g, const ConvSizes& n) {
  constexpr int64_t kMost = int64_t{1} << 40;  // more than any volume has
  int64_t volume = 1, most = n.in_channels * n.capacity;
  for (int i = 0; i < g.dims; ++i) {
    volume *= g.out[i];
    const int64_t period = g.stride[i] / std::gcd(g.stride[i], g.dilation[i]);  // of the taps that meet a voxel
    const int64_t taps = (g.kernel[i] - 1) / period + 1;
    most = std::min(most, kMost / taps) * taps;
  }
  return std::min(volume, most);
}

// What selection keeps of a list: ranks above `rank`, and of those that equal it the first `ties` by key. While it is
// `open`, only the high bits of `rank` are known: `ties` are to be kept of all ranks that share them.
struct ConvCut {
  uint64_t rank;
  int32_t ties;
  int32_t open;
};

struct ConvScratch {
  // Of lists in several chunks: [chunks of the input lists] and [batch][out]
  int32_t *ends = nullptr, *out_unused = nullptr;
  int32_t* starts;            // [batch][in][rows + 1]
  uint8_t *live, *live_rows;  // [groups][in][taps], [.. tap rows]: a bit for each output channel
  // Where there is selection; `histogram` and behind it `tickets` are cleared together.
  uint64_t* counts = nullptr;     // [batch][out][tiles]: above the cut << 32 | ties
  ConvCut* cuts = nullptr;        // [batch][out]
  uint32_t* histogram = nullptr;  // [batch][out][bins]
  uint32_t* tickets = nullptr;    // [batch][groups]
  int64_t cleared_words = 0;
  int64_t bytes;

  ConvScratch(const cuda::ConvAxes& g, const ConvSizes& n, bool selects, void* workspace) {
    Arena arena(workspace);
    const int64_t inputs = n.batch * n.in_channels, outputs = n.batch * n.out_channels;
    const int64_t groups = (n.out_channels + kConvGroup - 1) / kConvGroup;
    live = arena.take<uint8_t>(groups * n.in_channels * g.taps());
    live_rows = arena.take<uint8_t>(groups * n.in_channels * g.tap_rows());
    const cuda::Chunks chunks(inputs, n.capacity);
    if (!chunks.whole()) ends = arena.take<int32_t>(chunks.blocks());
    starts = arena.take<int32_t>(inputs * (g.in_rows() + 1));
    if (selects) {
      const int64_t before = arena.bytes();
      histogram = arena.take<uint32_t>(outputs * kConvBins);
      tickets = arena.take<uint32_t>(n.batch * groups);
      cleared_words = (arena.bytes() - before) / static_cast<int64_t>(sizeof(uint32_t));
      counts = arena.take<uint64_t>(outputs * ConvTiles(g.out_volume()).per_list);
      cuts = arena.take<ConvCut>(outputs);
    } else if (!cuda::Chunks(outputs, n.out_capacity).whole()) {
      out_unused = arena.take<int32_t>(outputs);
    }
    bytes = arena.bytes();
  }
};

}  // namespace jaxsparse
