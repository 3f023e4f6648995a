// The emulation of CUDA runs right kernels right, and finds what is wrong with others.
#include "cuda/device.h"

#include <gtest/gtest.h>

#include <numeric>
#include <string>
#include <vector>

#include "core/keys.h"
#include "cuda/block.h"
#include "cuda/lists.h"

namespace jaxsparse::cuda {
namespace {

constexpr int kThreads = 96;

class Emulation : public testing::TestWithParam<int> {
 protected:
  void SetUp() override { emulation::set_seed(static_cast<uint64_t>(GetParam())); }
};
INSTANTIATE_TEST_SUITE_P(Seeds, Emulation, testing::Range(1, 7));

std::string error_of(const Grid& grid, void (*kernel)(int*), int* out) {
  try {
    launch(Stream{}, grid, kernel, out);
    return "";
  } catch (const emulation::Error& error) {
    return error.what();
  }
}

// ---- Right kernels
// -------------------------------------------------------------------------------------------------------

// Every thread gives its number to the one `by` further on, through shared memory.
__global__ void pass_on_kernel(int by, int* out) {
  JAXSPARSE_SHARED(int, numbers, kThreads);
  numbers[threadIdx.x] = static_cast<int>(threadIdx.x);
  __syncthreads();
  out[blockIdx.x * kThreads + threadIdx.x] = numbers[(threadIdx.x + static_cast<unsigned>(by)) % kThreads];
}

TEST_P(Emulation, SharedMemoryAndBarriers) {
  for (int by : {1, 40}) {
    std::vector<int> out(5 * kThreads);
    launch(Stream{}, {5, kThreads}, pass_on_kernel, by, out.data());
    for (int i = 0; i < 5 * kThreads; ++i) EXPECT_EQ(out[i], (i % kThreads + by) % kThreads);
  }
}

__global__ void dynamic_kernel(int n, int* out) {
  JAXSPARSE_DYNAMIC_SHARED(int, numbers);
  for (int i = static_cast<int>(threadIdx.x); i < n; i += static_cast<int>(blockDim.x)) numbers[i] = i;
  __syncthreads();
  if (threadIdx.x == 0)
    for (int i = 0; i < n; ++i) out[i] = numbers[n - 1 - i];
}

TEST_P(Emulation, DynamicSharedMemory) {
  std::vector<int> out(1000);
  launch(Stream{}, {1, 64, 4000}, dynamic_kernel, 1000, out.data());
  for (int i = 0; i < 1000; ++i) EXPECT_EQ(out[i], 999 - i);
}

// What the warp operations give, with whole and with parted warps.
__global__ void warp_kernel(int* out) {
  const int lane = lane_index();
  int* at = out + threadIdx.x * 8;
  at[0] = __shfl_sync(kAllLanes, lane * 10, 7);
  at[1] = __shfl_up_sync(kAllLanes, lane, 3);
  at[2] = __shfl_down_sync(kAllLanes, lane, 3);
  at[3] = __shfl_xor_sync(kAllLanes, lane, 5);
  at[4] = static_cast<int>(__ballot_sync(kAllLanes, lane % 3 == 0));
  at[5] = __any_sync(kAllLanes, lane == 31) + 2 * __all_sync(kAllLanes, lane < 31);
  const unsigned half = lane < 16 ? 0xffffu : 0xffff0000u;
  at[6] = static_cast<int>(__ballot_sync(half, lane % 2));
  at[7] = __shfl_xor_sync(half, lane, 1);
}

TEST_P(Emulation, WarpOperations) {
  std::vector<int> out(64 * 8);
  launch(Stream{}, {1, 64}, warp_kernel, out.data());
  for (int t = 0; t < 64; ++t) {
    const int lane = t % 32;
    const std::vector<int> got(out.begin() + t * 8, out.begin() + t * 8 + 8);
    const int odd = static_cast<int>(lane < 16 ? 0xaaaau : 0xaaaa0000u);
    EXPECT_EQ(got, (std::vector<int>{70, lane < 3 ? lane : lane - 3, lane > 28 ? lane : lane + 3, lane ^ 5,
                                     static_cast<int>(0x49249249u), 1, odd, lane ^ 1}));
  }
}

__global__ void atomics_kernel(int* out) {
  atomicAdd(&out[0], 1);
  atomicMax(&out[1], static_cast<int>(threadIdx.x));
  atomicMin(&out[2], -static_cast<int>(blockIdx.x));
  atomicOr(&out[3], 1 << lane_index());
}

TEST_P(Emulation, Atomics) {
  std::vector<int> out(4, 0);
  launch(Stream{}, {3, kThreads}, atomics_kernel, out.data());
  EXPECT_EQ(out, (std::vector<int>{3 * kThreads, kThreads - 1, -2, -1}));
}

__global__ void order_kernel(int* out) { out[atomicAdd(&out[0], 1) + 1] = static_cast<int>(blockIdx.x); }

TEST(EmulationOrder, BlocksComeInAnotherOrderForAnotherSeed) {
  std::vector<std::vector<int>> orders;
  for (uint64_t seed : {1, 2, 1}) {
    emulation::set_seed(seed);
    std::vector<int> out(1 + 32 * 8);
    launch(Stream{}, {8, 32}, order_kernel, out.data());
    orders.push_back(out);
  }
  EXPECT_NE(orders[0], orders[1]);
  EXPECT_EQ(orders[0], orders[2]);
}

TEST(EmulationOrder, NoBlocksAreNoLaunch) { launch(Stream{}, {0, 32}, order_kernel, static_cast<int*>(nullptr)); }

// ---- What is wrong with kernels
// ------------------------------------------------------------------------------------------

__global__ void missing_barrier_kernel(int* out) {
  JAXSPARSE_SHARED(int, numbers, kThreads);
  numbers[threadIdx.x] = static_cast<int>(threadIdx.x);
  out[threadIdx.x] = numbers[kThreads - 1 - threadIdx.x];
}

TEST_P(Emulation, AMissingBarrierGivesWrongNumbers) {
  std::vector<int> out(kThreads), right(kThreads);
  for (int i = 0; i < kThreads; ++i) right[i] = kThreads - 1 - i;
  launch(Stream{}, {1, kThreads}, missing_barrier_kernel, out.data());
  EXPECT_NE(out, right);
}

// Shared memory written again before all have read what was there.
__global__ void missing_second_barrier_kernel(int* out) {
  JAXSPARSE_SHARED(int, number, 1);
  for (int i = 0; i < 8; ++i) {
    if (threadIdx.x == 0) number[0] = i;
    __syncthreads();
    out[threadIdx.x] += number[0];
  }
}

TEST(EmulationBugs, AMissingSecondBarrierGivesWrongNumbersForSomeSeed) {
  int wrong = 0;
  for (uint64_t seed = 1; seed <= 8; ++seed) {
    emulation::set_seed(seed);
    std::vector<int> out(kThreads);
    launch(Stream{}, {1, kThreads}, missing_second_barrier_kernel, out.data());
    wrong += out != std::vector<int>(kThreads, 28);
  }
  EXPECT_GE(wrong, 6);
}

__global__ void early_exit_kernel(int*) {
  if (threadIdx.x == 5) return;
  __syncthreads();
}

__global__ void two_barriers_kernel(int*) {
  if (threadIdx.x < 40)
    __syncthreads();
  else
    __syncthreads();
}

__global__ void uneven_loop_kernel(int*) {
  for (unsigned i = 0; i < 1 + threadIdx.x / 32; ++i) __syncthreads();
}

TEST_P(Emulation, DivergentBarriersAreErrors) {
  EXPECT_NE(error_of({1, kThreads}, early_exit_kernel, nullptr).find("the kernel"), std::string::npos);
  EXPECT_NE(error_of({1, kThreads}, two_barriers_kernel, nullptr).find("divergent barrier"), std::string::npos);
  EXPECT_NE(error_of({1, kThreads}, uneven_loop_kernel, nullptr), "");
}

__global__ void lanes_missing_kernel(int* out) {
  if (lane_index() < 20) out[0] = static_cast<int>(__ballot_sync(kAllLanes, 1));
}
__global__ void lanes_at_two_places_kernel(int* out) {
  if (lane_index() < 20)
    out[0] = __shfl_sync(kAllLanes, 1, 0);
  else
    out[1] = __shfl_sync(kAllLanes, 2, 0);
}
__global__ void not_in_mask_kernel(int* out) { out[0] = static_cast<int>(__ballot_sync(0xffu, 1)); }
__global__ void barrier_and_warp_kernel(int* out) {
  if (lane_index() < 20)
    __syncthreads();
  else
    out[0] = __shfl_sync(kAllLanes, 2, 0);
}

TEST_P(Emulation, LanesThatDoNotMeetAreErrors) {
  int out[2];
  EXPECT_NE(error_of({1, 64}, lanes_missing_kernel, out), "");
  EXPECT_NE(error_of({1, 64}, lanes_at_two_places_kernel, out).find("different operations"), std::string::npos);
  EXPECT_NE(error_of({1, 64}, not_in_mask_kernel, out).find("not in the mask"), std::string::npos);
  EXPECT_NE(error_of({1, 64}, barrier_and_warp_kernel, out).find("deadlock"), std::string::npos);
}

__global__ void too_narrow_sum_kernel(int* out) {
  int x = 1;
  for (int by = 8; by > 0; by /= 2) x += __shfl_xor_sync(kAllLanes, x, by);
  out[threadIdx.x] = x;
}

TEST_P(Emulation, ASumOverHalfAWarpIsNotTheWholeSum) {
  int out[32];
  launch(Stream{}, {1, 32}, too_narrow_sum_kernel, out);
  EXPECT_EQ(out[0], 16);
}

__global__ void overrun_kernel(int* out) {
  JAXSPARSE_SHARED(int, numbers, kThreads);
  numbers[threadIdx.x + 1] = 1;
  __syncthreads();
  out[threadIdx.x] = numbers[threadIdx.x];
}

TEST_P(Emulation, WritingPastASharedArrayIsAnError) {
  std::vector<int> out(kThreads);
#if defined(__SANITIZE_ADDRESS__)
  EXPECT_DEATH(error_of({1, kThreads}, overrun_kernel, out.data()), "heap-buffer-overflow");
#else
  EXPECT_NE(error_of({1, kThreads}, overrun_kernel, out.data()).find("past the end"), std::string::npos);
#endif
}

__global__ void unwritten_kernel(int* out) {
  JAXSPARSE_SHARED(int, numbers, kThreads);
  if (blockIdx.x == 0) numbers[threadIdx.x] = 0;
  __syncthreads();
  if (numbers[threadIdx.x] != 0) out[blockIdx.x] = 1;
}

TEST_P(Emulation, SharedMemoryOfOneBlockIsNotThatOfAnother) {
  int out[4] = {};
  launch(Stream{}, {4, kThreads}, unwritten_kernel, out);
  EXPECT_EQ(out[0], 0);
  for (int b = 1; b < 4; ++b) EXPECT_NE(out[b], 0);
}

TEST(EmulationBugs, BlocksThatNoGpuRuns) {
  EXPECT_NE(error_of({1, 33}, order_kernel, nullptr).find("whole warps"), std::string::npos);
  EXPECT_NE(error_of({1, 2048}, order_kernel, nullptr).find("1024"), std::string::npos);
  EXPECT_NE(error_of({1, 32, 200 << 10}, order_kernel, nullptr).find("shared memory"), std::string::npos);
}

TEST(EmulationBugs, ALaunchAfterAFailedOneIsAsGoodAsAny) {
  std::vector<int> out(kThreads);
  EXPECT_NE(error_of({1, kThreads}, early_exit_kernel, nullptr), "");
  launch(Stream{}, {1, kThreads}, pass_on_kernel, 1, out.data());
  EXPECT_EQ(out[kThreads - 1], 0);
}

// ---- What blocks and lists share
// -----------------------------------------------------------------------------------------

__global__ void scan_kernel(const int* x, int64_t* out) {
  const auto first = block_scan<int>(x[threadIdx.x]);
  const auto second = block_scan<int64_t>(first.before);
  out[threadIdx.x] = first.before;
  out[blockDim.x + threadIdx.x] = second.total + first.total;
  out[2 * blockDim.x + threadIdx.x] = block_min<int64_t>(x[threadIdx.x]) + block_min<int64_t>(-x[threadIdx.x]);
}

TEST_P(Emulation, ScansAndMinimaOfABlock) {
  for (int threads : {32, 96, 256, 1024}) {
    std::vector<int> x(threads);
    for (int i = 0; i < threads; ++i) x[i] = (i * 7919 + GetParam()) % 13 - 3;
    std::vector<int64_t> out(3 * threads);
    launch(Stream{}, {1, threads}, scan_kernel, x.data(), out.data());
    int64_t before = 0, sum_of_before = 0;
    for (int i = 0; i < threads; ++i) {
      EXPECT_EQ(out[i], before);
      sum_of_before += before;
      before += x[i];
    }
    const auto [low, high] = std::minmax_element(x.begin(), x.end());
    for (int i = 0; i < threads; ++i) {
      EXPECT_EQ(out[threads + i], sum_of_before + before);
      EXPECT_EQ(out[2 * threads + i], *low - *high);
    }
  }
}

TEST_P(Emulation, ScansOfRows) {
  for (int64_t n : {1, 255, 256, 257, 1024, 3000}) {
    constexpr int64_t kRows = 3;
    std::vector<int32_t> counts(kRows * n), totals(kRows), wanted(kRows * n);
    for (int64_t i = 0; i < kRows * n; ++i) counts[i] = static_cast<int32_t>(i * 31 % 17);
    for (int64_t row = 0; row < kRows; ++row)
      std::exclusive_scan(counts.begin() + row * n, counts.begin() + (row + 1) * n, wanted.begin() + row * n, 0);
    const int32_t last = counts.back();
    scan_rows(Stream{}, kRows, n, counts.data(), totals.data());
    EXPECT_EQ(counts, wanted);
    EXPECT_EQ(totals.back(), wanted.back() + last);
  }
}

__global__ void stored_kernel(Chunks chunks, Stored stored, const int32_t* keys, int64_t* out) {
  const Chunk chunk = chunks.of_block(blockIdx.x);
  const int64_t n = stored.of(chunks, keys + chunk.list * chunks.slots, chunk.list);
  if (chunk.begin == 0 && threadIdx.x == 0) out[chunk.list] = n;
}

TEST_P(Emulation, StoredEntriesAsTheCpuCountsThem) {
  for (int64_t slots : {1, 31, 5000, 8192, 8193, 12288, 20000}) {
    constexpr int64_t kVolume = 30000;
    // Whole lists, short ones, one with a wrong key in the middle, and one that begins with a wrong key.
    std::vector<int64_t> lengths{slots, 0, slots / 2, slots, slots};
    const auto lists = static_cast<int64_t>(lengths.size());
    std::vector<int32_t> keys(lists * slots, kVolume), unused(lists);
    for (int64_t l = 0; l < lists; ++l) std::iota(keys.begin() + l * slots, keys.begin() + l * slots + lengths[l], 1);
    keys[3 * slots + slots * 2 / 3] = 1;
    keys[4 * slots] = -4;
    std::vector<int64_t> out(lists);
    const Chunks chunks(lists, slots);
    const Stored stored = find_stored(Stream{}, chunks, kVolume, keys.data(), unused.data());
    launch(Stream{}, {chunks.blocks(), kListThreads}, stored_kernel, chunks, stored, keys.data(), out.data());
    for (int64_t l = 0; l < lists; ++l) EXPECT_EQ(out[l], stored_entries(keys.data() + l * slots, slots, kVolume));
  }
}

TEST(Stretches, TheBatchIsWorkedOffAsTheWorkspaceAllows) {
  const auto bytes_of = [](int64_t elements) { return 64 + 100 * elements; };
  EXPECT_EQ(workspace_of_batch(7, bytes_of), 764);
  EXPECT_LE(workspace_of_batch(int64_t{1} << 40, bytes_of), kWorkspaceBound);
  EXPECT_GT(workspace_of_batch(int64_t{1} << 40, bytes_of), kWorkspaceBound - 100);
  EXPECT_LE(workspace_of_unknown_batch(bytes_of), kUnknownBatchBound);
  EXPECT_GT(workspace_of_unknown_batch(bytes_of), kUnknownBatchBound - 100);
  EXPECT_EQ(workspace_of_batch(5, [](int64_t n) { return n * 2 * kWorkspaceBound; }), 2 * kWorkspaceBound);
  for (int64_t batch : {0, 1, 3, 7, 8}) {
    int64_t done = 0;
    for_each_stretch(batch, 399, bytes_of, [&](int64_t first, int64_t elements) {
      EXPECT_EQ(first, done);
      EXPECT_LE(elements, 3);
      EXPECT_GE(elements, 1);
      done += elements;
    });
    EXPECT_EQ(done, batch);
  }
  EXPECT_THROW(for_each_stretch(1, 163, bytes_of, [](int64_t, int64_t) {}), std::invalid_argument);
}

}  // namespace
}  // namespace jaxsparse::cuda
