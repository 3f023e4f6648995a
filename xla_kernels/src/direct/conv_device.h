// Responses of a convolution on the GPU: which output cells an entry reaches, and the sum at one of them.
#pragma once

#include "../core/dtype.h"
#include "../cuda/rows.h"
#include "conv_cuda.h"

namespace jaxsparse {

// What all passes over a stretch of the batch read.
template <class T>
struct ConvOperands {
  cuda::ConvAxes g;
  int64_t in_channels, out_channels, capacity;
  const int32_t* keys;
  const T* values;
  const T* kernel;
  const T* bias;  // or null
  const int32_t* starts;
  const uint8_t *live, *live_rows;

  JAXSPARSE_ANYWHERE int64_t groups() const { return (out_channels + kConvGroup - 1) / kConvGroup; }
};

namespace internal {

// Which output channels of a group are live at each (input channel, tap), and at any tap of a tap row.
template <class = void>
__global__ void conv_live_kernel(cuda::ConvAxes g, int64_t in, int64_t out, const bool* mask, uint8_t* live,
                                 uint8_t* live_rows) {
  const int64_t groups = (out + kConvGroup - 1) / kConvGroup, width = g.kernel[cuda::ConvAxes::kX];
  const int64_t n = groups * in * g.tap_rows(), step = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += step) {
    const int64_t tap_row = i % g.tap_rows(), ic = i / g.tap_rows() % in, first = i / g.tap_rows() / in * kConvGroup;
    unsigned any = 0;
    for (int64_t k = 0; k < width; ++k) {
      unsigned lanes = 0;
      const int64_t at = ((tap_row * width + k) * in + ic) * out + first;
      for (int l = 0; l < kConvGroup && first + l < out; ++l) lanes |= (!mask || mask[at + l] ? 1u : 0u) << l;
      live[i * width + k] = static_cast<uint8_t>(lanes);
      any |= lanes;
    }
    live_rows[i] = static_cast<uint8_t>(any);
  }
}

// Sets the bits of all cells of the tile [begin, end) that an entry of batch element b reaches by a live tap; by all
// threads of a block. `bits` are cleared, and a barrier must follow.
template <class T>
__device__ void mark_tile(const ConvOperands<T>& in, int64_t b, int64_t group, int64_t begin, int64_t end,
                          uint32_t* bits) {
  constexpr int kX = cuda::ConvAxes::kX;
  const cuda::ConvAxes& g = in.g;
  const int64_t stride = g.stride[kX], dilation = g.dilation[kX], width = g.kernel[kX];
  const int64_t first_row = begin / g.out[kX], rows = (end - 1) / g.out[kX] - first_row + 1;
  const int64_t tap_rows = g.tap_rows(), items = in.in_channels * tap_rows * rows;
  for (int64_t item = threadIdx.x; item < items; item += blockDim.x) {
    const int64_t row = first_row + item % rows, channel_row = item / rows;  // of the tap rows of all input channels
    if (!in.live_rows[group * in.in_channels * tap_rows + channel_row]) continue;
    const int64_t ic = channel_row / tap_rows, tap_row = channel_row % tap_rows;
    const int64_t c = tap_row % g.kernel[2], rest = tap_row / g.kernel[2];
    const int64_t input_row =
        cuda::RowOrigin(g, static_cast<uint32_t>(row)).input_row(g, rest / g.kernel[1], rest % g.kernel[1], c);
    const int64_t cell = row * g.out[kX];  // of x = 0
    const int64_t from = cell < begin ? begin - cell : 0;
    int64_t to = end - cell < g.out[kX] ? end - cell : g.out[kX];
    if (to > g.near_end[kX]) to = g.near_end[kX];
    if (input_row < 0 || from >= to) continue;

    const int64_t list = b * in.in_channels + ic, origin = input_row * g.in[kX];
    const int32_t* starts = in.starts + list * (g.in_rows() + 1) + input_row;
    const int32_t* keys = in.keys + list * in.capacity;
    const uint8_t* live = in.live + (group * in.in_channels * tap_rows + channel_row) * width;
    const int64_t least = g.origin(kX, from), most = g.origin(kX, to - 1) + (width - 1) * dilation;
    const int32_t stop = starts[1];
    for (int32_t e = cuda::lower_bound(keys, starts[0], stop, origin + (least > 0 ? least : 0)); e < stop; ++e) {
      const int64_t x = keys[e] - origin;
      if (x > most) break;
      // x + pad = k * dilation + o * stride for `from` <= o < `to`
      const int64_t at_from = x - least, behind_to = x - g.origin(kX, to - 1);
      int64_t k = behind_to <= 0 ? 0 : dilation == 1 ? behind_to : (behind_to + dilation - 1) / dilation;
      int64_t last = dilation == 1 ? at_from : at_from / dilation;
      if (last > width - 1) last = width - 1;
      for (; k <= last; ++k) {
        const int64_t distance = at_from - k * dilation, o = stride == 1 ? distance : distance / stride;
        if (o * stride != distance || !live[k]) continue;
        const auto bit = static_cast<uint32_t>(cell + from + o - begin);
        atomicOr(&bits[bit / 32], 1u << bit % 32);
      }
    }
  }
}

// sum[l] = the response of output channel group * kConvGroup + first + l at an output cell, for l < lanes; in the
// stated order: input channels ascending, and within one the taps row-major.
template <int lanes, class T>
__device__ void respond(const ConvOperands<T>& in, int64_t b, int64_t group, int first, uint32_t cell, Accum<T>* sum) {
  using A = Accum<T>;
  constexpr int kX = cuda::ConvAxes::kX;
  const cuda::ConvAxes& g = in.g;
  const int64_t dilation = g.dilation[kX], width = g.kernel[kX], reach = (width - 1) * dilation;
  const uint32_t row = g.out_div[kX](cell);
  const cuda::RowOrigin origins(g, row);
  const int64_t left = g.origin(kX, static_cast<int64_t>(cell) - static_cast<int64_t>(row) * g.out[kX]);
  const int64_t inside = left > 0 ? left : 0, first_channel = group * kConvGroup + first;
  JAXSPARSE_UNROLL
  for (int l = 0; l < lanes; ++l) sum[l] = A{0};
  for (int64_t ic = 0; ic < in.in_channels; ++ic) {
    const int64_t list = b * in.in_channels + ic;
    const int32_t* keys = in.keys + list * in.capacity;
    const int32_t* starts = in.starts + list * (g.in_rows() + 1);
    int64_t tap_row = 0, live_row = (group * in.in_channels + ic) * g.tap_rows();
    for (int64_t i = 0; i < g.kernel[0]; ++i)
      for (int64_t j = 0; j < g.kernel[1]; ++j)
        for (int64_t k = 0; k < g.kernel[2]; ++k, ++tap_row, ++live_row) {
          if (!in.live_rows[live_row]) continue;
          const int64_t input_row = origins.input_row(g, i, j, k);
          if (input_row < 0) continue;
          const int64_t origin = input_row * g.in[kX];
          const int32_t stop = starts[input_row + 1];
          for (int32_t e = cuda::lower_bound(keys, starts[input_row], stop, origin + inside); e < stop; ++e) {
            const int64_t distance = keys[e] - origin - left;
            if (distance > reach) break;
            const int64_t x = dilation == 1 ? distance : distance / dilation;
            if (x * dilation != distance) continue;
            const unsigned live = static_cast<unsigned>(in.live[live_row * width + x]) >> first;
            if (!(live & ((1u << lanes) - 1))) continue;
            const A value = to_accum(in.values[list * in.capacity + e]);
            const T* weight =
                in.kernel + ((tap_row * width + x) * in.in_channels + ic) * in.out_channels + first_channel;
            JAXSPARSE_UNROLL
            for (int l = 0; l < lanes; ++l)
              if (live >> l & 1) sum[l] = cuda::fused(value, to_accum(weight[l]), sum[l]);
          }
        }
  }
}

}  // namespace internal
}  // namespace jaxsparse
