// The windows of a pooling, for kernels of the GPU: which voxels a window holds, and which windows hold a voxel.
#pragma once

#include <algorithm>
#include <cstdint>

#include "box_walk.h"

namespace jaxsparse {

struct PoolBoxes {
  KeyGrid in, out;
  int32_t window[kMaxDims], stride[kMaxDims];
  FastDiv stride_div[kMaxDims];

  explicit PoolBoxes(const ConvGeometry& g) : in(g.dims, g.in), out(g.dims, g.out) {
    for (int i = 0; i < kMaxDims; ++i) {
      const int from = i - (kMaxDims - g.dims);
      // What is longer than the volume is as good as the volume.
      window[i] = from < 0 ? 1 : static_cast<int32_t>(std::min<int64_t>(g.kernel[from], in.size[i]));
      stride[i] = from < 0 ? 1 : static_cast<int32_t>(std::min<int64_t>(g.stride[from], in.size[i]));
      stride_div[i] = FastDiv(stride[i]);
    }
  }

  // The voxels of window o; none where it begins behind the volume.
  __device__ Box voxels_of(const Voxel& o) const {
    Box box;
    for (int i = 0; i < kMaxDims; ++i) {
      const int64_t low = int64_t{o.at[i]} * stride[i], high = low + window[i] - 1, last = in.size[i] - 1;
      box.low.at[i] = static_cast<int32_t>(low <= last ? low : last + 1);
      box.high.at[i] = static_cast<int32_t>(high <= last ? high : last);
    }
    return box;
  }

  // The windows that hold voxel v.
  __device__ Box windows_of(const Voxel& v) const {
    Box box;
    for (int i = 0; i < kMaxDims; ++i) {
      const int32_t at = v.at[i], before = at - window[i];  // the last voxel in front of windows that may hold v
      const auto high = static_cast<int32_t>(stride_div[i](static_cast<uint32_t>(at)));
      box.low.at[i] = before < 0 ? 0 : static_cast<int32_t>(stride_div[i](static_cast<uint32_t>(before))) + 1;
      box.high.at[i] = high < out.size[i] ? high : out.size[i] - 1;
    }
    return box;
  }
};

}  // namespace jaxsparse
