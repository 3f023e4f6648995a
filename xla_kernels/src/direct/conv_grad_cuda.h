// Workspaces of the convolution's gradients on the GPU.
#pragma once

#include <algorithm>

#include "../core/arena.h"
#include "../cuda/chunks.h"
#include "conv.h"

namespace jaxsparse {

// By list what is unused.
struct InputGradScratch {
  int32_t *x_unused, *y_unused;
  int64_t bytes;

  InputGradScratch(const ConvSizes& n, void* workspace) {
    Arena arena(workspace);
    x_unused = arena.take<int32_t>(n.batch * n.in_channels);
    y_unused = arena.take<int32_t>(n.batch * n.out_channels);
    bytes = arena.bytes();
  }
};

// Sums over chunks of the input lists, which are added in their order. A list has a limited number of them.
struct KernelGradScratch {
  static constexpr int64_t kMostChunks = 32;
  static cuda::Chunks chunks(int64_t lists, int64_t slots) {
    return {lists, slots, std::max<int64_t>(cuda::kListThreads, (slots + kMostChunks - 1) / kMostChunks)};
  }

  int32_t *x_unused, *y_unused;
  void* partial;  // accumulators [batch][in][chunks][out][taps]
  void* total;    // accumulators [in][out][taps]
  int64_t bytes;

  KernelGradScratch(const ConvSizes& n, int64_t taps, int64_t itemsize, void* workspace) {
    Arena arena(workspace);
    const int64_t accumulator = std::max<int64_t>(4, itemsize), of_input = n.out_channels * taps * accumulator;
    x_unused = arena.take<int32_t>(n.batch * n.in_channels);
    y_unused = arena.take<int32_t>(n.batch * n.out_channels);
    partial = arena.take<char>(chunks(n.batch * n.in_channels, n.capacity).blocks() * of_input);
    total = arena.take<char>(n.in_channels * of_input);
    bytes = arena.bytes();
  }
};

}  // namespace jaxsparse
