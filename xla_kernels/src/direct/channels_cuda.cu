// The operations with one number a channel on the GPU.
#include "channels.h"

#include "../bindings/ffi_cuda.h"
#include "stored_cuda.cuh"
#include "sums_cuda.cuh"

namespace jaxsparse {
namespace {

using cuda::Chunk;
using cuda::Chunks;
using cuda::Device;
using cuda::launch;
using cuda::Stored;

// A ChannelTerm on the GPU; null values: 1, null shift: 0.
template <class T>
struct Factor {
  const T* values;
  const T* shift;

  Factor at(int64_t first) const { return {values ? values + first : nullptr, shift}; }
  __device__ T operator()(int64_t place, int64_t channel) const {
    return values ? values[place] - (shift ? shift[channel] : T{0}) : T{1};
  }
};
template <class T>
Factor<T> factor(const ChannelTerm<T>& term) {
  return {term.values, term.shift};
}

template <class T>
struct Product {
  int64_t channels;
  Factor<T> a, b;

  __device__ double operator()(int64_t list, int64_t place) const {
    const int64_t channel = list % channels;
    return static_cast<double>(a(place, channel)) * static_cast<double>(b(place, channel));
  }
};

template <class T>
void channel_dot(Device& device, const ListSizes& n, int64_t volume, const int32_t* keys, const ChannelTerm<T>& a,
                 const ChannelTerm<T>& b, T* out) {
  const auto term_at = [&](int64_t first) { return Product<T>{n.channels, factor(a).at(first), factor(b).at(first)}; };
  channel_totals<T>(device, n, volume, keys, term_at, out);
}

template <class T>
__global__ void channel_affine_kernel(Chunks chunks, Stored stored, int64_t channels, const int32_t* keys, Factor<T> x,
                                      const T* scale, const T* offset, T* out) {
  const Chunk chunk = chunks.of_block(blockIdx.x);
  const int64_t base = chunk.list * chunks.slots, channel = chunk.list % channels;
  const int64_t n = stored.of(chunks, keys + base, chunk.list);
  const T factor = scale[channel], more = offset ? offset[channel] : T{0};
  for (int64_t i = chunk.begin + threadIdx.x; i < chunk.end; i += blockDim.x)
    out[base + i] = i < n ? x(base + i, channel) * factor + more : T{0};
}

template <class T>
void channel_affine(Device& device, const ListSizes& all, int64_t volume, const int32_t* keys, const ChannelTerm<T>& x,
                    const T* scale, const T* offset, T* out) {
  cuda::for_each_stored_stretch(device, all, volume, keys, [&](const Chunks& chunks, const Stored& stored, int64_t at) {
    launch(device.stream, {chunks.blocks(), cuda::kListThreads}, channel_affine_kernel<T>, chunks, stored, all.channels,
           keys + at, factor(x).at(at), scale, offset, out + at);
  });
}

}  // namespace
}  // namespace jaxsparse

#include "channels_handlers.h"

namespace jaxsparse {

JAXSPARSE_CUDA_HANDLER(JaxsparseDirectChannelDot, ChannelDot<cuda::Stream>, "volume");
JAXSPARSE_CUDA_HANDLER(JaxsparseDirectChannelAffine, ChannelAffine<cuda::Stream>, "volume");

}  // namespace jaxsparse
