// Moving blocks between images and lists on the GPU: a thread has an element of a block, or 16 bytes of neighbours.
#include "../bindings/ffi_cuda.h"
#include "../cuda/division.h"
#include "../cuda/lists.h"
#include "list_cuda.cuh"

namespace jaxsparse::block {
namespace {

using cuda::blocks_of;
using cuda::Device;
using cuda::Divisor;
using cuda::kListThreads;

// Neighbouring channels that are read and written at once.
template <class T, int n>
struct alignas(sizeof(T) * n) Pack {
  T lane[n];
};
constexpr int64_t kPackBytes = 16;
using Bytes = Pack<uint64_t, 2>;  // of any type

bool can_pack(int64_t channels, int64_t itemsize, std::initializer_list<const void*> arrays) {
  bool aligned = channels * itemsize % kPackBytes == 0;
  for (const void* array : arrays) aligned = aligned && reinterpret_cast<uintptr_t>(array) % kPackBytes == 0;
  return aligned;
}

MoveSizes in_packs(MoveSizes n, int64_t lanes) {
  n.channels /= lanes;
  return n;
}

// ---- Which element a thread has
// ----------------------------------------------------------------------------------------

// The pixels of blocks in row-major order.
struct BoxPixels {
  int64_t count;
  Divisor plane, line;

  explicit BoxPixels(const Tiling& t)
      : count(t.box_pixels()), plane(t.axis[1].size * t.axis[2].size), line(t.axis[2].size) {}

  __device__ Pixel at(int64_t number) const {
    const int64_t in_plane = plane.divide(number);
    int64_t row = in_plane;
    const int64_t x = line.divide(row);
    return {{static_cast<int32_t>(number), static_cast<int32_t>(row), static_cast<int32_t>(x)}};
  }
  __device__ int64_t number(const Pixel& pixel) const {
    return pixel.at[0] * plane.by + pixel.at[1] * line.by + pixel.at[2];
  }
};

// Channels last: the elements of all blocks, one after the other.
struct Elements {
  BoxPixels pixels;
  Divisor of_row, channels;
  int64_t total;

  Elements(const Tiling& t, const MoveSizes& n)
      : pixels(t), of_row(pixels.count * n.channels), channels(n.channels), total(n.capacity * of_row.by) {}

  int64_t blocks() const { return blocks_of(total, kListThreads); }
};

struct Element {
  int64_t number;
  int32_t row;
  int64_t channel;
  Pixel pixel;

  // Of the running thread; none where the number is not below the total.
  __device__ explicit Element(const Elements& all)
      : number(static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) {
    int64_t rest = number;
    int64_t in_row = all.of_row.divide(rest);
    row = static_cast<int32_t>(rest);
    channel = all.channels.divide(in_row);
    pixel = all.pixels.at(in_row);
  }
};

// Channels first: a block of threads turns a tile of some pixels and channels of one block around in shared memory. The
// sides are powers of 2.
struct Turn {
  static constexpr int kElements = 1024, kMostChannels = 32;
  static constexpr int kCells = 3 * kElements / 2;  // pitches of 3 and more are odd, so that lanes meet different banks

  BoxPixels pixels;
  int64_t channels, pixel_tiles, channel_tiles;
  int log_channels = 0, log_pixels, pitch;

  Turn(const Tiling& t, const MoveSizes& n) : pixels(t), channels(n.channels) {
    while ((1 << log_channels) < kMostChannels && (1 << log_channels) < channels) ++log_channels;
    log_pixels = 10 - log_channels;
    pitch = log_channels ? (1 << log_channels) + 1 : 1;
    pixel_tiles = blocks_of(pixels.count, int64_t{1} << log_pixels);
    channel_tiles = blocks_of(channels, int64_t{1} << log_channels);
  }
  int64_t blocks(int64_t rows) const { return rows * pixel_tiles * channel_tiles; }
};

// The tile of the running block of threads.
struct Turned {
  int32_t row;
  int64_t pixel, channel;  // the first

  __device__ explicit Turned(const Turn& t) {
    const int64_t tiles = t.pixel_tiles * t.channel_tiles, rest = blockIdx.x % tiles;
    row = static_cast<int32_t>(blockIdx.x / tiles);
    pixel = rest / t.channel_tiles << t.log_pixels;
    channel = rest % t.channel_tiles << t.log_channels;
  }

  // f(pixel of the block, channel, cell of the tile) for the thread's elements: neighbours differ in the channel, as in
  // images, or in the pixel, as in blocks.
  template <bool as_image, class F>
  __device__ void for_each(const Turn& t, F&& f) const {
    for (int i = static_cast<int>(threadIdx.x); i < Turn::kElements; i += static_cast<int>(blockDim.x)) {
      const int low = as_image ? t.log_channels : t.log_pixels;
      const int minor = i & ((1 << low) - 1), major = i >> low;
      const int p = as_image ? major : minor, c = as_image ? minor : major;
      if (pixel + p < t.pixels.count && channel + c < t.channels) f(pixel + p, channel + c, p * t.pitch + c);
    }
  }
};

// Where an element stands among blocks with channels first.
__device__ inline int64_t place_in_blocks(const Turn& t, int64_t row, int64_t pixel, int64_t channel) {
  return (row * t.channels + channel) * t.pixels.count + pixel;
}

// ---- Images to blocks
// ----------------------------------------------------------------------------------------------------

// `shown`: pixels that a later block covers are 0.
template <bool shown, class T>
__device__ T gathered(const BoxList& list, const T* x, int64_t channels, int32_t stored, int32_t row,
                      const Pixel& pixel, int64_t channel) {
  if (row >= stored) return T{};
  const ListedBlock b = list.block(row);
  int64_t place;
  if (!list.locate(b, pixel, place)) return T{};
  if (shown && list.covered<true>(stored, row, b, pixel)) return T{};
  return x[place * channels + channel];
}

template <class T, bool shown>
__global__ void gather_kernel(BoxList list, Elements elements, const T* x, T* blocks) {
  const int32_t stored = list.stored();
  const Element e(elements);
  if (e.number < elements.total)
    blocks[e.number] = gathered<shown>(list, x, elements.channels.by, stored, e.row, e.pixel, e.channel);
}

template <class T, bool shown>
__global__ void gather_turned_kernel(BoxList list, Turn turn, const T* x, T* blocks) {
  JAXSPARSE_SHARED(T, cells, Turn::kCells);
  const int32_t stored = list.stored();
  const Turned tile(turn);
  tile.for_each<true>(turn, [&](int64_t p, int64_t c, int cell) {
    cells[cell] = gathered<shown>(list, x, turn.channels, stored, tile.row, turn.pixels.at(p), c);
  });
  __syncthreads();
  tile.for_each<false>(
      turn, [&](int64_t p, int64_t c, int cell) { blocks[place_in_blocks(turn, tile.row, p, c)] = cells[cell]; });
}

template <class T>
void launch_gather(Device& device, const Tiling& t, const BoxList& list, const MoveSizes& n, const T* x, bool shown,
                   T* blocks) {
  const Elements elements(t, n);
  cuda::launch(device.stream, {elements.blocks(), kListThreads},
               shown ? gather_kernel<T, true> : gather_kernel<T, false>, list, elements, x, blocks);
}

template <class T>
void gather(Device& device, const Tiling& t, const MoveSizes& n, const T* x, const int32_t* indices, bool shown,
            T* blocks) {
  if (n.capacity == 0) return;
  const BoxList list = make_list(device, t, n, indices);
  shown = shown && t.overlaps();
  if (n.channels_first) {
    const Turn turn(t, n);
    cuda::launch(device.stream, {turn.blocks(n.capacity), kListThreads},
                 shown ? gather_turned_kernel<T, true> : gather_turned_kernel<T, false>, list, turn, x, blocks);
  } else if (can_pack(n.channels, sizeof(T), {x, blocks})) {
    launch_gather(device, t, list, in_packs(n, kPackBytes / sizeof(T)), reinterpret_cast<const Bytes*>(x), shown,
                  reinterpret_cast<Bytes*>(blocks));
  } else {
    launch_gather(device, t, list, n, x, shown, blocks);
  }
}

// ---- Blocks onto images
// -------------------------------------------------------------------------------------------------- What is done with
// an element of a block that lies in the image at `to`; other(row, pixel) reads that of another block. A place of the
// image has one thread only that writes it.

// The later block wins.
template <class T, bool overlaps>
struct Replace {
  T* out;

  template <class Other>
  __device__ void operator()(const BoxList& list, int32_t stored, int32_t row, const ListedBlock& b, const Pixel& pixel,
                             const T& value, int64_t to, Other&&) const {
    if (overlaps && list.covered<true>(stored, row, b, pixel)) return;
    out[to] = value;
  }
};

// The first block adds all that cover a pixel, in raster order, and rounds last.
template <class T, int lanes, bool overlaps>
struct Add {
  Pack<T, lanes>* out;

  template <class Other>
  __device__ void operator()(const BoxList& list, int32_t stored, int32_t row, const ListedBlock& b, const Pixel& pixel,
                             const Pack<T, lanes>& value, int64_t to, Other&& other) const {
    if (overlaps && list.covered<false>(stored, row, b, pixel)) return;
    Pack<T, lanes> sum = out[to];
    Accum<T> sums[lanes];
    JAXSPARSE_UNROLL
    for (int i = 0; i < lanes; ++i) sums[i] = to_accum(sum.lane[i]) + to_accum(value.lane[i]);
    if (overlaps)
      list.for_each_over<true>(stored, row, b, pixel, [&](int32_t later, const Pixel& there) {
        const Pack<T, lanes> more = other(later, there);
        JAXSPARSE_UNROLL
        for (int i = 0; i < lanes; ++i) sums[i] += to_accum(more.lane[i]);
        return true;
      });
    JAXSPARSE_UNROLL
    for (int i = 0; i < lanes; ++i) sum.lane[i] = from_accum<T>(sums[i]);
    out[to] = sum;
  }
};

template <class T, class Put>
__global__ void put_kernel(BoxList list, Elements elements, const T* blocks, Put put) {
  const int32_t stored = list.stored();
  const Element e(elements);
  if (e.number >= elements.total || e.row >= stored) return;
  const ListedBlock b = list.block(e.row);
  int64_t place;
  if (!list.locate(b, e.pixel, place)) return;
  put(list, stored, e.row, b, e.pixel, blocks[e.number], place * elements.channels.by + e.channel,
      [&](int32_t row, const Pixel& pixel) {
        return blocks[row * elements.of_row.by + elements.pixels.number(pixel) * elements.channels.by + e.channel];
      });
}

template <class T, class Put>
__global__ void put_turned_kernel(BoxList list, Turn turn, const T* blocks, Put put) {
  JAXSPARSE_SHARED(T, cells, Turn::kCells);
  const int32_t stored = list.stored();
  const Turned tile(turn);
  if (tile.row >= stored) return;
  const ListedBlock b = list.block(tile.row);
  tile.for_each<false>(
      turn, [&](int64_t p, int64_t c, int cell) { cells[cell] = blocks[place_in_blocks(turn, tile.row, p, c)]; });
  __syncthreads();
  tile.for_each<true>(turn, [&](int64_t p, int64_t c, int cell) {
    const Pixel pixel = turn.pixels.at(p);
    int64_t place;
    if (!list.locate(b, pixel, place)) return;
    put(list, stored, tile.row, b, pixel, cells[cell], place * turn.channels + c, [&](int32_t row, const Pixel& there) {
      return blocks[place_in_blocks(turn, row, turn.pixels.number(there), c)];
    });
  });
}

template <class T, class Put>
void launch_put(Device& device, const Tiling& t, const BoxList& list, const MoveSizes& n, const T* blocks,
                const Put& put) {
  const Elements elements(t, n);
  cuda::launch(device.stream, {elements.blocks(), kListThreads}, put_kernel<T, Put>, list, elements, blocks, put);
}
template <class T, class Put>
void launch_put_turned(Device& device, const Tiling& t, const BoxList& list, const MoveSizes& n, const T* blocks,
                       const Put& put) {
  const Turn turn(t, n);
  cuda::launch(device.stream, {turn.blocks(n.capacity), kListThreads}, put_turned_kernel<T, Put>, list, turn, blocks,
               put);
}

// `out` starts as `base`, and where it is in place it does so already.
template <class T>
void copy_base(Device& device, const Tiling& t, const MoveSizes& n, const T* base, T* out) {
  cuda::copy(device.stream, out, base, n.batch * t.pixels() * n.channels * static_cast<int64_t>(sizeof(T)));
}

template <bool overlaps, class T>
void scatter_onto(Device& device, const Tiling& t, const MoveSizes& n, const T* blocks, const BoxList& list, T* out) {
  if (n.channels_first) return launch_put_turned(device, t, list, n, blocks, Replace<T, overlaps>{out});
  if (!can_pack(n.channels, sizeof(T), {blocks, out}))
    return launch_put(device, t, list, n, blocks, Replace<T, overlaps>{out});
  launch_put(device, t, list, in_packs(n, kPackBytes / sizeof(T)), reinterpret_cast<const Bytes*>(blocks),
             Replace<Bytes, overlaps>{reinterpret_cast<Bytes*>(out)});
}

template <class T>
void scatter(Device& device, const Tiling& t, const MoveSizes& n, const T* blocks, const int32_t* indices,
             const T* base, T* out) {
  copy_base(device, t, n, base, out);
  if (n.capacity == 0) return;
  const BoxList list = make_list(device, t, n, indices);
  t.overlaps() ? scatter_onto<true>(device, t, n, blocks, list, out)
               : scatter_onto<false>(device, t, n, blocks, list, out);
}

template <bool overlaps, class T>
void add_onto(Device& device, const Tiling& t, const MoveSizes& n, const T* blocks, const BoxList& list, T* out) {
  using One = Pack<T, 1>;
  constexpr int kLanes = kPackBytes / sizeof(T);
  using Many = Pack<T, kLanes>;
  const Add<T, 1, overlaps> add{reinterpret_cast<One*>(out)};
  const auto* ones = reinterpret_cast<const One*>(blocks);
  if (n.channels_first) return launch_put_turned(device, t, list, n, ones, add);
  if (!can_pack(n.channels, sizeof(T), {blocks, out})) return launch_put(device, t, list, n, ones, add);
  launch_put(device, t, list, in_packs(n, kLanes), reinterpret_cast<const Many*>(blocks),
             Add<T, kLanes, overlaps>{reinterpret_cast<Many*>(out)});
}

template <class T>
void scatter_add(Device& device, const Tiling& t, const MoveSizes& n, const T* blocks, const int32_t* indices,
                 const T* base, T* out) {
  copy_base(device, t, n, base, out);
  if (n.capacity == 0) return;
  const BoxList list = make_list(device, t, n, indices);
  t.overlaps() ? add_onto<true>(device, t, n, blocks, list, out) : add_onto<false>(device, t, n, blocks, list, out);
}

// ---- Erasing
// -------------------------------------------------------------------------------------------------------------

// Where blocks overlap threads write the same: 0.
template <class T>
__global__ void erase_kernel(BoxList list, Elements elements, T* out) {
  const int32_t stored = list.stored();
  const Element e(elements);
  int64_t place;
  if (e.number < elements.total && e.row < stored && list.locate(list.block(e.row), e.pixel, place))
    out[place * elements.channels.by + e.channel] = T{};
}

template <class T>
void launch_erase(Device& device, const Tiling& t, const BoxList& list, const MoveSizes& n, T* out) {
  const Elements elements(t, n);
  cuda::launch(device.stream, {elements.blocks(), kListThreads}, erase_kernel<T>, list, elements, out);
}

template <class T>
void erase(Device& device, const Tiling& t, const MoveSizes& n, const int32_t* indices, const T* base, T* out) {
  copy_base(device, t, n, base, out);
  if (n.capacity == 0) return;
  const BoxList list = make_list(device, t, n, indices);
  if (!can_pack(n.channels, sizeof(T), {out})) return launch_erase(device, t, list, n, out);
  launch_erase(device, t, list, in_packs(n, kPackBytes / sizeof(T)), reinterpret_cast<Bytes*>(out));
}

}  // namespace
}  // namespace jaxsparse::block

#include "move_handlers.h"

namespace jaxsparse::block {

JAXSPARSE_CUDA_HANDLER(JaxsparseBlockGather, Gather<cuda::Stream>, "size", "stride", "offset", "grid", "channels_first",
                       "shown");
JAXSPARSE_CUDA_HANDLER(JaxsparseBlockScatter, Scatter<cuda::Stream>, "size", "stride", "offset", "grid",
                       "channels_first");
JAXSPARSE_CUDA_HANDLER(JaxsparseBlockScatterAdd, ScatterAdd<cuda::Stream>, "size", "stride", "offset", "grid",
                       "channels_first");
JAXSPARSE_CUDA_HANDLER(JaxsparseBlockErase, Erase<cuda::Stream>, "size", "stride", "offset", "grid");

}  // namespace jaxsparse::block
