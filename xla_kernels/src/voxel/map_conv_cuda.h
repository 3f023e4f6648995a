// How the kernel gradient of a convolution over a kernel map is shared out on the GPU, and its workspace.
// jaxsparse/voxel/_cuda_workspace.py says its size.
#pragma once

#include <algorithm>

#include "conv_sizes.h"

namespace jaxsparse::voxel {

// Each of `splits` stretches of output rows has sums of its own, which are added in order: they follow from the shapes.
struct GradSplits {
  static constexpr int64_t kMostBytes = int64_t{32} << 20, kMost = 64, kLeastRows = 1024, kRows = 256;

  int64_t weights, splits, rows;

  GradSplits(const ConvSizes& n, int64_t itemsize) : weights(n.taps * n.in_group() * n.out_channels) {
    const int64_t fit = kMostBytes / std::max<int64_t>(weights * itemsize, 1);
    splits = std::clamp<int64_t>(std::min(fit, (n.out_rows + kLeastRows - 1) / kLeastRows), 1, kMost);
    rows = ((n.out_rows + splits - 1) / splits + kRows - 1) / kRows * kRows;
  }
  int64_t bytes(int64_t itemsize) const { return splits == 1 ? 0 : splits * weights * itemsize + 64; }
};

}  // namespace jaxsparse::voxel
