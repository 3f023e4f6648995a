// The geometry of a convolution or of pooling windows, small enough to be an argument of a kernel: always four axes,
// the leading ones of size 1 where there are fewer. The last axis is x; a row is all voxels that differ in x alone, so
// a key is row * row length + x. A tap row is all taps that differ in x alone.
//
//   output o, tap k  ->  input o * stride + k * dilation - pad
#pragma once

#include "../core/keys.h"
#include "../core/portable.h"
#include "../direct/grid.h"

namespace jaxsparse::cuda {

struct ConvAxes {
  static constexpr int kAxes = kMaxDims, kX = kAxes - 1;
  // The origin of outputs so far out that no tap of them reaches an input, nor does any sum with it overflow.
  static constexpr int64_t kFar = int64_t{1} << 62;

  int64_t in[kAxes], out[kAxes], kernel[kAxes], stride[kAxes], pad[kAxes], dilation[kAxes];
  int64_t near_end[kAxes];  // outputs from here on are far
  FastDiv in_div[kAxes], out_div[kAxes], kernel_div[kAxes], tap_rows_div;
  int stretch_shift = 0;  // x >> stretch_shift is below 32

  // `grid` has checked the sizes.
  explicit ConvAxes(const ConvGrid& grid) {
    const ConvGeometry& g = grid.geometry();
    for (int i = 0; i < kAxes; ++i) {
      const int from = i - (kAxes - g.dims);
      in[i] = from < 0 ? 1 : g.in[from];
      out[i] = from < 0 ? 1 : g.out[from];
      kernel[i] = from < 0 ? 1 : g.kernel[from];
      stride[i] = from < 0 ? 1 : g.stride[from];
      pad[i] = from < 0 ? 0 : g.pad[from];
      dilation[i] = from < 0 ? 1 : g.dilation[from];
      // Products up to 2^61 stand for themselves.
      near_end[i] = std::min(out[i], (int64_t{1} << 61) / stride[i] + 1);
      in_div[i] = FastDiv(in[i]);
      out_div[i] = FastDiv(out[i]);
      kernel_div[i] = FastDiv(kernel[i]);
    }
    tap_rows_div = FastDiv(tap_rows());
    while ((in[kX] - 1) >> stretch_shift >= 32) ++stretch_shift;
  }

  JAXSPARSE_ANYWHERE int64_t in_rows() const { return in[0] * in[1] * in[2]; }
  JAXSPARSE_ANYWHERE int64_t out_rows() const { return out[0] * out[1] * out[2]; }
  JAXSPARSE_ANYWHERE int64_t in_volume() const { return in_rows() * in[kX]; }
  JAXSPARSE_ANYWHERE int64_t out_volume() const { return out_rows() * out[kX]; }
  JAXSPARSE_ANYWHERE int64_t tap_rows() const { return kernel[0] * kernel[1] * kernel[2]; }
  JAXSPARSE_ANYWHERE int64_t taps() const { return tap_rows() * kernel[kX]; }

  // The input channel of a tap row that is counted through all of them.
  JAXSPARSE_ANYWHERE int64_t channel_of(int64_t channel_row) const {
    return channel_row >> 31 ? channel_row / tap_rows() : tap_rows_div(static_cast<uint32_t>(channel_row));
  }

  // Where tap 0 of output coordinate o lies on an axis of the input; maybe outside of it.
  JAXSPARSE_ANYWHERE int64_t origin(int axis, int64_t o) const {
    return o < near_end[axis] ? o * stride[axis] - pad[axis] : kFar;
  }
};

// The origins of an output row on all axes but x.
struct RowOrigin {
  int64_t at[ConvAxes::kX];

  JAXSPARSE_ANYWHERE RowOrigin(const ConvAxes& g, uint32_t out_row) {
    for (int i = ConvAxes::kX - 1; i >= 0; --i) {
      const uint32_t q = g.out_div[i](out_row);
      at[i] = g.origin(i, static_cast<int64_t>(out_row) - static_cast<int64_t>(q) * g.out[i]);
      out_row = q;
    }
  }
  // The input row that a tap row takes; -1 outside of the input.
  JAXSPARSE_ANYWHERE int64_t input_row(const ConvAxes& g, int64_t tap_row) const {
    const uint32_t ab = g.kernel_div[2](static_cast<uint32_t>(tap_row)), a = g.kernel_div[1](ab);
    const int64_t b = ab - a * g.kernel[1], c = tap_row - ab * g.kernel[2];
    const int64_t i = at[0] + a * g.dilation[0], j = at[1] + b * g.dilation[1], k = at[2] + c * g.dilation[2];
    const bool inside = i >= 0 && i < g.in[0] && j >= 0 && j < g.in[1] && k >= 0 && k < g.in[2];
    return inside ? (i * g.in[1] + j) * g.in[2] + k : -1;
  }
};

}  // namespace jaxsparse::cuda
