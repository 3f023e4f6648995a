// Masks to lists of blocks on the GPU.
//
// A warp or a block pools a window, and inactive blocks get a response of -inf, which no active one has. Then every
// block goes over a chunk of the responses and writes the rows of what it keeps. Up to cuda::kWholeList responses are
// one chunk, whose block selects by itself: two launches. More are counted by chunk, and if they may not fit, the
// threshold is searched for in launches that do nothing where they do.
#include "reduce_mask_cuda.h"

#include "../bindings/ffi_cuda.h"
#include "../core/keys.h"
#include "../cuda/fixed_sum.h"
#include "../cuda/lists.h"
#include "../cuda/select.cuh"
#include "window.h"

namespace jaxsparse::block {
namespace {

using cuda::Device;
using cuda::kListThreads;
using cuda::kMostThreads;
using cuda::kWarp;
using cuda::Threshold;
using cuda::Verdict;

static_assert(ResponseChunks::kMost <= kMostThreads, "a thread has the count of a chunk");

// The blocks of a batch, counted in raster order; there are fewer than 2^31.
struct Raster {
  int32_t size[kMaxDims];
  FastDiv grid[kMaxDims];

  explicit Raster(const Tiling& t) {
    for (int i = 0; i < kMaxDims; ++i) {
      size[i] = static_cast<int32_t>(t.axis[i].grid);
      grid[i] = FastDiv(size[i]);
    }
  }
  __device__ Block block(int64_t number) const {
    auto rest = static_cast<uint32_t>(number);
    Block b{0, {}};
    JAXSPARSE_UNROLL
    for (int i = kMaxDims - 1; i >= 0; --i) {
      const uint32_t above = grid[i](rest);
      b.at[i] = rest - above * static_cast<uint32_t>(size[i]);
      rest = above;
    }
    b.batch = rest;
    return b;
  }
};

template <class A>
constexpr A kNoResponse = -std::numeric_limits<A>::infinity();
template <class A>
constexpr A kNan = std::numeric_limits<A>::quiet_NaN();

// ---- Pooling
// -------------------------------------------------------------------------------------------------------------

// By all lanes of a warp or all threads of a block; NaN is the maximum.
template <bool of_warp, class A>
__device__ A maximum_of_group(A most, bool nan) {
  JAXSPARSE_UNROLL
  for (int by = kWarp / 2; by > 0; by /= 2) {
    const A other = __shfl_xor_sync(cuda::kAllLanes, most, by);
    most = other > most ? other : most;
  }
  if constexpr (of_warp) {
    nan = __any_sync(cuda::kAllLanes, nan);
  } else {
    JAXSPARSE_SHARED(A, of_warps, kWarp);
    if (cuda::lane_index() == 0) of_warps[cuda::warp_index()] = most;
    nan = __syncthreads_or(nan);
    for (int w = 0; w < static_cast<int>(blockDim.x) / kWarp; ++w) most = of_warps[w] > most ? of_warps[w] : most;
  }
  return nan ? kNan<A> : most;
}

template <bool of_warp, class T>
__device__ Accum<T> maximum(const Window<T>& window, uint32_t pixels, uint32_t lane) {
  using A = Accum<T>;
  A most = kNoResponse<A>;
  bool nan = false;
  for (uint32_t i = lane; i < pixels; i += of_warp ? kWarp : kListThreads) {
    const A value = pixel_value(window.pixel(i));
    most = value > most ? value : most;
    nan = nan || value != value;
  }
  return maximum_of_group<of_warp>(most, nan);
}

// In the order of fixed_sum.h; right for the first lane. A warp sums up to 32 pixels.
template <bool of_warp, class T>
__device__ Accum<T> mean(const Window<T>& window, uint32_t pixels, uint32_t lane) {
  double sum = 0;
  if constexpr (of_warp) {
    if (lane < pixels) sum += static_cast<double>(pixel_value(window.pixel(lane)));
    JAXSPARSE_UNROLL
    for (int half = kWarp / 2; half > 0; half /= 2) sum += __shfl_down_sync(cuda::kAllLanes, sum, half);
  } else {
    for (uint32_t begin = 0; begin < pixels; begin += kSumSegment) {
      const uint32_t end = pixels - begin < kSumSegment ? pixels : begin + static_cast<uint32_t>(kSumSegment);
      double part = 0;
      for (uint32_t i = begin + lane; i < end; i += kSumParts)
        part += static_cast<double>(pixel_value(window.pixel(i)));
      sum += cuda::block_sum_in_halves(part);
    }
  }
  return static_cast<Accum<T>>(sum / static_cast<double>(pixels));
}

// `counts` (null: nobody asks) gets the active blocks by chunk.
template <class T, Pooled pooled, bool of_warp>
__global__ void pool_kernel(Tiling t, Raster raster, ResponseChunks chunks, const T* mask, const Accum<T>* threshold,
                            Accum<T>* response, int32_t* counts) {
  using A = Accum<T>;
  constexpr int64_t kGroups = of_warp ? kListThreads / kWarp : 1;
  const int64_t number = blockIdx.x * kGroups + (of_warp ? cuda::warp_index() : 0);
  if (number >= chunks.responses) return;
  const uint32_t lane = of_warp ? static_cast<uint32_t>(cuda::lane_index()) : threadIdx.x;
  const Window<T> window = window_of(t, mask, raster.block(number));
  const auto pixels = static_cast<uint32_t>(window.pixels());
  A value = kNoResponse<A>;
  bool active = false;
  if (pixels > 0) {
    value = pooled == Pooled::kMax ? maximum<of_warp>(window, pixels, lane) : mean<of_warp>(window, pixels, lane);
    active = value > *threshold || value != value;
  }
  if (lane != 0) return;
  response[number] = active ? value : kNoResponse<A>;
  if (active && counts) atomicAdd(&counts[number / chunks.size], 1);
}

template <class T, Pooled pooled>
void pool(Device& device, const Tiling& t, const ResponseChunks& chunks, const T* mask, const Accum<T>* threshold,
          Accum<T>* response, int32_t* counts) {
  // As many pixels as a warp takes in a few steps; or, for a sum, in one.
  const bool of_warp = t.box_pixels() <= (pooled == Pooled::kMax ? kListThreads : kWarp);
  cuda::launch(device.stream, {cuda::blocks_of(chunks.responses, of_warp ? kListThreads / kWarp : 1), kListThreads},
               of_warp ? pool_kernel<T, pooled, true> : pool_kernel<T, pooled, false>, t, Raster(t), chunks, mask,
               threshold, response, counts);
}

// ---- Selection
// -----------------------------------------------------------------------------------------------------------

// The sum of numbers[0 .. n), by all threads of a block.
__device__ inline int32_t sum_of(const int32_t* numbers, int64_t n) {
  int32_t sum = 0;
  for (int64_t i = threadIdx.x; i < n; i += blockDim.x) sum += numbers[i];
  return cuda::block_scan(sum).total;
}

// Counts the responses [begin, end) that may be the threshold in bins of shared memory, which the block clears first.
template <class A>
__device__ void count_in_bins(const A* response, int64_t begin, int64_t end, const Threshold<A>& threshold, int pass,
                              int32_t* bins) {
  for (int i = static_cast<int>(threadIdx.x); i < cuda::kSelectBins; i += static_cast<int>(blockDim.x)) bins[i] = 0;
  __syncthreads();
  for (int64_t i = begin + threadIdx.x; i < end; i += blockDim.x) {
    if (response[i] == kNoResponse<A>) continue;
    const Rank<A> rank = rank_of(response[i], Rule::kValue);
    if (cuda::may_be_threshold(threshold, rank, pass)) atomicAdd(&bins[cuda::bin_of<A>(rank, pass)], 1);
  }
  __syncthreads();
}

// The threshold of all responses, of which more are active than are kept; by all threads of a block.
template <class A>
__device__ Threshold<A> threshold_of_block(const A* response, int64_t n, int32_t capacity) {
  JAXSPARSE_SHARED(int32_t, bins, cuda::kSelectBins);
  JAXSPARSE_SHARED(Threshold<A>, chosen, 1);
  Threshold<A> threshold{0, capacity, 1};
  for (int pass = 0; pass < cuda::kSelectPasses<A>; ++pass) {
    count_in_bins(response, 0, n, threshold, pass, bins);
    const int bin = cuda::kSelectBins - 1 - static_cast<int>(threadIdx.x);  // the strongest first
    cuda::choose_bin(threshold, pass, bin, bin >= 0 ? bins[bin] : 0,
                     [&](const Threshold<A>& found) { chosen[0] = found; });
    __syncthreads();
    threshold = chosen[0];
  }
  return threshold;
}

// The first pass notes how many are active.
template <class A>
__global__ void histogram_kernel(ResponseChunks chunks, int pass, int32_t capacity, const A* response,
                                 const int32_t* counts, const Threshold<A>* threshold, int32_t* histogram,
                                 int32_t* count) {
  JAXSPARSE_SHARED(int32_t, bins, cuda::kSelectBins);
  const int32_t found = sum_of(counts, chunks.count);
  if (pass == 0 && blockIdx.x == 0 && threadIdx.x == 0) *count = found;
  if (found <= capacity) return;
  const Threshold<A> known = pass ? *threshold : Threshold<A>{0, capacity, 1};
  count_in_bins(response, chunks.begin(blockIdx.x), chunks.end(blockIdx.x), known, pass, bins);
  for (int i = static_cast<int>(threadIdx.x); i < cuda::kSelectBins; i += static_cast<int>(blockDim.x))
    if (bins[i]) atomicAdd(&histogram[i], bins[i]);
}

template <class A>
__device__ Verdict verdict_of(A response, const Threshold<A>& threshold) {
  if (response == kNoResponse<A>) return Verdict::kOut;
  return cuda::verdict(threshold, rank_of(response, Rule::kValue), cuda::kSelectPasses<A>);
}

// By chunk: how many responses are above the threshold, and how many equal it.
template <class A>
__global__ void count_kept_kernel(ResponseChunks chunks, const A* response, const Threshold<A>* threshold,
                                  int32_t* above, int32_t* ties) {
  const Threshold<A> known = *threshold;
  if (!known.cut) return;
  int32_t over = 0, tied = 0;
  for (int64_t i = chunks.begin(blockIdx.x) + threadIdx.x; i < chunks.end(blockIdx.x); i += blockDim.x) {
    const Verdict verdict = verdict_of(response[i], known);
    over += verdict == Verdict::kAbove;
    tied += verdict == Verdict::kTie;
  }
  over = cuda::block_scan(over).total;
  tied = cuda::block_scan(tied).total;
  if (threadIdx.x != 0) return;
  above[blockIdx.x] = over;
  ties[blockIdx.x] = tied;
}

// ---- Lists
// ---------------------------------------------------------------------------------------------------------------

struct RowWriter {
  Raster raster;
  int dims;
  int64_t batch;
  int32_t* indices;

  __device__ void write(int64_t row, const Block& b) const {
    int32_t* to = indices + row * (dims + 1);
    *to++ = static_cast<int32_t>(b.batch);
    JAXSPARSE_UNROLL
    for (int i = 0; i < kMaxDims; ++i)
      if (i >= kMaxDims - dims) *to++ = static_cast<int32_t>(b.at[i]);
  }
  __device__ void write(int64_t row, int64_t number) const { write(row, raster.block(number)); }
  __device__ void clear(int64_t row) const { write(row, Block{batch, {0, 0, 0}}); }
};

template <class A>
__device__ int32_t active_of_block(const A* response, int64_t n) {
  int32_t active = 0;
  for (int64_t i = threadIdx.x; i < n; i += blockDim.x) active += response[i] != kNoResponse<A>;
  return cuda::block_scan(active).total;
}

// The rows of the active blocks that are kept, in order. One chunk needs no scratch memory.
template <class A>
__global__ void __launch_bounds__(kMostThreads)
    list_kernel(RowWriter rows, ResponseChunks chunks, int32_t capacity, const A* response, ReduceScratch<A> scratch,
                int32_t* count) {
  const bool whole = chunks.count == 1;
  const int64_t chunk = blockIdx.x;
  const int32_t found = whole ? active_of_block(response, chunks.responses) : sum_of(scratch.counts, chunks.count);
  Threshold<A> threshold{0, 0, 0};
  if (found > capacity)
    threshold = whole ? threshold_of_block(response, chunks.responses, capacity) : *scratch.select.thresholds;
  int32_t over_before = 0, tied_before = 0;
  if (!whole) {
    over_before = sum_of(threshold.cut ? scratch.above : scratch.counts, chunk);
    if (threshold.cut) tied_before = sum_of(scratch.ties, chunk);
  }
  const int64_t end = chunks.end(chunk);
  for (int64_t begin = chunks.begin(chunk); begin < end; begin += blockDim.x) {
    const int64_t i = begin + threadIdx.x;
    const Verdict verdict = i < end ? verdict_of(response[i], threshold) : Verdict::kOut;
    const auto over = cuda::block_scan<int32_t>(verdict == Verdict::kAbove);
    const auto tied = cuda::block_scan<int32_t>(verdict == Verdict::kTie);
    const int32_t ties_ahead = tied_before + tied.before;
    const int32_t kept_ties = ties_ahead < threshold.keep ? ties_ahead : threshold.keep;
    if (verdict == Verdict::kAbove || (verdict == Verdict::kTie && ties_ahead < threshold.keep))
      rows.write(int64_t{over_before} + over.before + kept_ties, i);
    over_before += over.total;
    tied_before += tied.total;
  }
  const int64_t threads = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t row = (found < capacity ? found : capacity) + chunk * blockDim.x + threadIdx.x; row < capacity;
       row += threads)
    rows.clear(row);
  if (chunk == 0 && threadIdx.x == 0) *count = found;
}

template <class T>
void reduce_mask(Device& device, const Tiling& t, int64_t batch, int64_t capacity, const T* mask,
                 const Accum<T>* threshold, Pooled pooled, int32_t* indices, int32_t* count, int32_t*,
                 Accum<T>* response) {
  using A = Accum<T>;
  const auto& stream = device.stream;
  const ResponseChunks chunks(batch * t.boxes());
  const ReduceScratch<A> scratch(device.workspace.data);
  if (device.workspace.bytes < scratch.bytes) throw std::invalid_argument("the workspace is too small");
  const bool whole = chunks.count == 1, selects = !whole && capacity < chunks.responses;
  const auto most = static_cast<int32_t>(capacity);
  if (!whole) cuda::clear(stream, scratch.counts, ResponseChunks::kMost * int64_t{sizeof(int32_t)});
  if (pooled == Pooled::kMax)
    pool<T, Pooled::kMax>(device, t, chunks, mask, threshold, response, whole ? nullptr : scratch.counts);
  else
    pool<T, Pooled::kMean>(device, t, chunks, mask, threshold, response, whole ? nullptr : scratch.counts);
  if (selects) {
    int32_t* histograms = scratch.select.histograms;
    cuda::clear(stream, histograms, cuda::kSelectPasses<A> * cuda::kSelectBins * int64_t{sizeof(int32_t)});
    for (int pass = 0; pass < cuda::kSelectPasses<A>; ++pass) {
      cuda::launch(stream, {chunks.count, kListThreads}, histogram_kernel<A>, chunks, pass, most, response,
                   scratch.counts, scratch.select.thresholds, histograms + pass * cuda::kSelectBins, count);
      cuda::choose(stream, 1, pass, capacity, count, scratch.select);
    }
    cuda::launch(stream, {chunks.count, kListThreads}, count_kept_kernel<A>, chunks, response,
                 scratch.select.thresholds, scratch.above, scratch.ties);
  }
  cuda::launch(stream, {chunks.count, kMostThreads}, list_kernel<A>, RowWriter{Raster(t), t.dims, batch, indices},
               chunks, most, response, scratch, count);
}

}  // namespace
}  // namespace jaxsparse::block

#include "reduce_mask_handlers.h"

namespace jaxsparse::block {

JAXSPARSE_CUDA_HANDLER(JaxsparseBlockReduceMask, ReduceMask<cuda::Stream>, "size", "stride", "offset", "grid", "mode");

}  // namespace jaxsparse::block
