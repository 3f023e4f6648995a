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

// Sums over chunks of the input lists, which are added in their order.
struct KernelGradScratch {
  // A list has as many chunks as keep the sums of one batch element this small, within limits. The batch size plays no
  // part, so neither does the size of the workspace: the order of the sums is the same.
  static constexpr int64_t kElementBytes = int64_t{4} << 20, kFewChunks = 32, kMostChunks = 256;
  static cuda::Chunks chunks(const ConvSizes& n, int64_t bytes_of_input) {
    const int64_t each = std::max<int64_t>(1, n.in_channels * bytes_of_input);
    const int64_t most = std::clamp<int64_t>(kElementBytes / each, kFewChunks, kMostChunks);
    return {n.batch * n.in_channels, n.capacity, std::max<int64_t>(cuda::kListThreads, (n.capacity + most - 1) / most)};
  }

  void* total;  // accumulators [in][out][taps]; the first, for stretches of any length must find it in one place
  int32_t *x_unused, *y_unused;
  void* partial;  // accumulators [batch][in][chunks][out][taps]
  int64_t bytes;

  KernelGradScratch(const ConvSizes& n, int64_t taps, int64_t itemsize, void* workspace) {
    Arena arena(workspace);
    const int64_t accumulator = std::max<int64_t>(4, itemsize), of_input = n.out_channels * taps * accumulator;
    total = arena.take<char>(n.in_channels * of_input);
    x_unused = arena.take<int32_t>(n.batch * n.in_channels);
    y_unused = arena.take<int32_t>(n.batch * n.out_channels);
    partial = arena.take<char>(chunks(n, of_input).blocks() * of_input);
    bytes = arena.bytes();
  }
};

}  // namespace jaxsparse
