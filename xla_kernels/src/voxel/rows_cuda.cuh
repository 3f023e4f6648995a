// Kernels of lists of rows on the GPU: a thread has a number of the result.
#pragma once

#include "../cuda/division.h"
#include "../cuda/lists.h"

namespace jaxsparse::voxel {

// A row and a channel; neighbours differ in the channel.
struct RowsOfChannels {
  int64_t rows;
  cuda::Divisor channels;

  RowsOfChannels(int64_t rows_, int64_t channels_) : rows(rows_), channels(channels_ > 0 ? channels_ : 1) {
    if (channels_ == 0) rows = 0;
  }
  cuda::Grid grid() const { return {cuda::blocks_of(rows * channels.by, cuda::kListThreads), cuda::kListThreads}; }
};

struct RowChannel {
  int64_t number, row, channel;

  // Of the running thread.
  __device__ explicit RowChannel(const RowsOfChannels& all)
      : number(static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x), row(number) {
    channel = all.channels.divide(row);
  }
};

}  // namespace jaxsparse::voxel
