// The gradients of the convolution on the GPU. Of the input: a thread has a stored entry and finds the outputs that it
// met. Of the kernel: a thread has a weight and goes over a chunk of entries; sums over chunks are added in their
// order.
#include "conv_grad_cuda.h"

#include "../bindings/ffi_cuda.h"
#include "../core/dtype.h"
#include "../cuda/lists.h"
#include "box_walk.h"

namespace jaxsparse {
namespace {

using cuda::Chunk;
using cuda::Chunks;
using cuda::Device;
using cuda::kListThreads;
using cuda::launch;

// Which outputs an input voxel meets, and by which taps.
struct ConvBoxes {
  KeyGrid in, out;
  int32_t kernel[kMaxDims];
  int64_t stride[kMaxDims], pad[kMaxDims], dilation[kMaxDims];

  explicit ConvBoxes(const ConvGeometry& g) : in(g.dims, g.in), out(g.dims, g.out) {
    for (int i = 0; i < kMaxDims; ++i) {
      const int from = i - (kMaxDims - g.dims);
      kernel[i] = from < 0 ? 1 : static_cast<int32_t>(g.kernel[from]);
      stride[i] = from < 0 ? 1 : g.stride[from];
      pad[i] = from < 0 ? 0 : g.pad[from];
      dilation[i] = from < 0 ? 1 : g.dilation[from];
    }
  }

  // The box of all outputs that voxel v may meet.
  __device__ Box outputs_of(const Voxel& v) const {
    Box box;
    for (int i = 0; i < kMaxDims; ++i) {
      const int64_t high = v.at[i] + pad[i], low = high - (kernel[i] - 1) * dilation[i];
      const int64_t last = high < 0 ? -1 : quotient(high, stride[i]), end = out.size[i];
      const int64_t first = low <= 0 ? 0 : quotient(low - 1, stride[i]) + 1;
      box.low.at[i] = static_cast<int32_t>(first < end ? first : end);
      box.high.at[i] = static_cast<int32_t>(last < end ? last : end - 1);
    }
    return box;
  }
  // The tap that takes voxel v to output o of its box, or -1.
  __device__ int64_t tap_of(const Voxel& v, const Voxel& o) const {
    int64_t tap = 0;
    for (int i = 0; i < kMaxDims; ++i) {
      const int64_t at = v.at[i] + pad[i] - o.at[i] * stride[i], k = quotient(at, dilation[i]);
      if (k * dilation[i] != at) return -1;
      tap = tap * kernel[i] + k;
    }
    return tap;
  }
  // The output that the tap with these coordinates takes voxel v to; false if there is none.
  __device__ bool output_of(const Voxel& v, const Voxel& tap, Voxel& o) const {
    bool is = true;
    for (int i = 0; i < kMaxDims; ++i) {
      const int64_t at = v.at[i] + pad[i] - tap.at[i] * dilation[i];
      const int64_t to = at < 0 ? -1 : quotient(at, stride[i]);
      is &= at >= 0 && to * stride[i] == at && to < out.size[i];
      o.at[i] = is ? static_cast<int32_t>(to) : 0;
    }
    return is;
  }
  __device__ Voxel tap_voxel(int64_t tap) const {
    Voxel v;
    for (int i = kMaxDims - 1; i >= 0; --i) {
      v.at[i] = static_cast<int32_t>(tap % kernel[i]);
      tap /= kernel[i];
    }
    return v;
  }

 private:
  __device__ static int64_t quotient(int64_t a, int64_t b) { return b == 1 ? a : a / b; }
};

// Input or output lists of a stretch of the batch.
struct GradLists {
  int64_t channels, slots;
  const int32_t *keys, *unused;

  __device__ int64_t stored(int64_t list) const { return slots - unused[list]; }
};

GradLists count_lists(const cuda::Stream& stream, int64_t batch, int64_t channels, int64_t slots, int64_t volume,
                      const int32_t* keys, int32_t* unused) {
  const Chunks pieces(batch * channels, slots, 1024);
  cuda::clear(stream, unused, pieces.lists * static_cast<int64_t>(sizeof(int32_t)));
  launch(stream, {pieces.blocks(), kListThreads}, cuda::count_unused_kernel<>, pieces, volume, keys, unused);
  return {channels, slots, keys, unused};
}

// ---- Of the input
// ---------------------------------------------------------------------------------------------------------

// Outputs come by descending key: by taps, ascending.
template <class T>
__global__ void conv_input_grad_kernel(ConvBoxes boxes, Chunks pieces, GradLists x, GradLists y, const T* kernel,
                                       const bool* mask, const T* grads, T* x_grads) {
  using A = Accum<T>;
  const Chunk piece = pieces.of_block(blockIdx.x);
  const int64_t element = piece.list / x.channels, ic = piece.list % x.channels;
  const int64_t i = piece.begin + threadIdx.x;
  if (i >= piece.end) return;
  A sum = 0;
  if (i < x.stored(piece.list)) {
    const Voxel v = boxes.in.voxel(x.keys[piece.list * x.slots + i]);
    const Box box = boxes.outputs_of(v);
    for (int64_t oc = 0; oc < y.channels; ++oc) {
      const int64_t list = element * y.channels + oc;
      A of_channel = 0;
      walk_box<true>(boxes.out, box, y.keys + list * y.slots, y.stored(list), [&](int64_t at, const Voxel& o) {
        const int64_t tap = boxes.tap_of(v, o), weight = (tap * x.channels + ic) * y.channels + oc;
        if (tap < 0 || (mask && !mask[weight])) return;
        of_channel = cuda::fused(to_accum(grads[list * y.slots + at]), to_accum(kernel[weight]), of_channel);
      });
      sum += of_channel;
    }
  }
  x_grads[piece.list * x.slots + i] = from_accum<T>(sum);
}

template <class T>
void conv_input_grad(Device& device, const ConvGrid& grid, const ConvSizes& all, const int32_t* x_keys, const T* kernel,
                     const bool* mask, const int32_t* y_keys, const T* grads, T* x_grads) {
  const auto stretch = [&](int64_t elements) {
    return ConvSizes{elements, all.in_channels, all.out_channels, all.capacity, all.out_capacity};
  };
  const auto bytes_of = [&](int64_t elements) { return InputGradScratch(stretch(elements), nullptr).bytes; };
  cuda::for_each_stretch(all.batch, device.workspace.bytes, bytes_of, [&](int64_t first, int64_t elements) {
    const InputGradScratch scratch(stretch(elements), device.workspace.data);
    const int64_t from = first * all.in_channels * all.capacity, to = first * all.out_channels * all.out_capacity;
    const GradLists x = count_lists(device.stream, elements, all.in_channels, all.capacity, grid.in_volume(),
                                    x_keys + from, scratch.x_unused);
    const GradLists y = count_lists(device.stream, elements, all.out_channels, all.out_capacity, grid.out_volume(),
                                    y_keys + to, scratch.y_unused);
    const Chunks pieces(elements * all.in_channels, all.capacity, kListThreads);
    launch(device.stream, {pieces.blocks(), kListThreads}, conv_input_grad_kernel<T>, ConvBoxes(grid.geometry()),
           pieces, x, y, kernel, mask, grads + to, x_grads + from);
  });
}

// ---- Of the kernel
// --------------------------------------------------------------------------------------------------------

// The weights of one input channel, one a thread, the taps of an output channel together.
struct GradWeights {
  int64_t taps, out_channels;

  JAXSPARSE_ANYWHERE int64_t of_input() const { return taps * out_channels; }
  JAXSPARSE_ANYWHERE int64_t groups() const { return cuda::blocks_of(of_input(), kListThreads); }
  // Its place in [taps][in][out].
  __device__ int64_t place(int64_t weight, int64_t ic, int64_t in_channels) const {
    return (weight % taps * in_channels + ic) * out_channels + weight / taps;
  }
};

template <class T>
__global__ void conv_kernel_grad_kernel(ConvBoxes boxes, Chunks chunks, GradWeights weights, GradLists x, GradLists y,
                                        const T* x_values, const bool* mask, const T* grads, Accum<T>* partial) {
  using A = Accum<T>;
  JAXSPARSE_SHARED(Voxel, voxels, kListThreads);
  JAXSPARSE_SHARED(A, values, kListThreads);
  const int64_t groups = weights.groups(), block = blockIdx.x / groups;
  const Chunk chunk = chunks.of_block(block);
  const int64_t element = chunk.list / x.channels, ic = chunk.list % x.channels;
  const int64_t weight = blockIdx.x % groups * kListThreads + threadIdx.x;
  const bool mine = weight < weights.of_input();
  const bool live = mine && (!mask || mask[weights.place(weight, ic, x.channels)]);
  const Voxel tap = boxes.tap_voxel(mine ? weight % weights.taps : 0);
  const int64_t list = element * y.channels + (mine ? weight / weights.taps : 0);
  const int32_t* keys = y.keys + list * y.slots;
  const int64_t n = y.stored(list), stored = x.stored(chunk.list), end = chunk.end < stored ? chunk.end : stored;
  A sum = 0;
  int64_t at = 0;  // outputs in front of it are behind: they come by ascending key
  for (int64_t begin = chunk.begin; begin < end; begin += kListThreads) {
    const int64_t entry = chunk.list * x.slots + begin + threadIdx.x;
    const int count = static_cast<int>(end - begin < kListThreads ? end - begin : kListThreads);
    if (static_cast<int>(threadIdx.x) < count) {
      voxels[threadIdx.x] = boxes.in.voxel(x.keys[entry]);
      values[threadIdx.x] = to_accum(x_values[entry]);
    }
    __syncthreads();
    for (int i = 0; live && i < count && at < n; ++i) {
      Voxel o;
      if (!boxes.output_of(voxels[i], tap, o)) continue;
      const int32_t key = boxes.out.key(o);
      at = at || keys[0] >= key ? first_not_below_from(keys, at, n, key) : first_not_below(keys, 0, n, key);
      if (at < n && keys[at] == key) sum = cuda::fused(values[i], to_accum(grads[list * y.slots + at]), sum);
    }
    __syncthreads();
  }
  if (mine) partial[block * weights.of_input() + weight] = sum;
}

inline constexpr int kAddThreads = 1024;

// Adds the sums of all chunks of a stretch; the last stretch writes the gradient. A lane has a weight, a warp a few
// chunks of a list at a time; what the warps have is added in their order.
template <class T>
__global__ void __launch_bounds__(kAddThreads)
    add_partials_kernel(Chunks chunks, GradWeights weights, int64_t in_channels, bool first, bool last,
                        const bool* mask, const Accum<T>* partial, Accum<T>* total, T* kernel_grads) {
  using A = Accum<T>;
  constexpr int kWarps = kAddThreads / cuda::kWarp;
  constexpr int64_t kEach = 16;
  JAXSPARSE_SHARED(A, sums, kAddThreads);
  const int64_t of_input = weights.of_input(), blocks = cuda::blocks_of(of_input, cuda::kWarp);
  const int64_t ic = blockIdx.x / blocks, weight = blockIdx.x % blocks * cuda::kWarp + cuda::lane_index();
  const bool mine = weight < of_input;
  const int64_t parts = cuda::blocks_of(chunks.per_list, kEach), units = chunks.lists / in_channels * parts;
  A sum = mine && !first ? total[ic * of_input + weight] : A{0};
  for (int64_t begin = 0; begin < units; begin += kWarps) {
    const int64_t unit = begin + cuda::warp_index();
    A some = 0;
    if (mine && unit < units) {
      const int64_t from = unit % parts * kEach;
      const int64_t n = chunks.per_list - from < kEach ? chunks.per_list - from : kEach;
      const A* at = partial + ((unit / parts * in_channels + ic) * chunks.per_list + from) * of_input + weight;
      for (int64_t c = 0; c < n; ++c) some += at[c * of_input];
    }
    sums[threadIdx.x] = some;
    __syncthreads();
    if (cuda::warp_index() == 0)
      for (int w = 0; w < kWarps && begin + w < units; ++w) sum += sums[w * cuda::kWarp + cuda::lane_index()];
    __syncthreads();
  }
  if (!mine || cuda::warp_index() != 0) return;
  total[ic * of_input + weight] = sum;
  if (!last) return;
  const int64_t place = weights.place(weight, ic, in_channels);
  kernel_grads[place] = from_accum<T>(!mask || mask[place] ? sum : A{0});
}

template <class T>
void conv_kernel_grad(Device& device, const ConvGrid& grid, const ConvSizes& all, const int32_t* x_keys,
                      const T* x_values, const bool* mask, const int32_t* y_keys, const T* grads, T* kernel_grads) {
  using A = Accum<T>;
  const GradWeights weights{static_cast<int64_t>(grid.taps().size()), all.out_channels};
  const int64_t kernel_size = all.in_channels * weights.of_input();
  if (all.batch == 0) cuda::clear(device.stream, kernel_grads, kernel_size * static_cast<int64_t>(sizeof(T)));
  const auto stretch = [&](int64_t elements) {
    return ConvSizes{elements, all.in_channels, all.out_channels, all.capacity, all.out_capacity};
  };
  const auto scratch_of = [&](int64_t elements, void* workspace) {
    return KernelGradScratch(stretch(elements), weights.taps, sizeof(T), workspace);
  };
  const auto bytes_of = [&](int64_t elements) { return scratch_of(elements, nullptr).bytes; };
  cuda::for_each_stretch(all.batch, device.workspace.bytes, bytes_of, [&](int64_t first, int64_t elements) {
    const KernelGradScratch scratch = scratch_of(elements, device.workspace.data);
    const int64_t from = first * all.in_channels * all.capacity, to = first * all.out_channels * all.out_capacity;
    const GradLists x = count_lists(device.stream, elements, all.in_channels, all.capacity, grid.in_volume(),
                                    x_keys + from, scratch.x_unused);
    const GradLists y = count_lists(device.stream, elements, all.out_channels, all.out_capacity, grid.out_volume(),
                                    y_keys + to, scratch.y_unused);
    const Chunks chunks = KernelGradScratch::chunks(stretch(elements), weights.of_input() * int64_t{sizeof(A)});
    launch(device.stream, {chunks.blocks() * weights.groups(), kListThreads}, conv_kernel_grad_kernel<T>,
           ConvBoxes(grid.geometry()), chunks, weights, x, y, x_values + from, mask, grads + to,
           static_cast<A*>(scratch.partial));
    launch(device.stream, {all.in_channels * cuda::blocks_of(weights.of_input(), cuda::kWarp), kAddThreads},
           add_partials_kernel<T>, chunks, weights, all.in_channels, first == 0, first + elements == all.batch, mask,
           static_cast<const A*>(scratch.partial), static_cast<A*>(scratch.total), kernel_grads);
  });
}

}  // namespace
}  // namespace jaxsparse

#include "conv_grad_handlers.h"

namespace jaxsparse {

JAXSPARSE_CUDA_HANDLER(JaxsparseDirectConvInputGrad, ConvInputGrad<cuda::Stream>, "spatial_shape", "out_shape",
                       "strides", "padding", "dilation");
JAXSPARSE_CUDA_HANDLER(JaxsparseDirectConvKernelGrad, ConvKernelGrad<cuda::Stream>, "spatial_shape", "out_shape",
                       "strides", "padding", "dilation");

}  // namespace jaxsparse
