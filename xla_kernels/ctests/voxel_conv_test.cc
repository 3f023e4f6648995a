// Convolution over kernel maps against plain loops, bit by bit: every pool, dtype and instruction set, groups, corrupt
// maps, special values, matrices of more than 2^31 numbers.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include <sys/mman.h>
#include <unistd.h>

#include "../src/voxel/conv.h"
#include "../src/voxel/conv_kernel_grad.h"
#include "pools.h"

namespace jaxsparse::voxel {
namespace {

template <class F>
void on_every_pool(F&& f) {
  SerialPool serial;
  f(serial);
  for (int threads : {2, 5}) {
    test::ThreadPool pool(threads);
    f(pool);
  }
  test::BusyPool busy;
  f(busy);
}

template <class T>
struct Data {
  ConvSizes n;
  std::vector<T> features, kernel, cotangent;
  std::vector<int32_t> map;

  Data(const ConvSizes& sizes, uint32_t seed) : n(sizes) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal;
    const auto fill = [&](std::vector<T>& v, int64_t count) {
      for (int64_t i = 0; i < count; ++i) v.push_back(from_accum<T>(static_cast<Accum<T>>(normal(random))));
    };
    fill(features, n.in_rows * n.in_channels);
    fill(kernel, n.taps * n.in_group() * n.out_channels);
    fill(cotangent, n.out_rows * n.out_channels);
    // Tap t has a row with probability about t / taps; some entries name rows that there are not.
    for (int64_t t = 0; t < n.taps; ++t) {
      for (int64_t m = 0; m < n.out_rows; ++m) {
        const bool none = n.in_rows == 0 || static_cast<int64_t>(random() % (2 * n.taps)) > 2 * t;
        const int32_t corrupt[] = {static_cast<int32_t>(n.in_rows), -1, INT32_MIN, INT32_MAX};
        map.push_back(none ? corrupt[random() % 4] : static_cast<int32_t>(random() % n.in_rows));
      }
    }
  }
  bool is_row(int32_t row) const { return row >= 0 && row < n.in_rows; }
};

template <class T>
std::vector<Accum<T>> conv_by_loops(const Data<T>& d, bool transposed) {
  const ConvSizes& n = d.n;
  std::vector<Accum<T>> out;
  for (int64_t m = 0; m < n.out_rows; ++m) {
    for (int64_t o = 0; o < n.out_channels; ++o) {
      const int64_t group = o / n.out_group();
      Accum<T> sum = 0;
      for (int64_t t = 0; t < n.taps; ++t) {
        const int32_t row = d.map[t * n.out_rows + m];
        if (!d.is_row(row)) continue;
        for (int64_t c = 0; c < n.in_group(); ++c) {
          const int64_t from = group * n.in_group() + c, all = t * n.in_group() * n.out_channels;
          const T w = transposed ? d.kernel[all + (o - group * n.out_group()) * n.in_channels + from]
                                 : d.kernel[all + c * n.out_channels + o];
          sum = std::fma(to_accum(d.features[row * n.in_channels + from]), to_accum(w), sum);
        }
      }
      out.push_back(sum);
    }
  }
  return out;
}

template <class T>
std::vector<Accum<T>> grad_by_loops(const Data<T>& d) {
  using A = Accum<T>;
  const ConvSizes& n = d.n;
  const GradShares shares(n, n.taps * n.in_group() * sums_pitch<A>(n) * static_cast<int64_t>(sizeof(A)));
  const int64_t block = grad_block_rows(n);
  std::vector<A> out;
  for (int64_t t = 0; t < n.taps; ++t) {
    for (int64_t c = 0; c < n.in_group(); ++c) {
      for (int64_t o = 0; o < n.out_channels; ++o) {
        const int64_t from = o / n.out_group() * n.in_group() + c;
        A all = 0;
        for (int64_t s = 0; s < shares.segments; ++s) {
          A segment = 0;
          const int64_t end = std::min(n.out_rows, (s + 1) * shares.rows);
          for (int64_t begin = s * shares.rows; begin < end; begin += block) {
            A sum = 0;
            for (int64_t m = begin; m < std::min(end, begin + block); ++m) {
              const int32_t row = d.map[t * n.out_rows + m];
              if (!d.is_row(row)) continue;
              sum = std::fma(to_accum(d.features[row * n.in_channels + from]),
                             to_accum(d.cotangent[m * n.out_channels + o]), sum);
            }
            segment += sum;
          }
          all = s ? all + segment : segment;
        }
        out.push_back(all);
      }
    }
  }
  return out;
}

template <class A>
void expect_same_bits(const std::vector<A>& got, const std::vector<A>& want) {
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < got.size(); ++i) {
    if (std::isnan(got[i]) && std::isnan(want[i])) continue;  // the payload is not promised
    ASSERT_EQ(std::memcmp(&got[i], &want[i], sizeof(A)), 0) << "number " << i << ": " << got[i] << ", not " << want[i];
  }
}

template <class T>
void check(const Data<T>& d) {
  const ConvSizes& n = d.n;
  const std::vector<Accum<T>> forward = conv_by_loops(d, false), back = conv_by_loops(d, true), grad = grad_by_loops(d);
  on_every_pool([&](auto& pool) {
    std::vector<char> scratch(lay_out_conv<T>(n, nullptr).bytes, 7);
    for (const bool transposed : {false, true}) {
      std::vector<Accum<T>> out(n.out_rows * n.out_channels, 9);
      conv<T>(pool, n, d.features.data(), d.kernel.data(), transposed, d.map.data(), out.data(), scratch.data());
      expect_same_bits(out, transposed ? back : forward);
    }
    scratch.assign(lay_out_kernel_grad<T>(n, nullptr).bytes, 7);
    std::vector<Accum<T>> out(grad.size(), 9);
    conv_kernel_grad<T>(pool, n, d.features.data(), d.cotangent.data(), d.map.data(), out.data(), scratch.data());
    expect_same_bits(out, grad);
  });
}

// taps, input rows, output rows, input channels, output channels, groups
const ConvSizes kCases[] = {
    {27, 200, 300, 3, 17, 1},  {27, 150, 150, 16, 16, 1}, {8, 64, 40, 32, 64, 1},  {1, 70, 70, 64, 40, 1},
    {5, 40, 33, 300, 24, 1},   {3, 9, 500, 1, 1, 1},      {9, 100, 90, 18, 12, 2}, {9, 100, 90, 12, 18, 6},
    {27, 80, 80, 24, 24, 24},  {4, 50, 60, 5, 15, 5},     {4, 50, 60, 15, 5, 5},   {3, 1, 1, 7, 33, 1},
    {27, 0, 20, 4, 8, 1},      {27, 20, 0, 4, 8, 1},      {2, 30, 5000, 4, 6, 1},  {2, 5, 3000, 130, 70, 1},
    {6, 40, 41, 128, 256, 64}, {3, 31, 64, 2, 16, 2},
};

TEST(VoxelConv, RandomMapsFloat32) {
  uint32_t seed = 0;
  for (const ConvSizes& n : kCases) check(Data<float>(n, ++seed));
}
TEST(VoxelConv, RandomMapsFloat64) {
  uint32_t seed = 100;
  for (const ConvSizes& n : kCases) check(Data<double>(n, ++seed));
}
TEST(VoxelConv, RandomMapsHalf) {
  uint32_t seed = 200;
  for (const ConvSizes& n : kCases) {
    check(Data<BF16>(n, ++seed));
    check(Data<F16>(n, ++seed));
  }
}

TEST(VoxelConv, SpecialValues) {
  for (const ConvSizes& n : {ConvSizes{4, 40, 50, 5, 11, 1}, ConvSizes{4, 40, 50, 12, 12, 12}}) {
    Data<float> d(n, 5);
    const float special[] = {NAN, INFINITY, -INFINITY, -0.0f, 0.0f, 1e-41f, -1e-45f, 3e38f};
    for (size_t i = 0; i < d.features.size(); i += 3) d.features[i] = special[i % 8];
    for (size_t i = 0; i < d.kernel.size(); i += 7) d.kernel[i] = special[i % 8];
    for (size_t i = 0; i < d.cotangent.size(); i += 5) d.cotangent[i] = special[i % 8];
    check(d);
  }
}

TEST(VoxelConv, HalfIsWidenedExactly) {
  std::vector<uint16_t> all(1 << 16);
  for (size_t i = 0; i < all.size(); ++i) all[i] = static_cast<uint16_t>(i);
  for (const int64_t length : {int64_t{1} << 16, int64_t{7}, int64_t{13}}) {
    std::vector<float> wide(length);
    widen_f16(all.data(), wide.data(), length);
    for (int64_t i = 0; i < length; ++i) {
      const float want = to_accum(F16{all[i]});
      if (std::isnan(want)) {
        ASSERT_TRUE(std::isnan(wide[i]));
      } else {
        ASSERT_EQ(bits_from_float(wide[i]), bits_from_float(want)) << i;
      }
    }
  }
}

// The numbers of matrix `rows` x `channels` in pages that nobody pays for until they are written.
struct Pages {
  int64_t bytes;
  void* data;
  explicit Pages(int64_t n)
      : bytes(n),
        data(mmap(nullptr, static_cast<size_t>(n), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                  -1, 0)) {}
  ~Pages() { munmap(data, static_cast<size_t>(bytes)); }
};

TEST(VoxelConv, LargeVolumesOfFeatures) {
  const ConvSizes n{2, 5'000'000, 3, 512, 4, 1};  // 2.56e9 numbers
  const Pages pages(n.in_rows * n.in_channels * int64_t{4});
  if (pages.data == MAP_FAILED) GTEST_SKIP() << "no address space";
  auto* features = static_cast<float*>(pages.data);
  const int32_t rows[] = {4'999'999, 4'500'000, 0};
  for (const int32_t row : rows)
    for (int64_t c = 0; c < n.in_channels; ++c) features[row * n.in_channels + c] = static_cast<float>(row % 7 + 1);
  const std::vector<int32_t> map = {rows[0], -1, rows[1], rows[2], rows[1], -1};
  const std::vector<float> kernel(n.taps * n.in_channels * n.out_channels, 1.0f), cotangent(12, 1.0f);
  std::vector<char> scratch(lay_out_conv<float>(n, nullptr).bytes);
  std::vector<float> out(12), grad(kernel.size());
  SerialPool pool;
  conv<float>(pool, n, features, kernel.data(), false, map.data(), out.data(), scratch.data());
  const auto value = [&](int i) { return static_cast<float>(rows[i] % 7 + 1); };
  EXPECT_EQ(out[0], 512 * (value(0) + value(2)));
  EXPECT_EQ(out[4], 512 * value(1));
  EXPECT_EQ(out[8], 512 * value(1));
  scratch.resize(lay_out_kernel_grad<float>(n, nullptr).bytes);
  conv_kernel_grad<float>(pool, n, features, cotangent.data(), map.data(), grad.data(), scratch.data());
  EXPECT_EQ(grad[0], value(0) + value(1));
  EXPECT_EQ(grad[512 * 4], value(1) + value(2));
}

// A result of more than 2^31 numbers: its address space shows the same few pages again and again.
TEST(VoxelConv, LargeVolumesOfResults) {
#if defined(__linux__)
  constexpr int64_t kWindow = int64_t{1} << 26;
  const ConvSizes n{1, 1, 2'200'000, 1, 1024, 1};  // 2.25e9 numbers
  const int64_t bytes = n.out_rows * n.out_channels * int64_t{4}, windows = bytes / kWindow + 1;
  const int file = memfd_create("result", 0);
  ASSERT_EQ(ftruncate(file, kWindow), 0);
  const Pages pages(windows * kWindow);
  if (pages.data == MAP_FAILED) GTEST_SKIP() << "no address space";
  auto* base = static_cast<char*>(pages.data);
  for (int64_t w = 0; w < windows; ++w)
    ASSERT_NE(mmap(base + w * kWindow, kWindow, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file, 0), MAP_FAILED);
  close(file);
  std::vector<int32_t> map(n.out_rows, -1);
  map.back() = 0;
  std::vector<BF16> kernel;
  for (int i = 0; i < 1024; ++i) kernel.push_back(from_accum<BF16>(static_cast<float>(i)));
  const BF16 feature = from_accum<BF16>(2.0f);
  std::vector<char> scratch(lay_out_conv<BF16>(n, nullptr).bytes);
  SerialPool pool;
  auto* out = static_cast<float*>(pages.data);
  conv<BF16>(pool, n, &feature, kernel.data(), false, map.data(), out, scratch.data());
  const float* last = out + (n.out_rows - 1) * n.out_channels;
  for (int i = 0; i < 256; ++i) ASSERT_EQ(last[i], 2.0f * static_cast<float>(i));
#endif
}

TEST(VoxelConv, WorkspaceIsBounded) {
  // Weights, and a few rows for each of at most 16 workers: nothing grows with the rows.
  const int64_t few = lay_out_conv<float>({27, 4096, 4096, 64, 100, 1}, nullptr).bytes;
  const int64_t many = lay_out_conv<float>({27, 1 << 30, 1 << 30, 64, 100, 1}, nullptr).bytes;
  EXPECT_EQ(few, many);
  EXPECT_LE(many, 27 * 64 * 112 * 4 + 16 * (128 * 112 * 4 + 2 * 144 * 4 + 256) + 256);
  const int64_t sums = lay_out_kernel_grad<float>({27, 1 << 30, 1 << 30, 64, 64, 1}, nullptr).bytes;
  EXPECT_LE(sums, (int64_t{32} << 20) + 16 * (2 * 144 * 4 + 256) + 256);
}

}  // namespace
}  // namespace jaxsparse::voxel
