// The sizes of a convolution over a kernel map.
#pragma once

#include <cstdint>

#include "../core/portable.h"

namespace jaxsparse::voxel {

// A convolution from `in_rows` rows of `in_channels` to `out_rows` of `out_channels`. Channels come in groups; each
// group of outputs sees the inputs of its own group alone.
struct ConvSizes {
  int64_t taps;
  int64_t in_rows;
  int64_t out_rows;
  int64_t in_channels;
  int64_t out_channels;
  int64_t groups;

  JAXSPARSE_ANYWHERE int64_t in_group() const { return in_channels / groups; }
  JAXSPARSE_ANYWHERE int64_t out_group() const { return out_channels / groups; }
  // Groups of a single input channel are not multiplied as matrices: a row of numbers meets a row of weights.
  bool depthwise() const { return groups > 1 && in_group() == 1; }
};

}  // namespace jaxsparse::voxel
