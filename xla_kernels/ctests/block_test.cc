// Blocks against plain loops over pixels: every pool, every layout, corrupt lists, special values.
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <random>
#include <string>
#include <vector>

#include <sys/mman.h>

#include "../src/block/gather.h"
#include "../src/block/reduce_mask.h"
#include "../src/block/scatter.h"
#include "pools.h"
#include "types.h"

namespace jaxsparse::block {
namespace {

using Sizes = std::vector<int64_t>;

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

struct Case {
  std::string name;
  Sizes shape, size, stride, offset, grid;
};

const std::vector<Case>& cases() {
  static const std::vector<Case> all = {
      {"1d", {11}, {4}, {4}, {0}, {3}},
      {"1d overlap", {11}, {5}, {2}, {-3}, {7}},
      {"2d", {7, 9}, {3, 4}, {3, 4}, {0, 0}, {3, 3}},
      {"2d overlap", {7, 9}, {4, 5}, {2, 3}, {-2, -1}, {5, 4}},
      {"2d deep overlap", {5, 6}, {5, 5}, {1, 1}, {-4, -4}, {9, 10}},
      {"2d holes", {7, 9}, {2, 2}, {5, 4}, {0, -1}, {2, 3}},
      {"2d outside", {5, 6}, {3, 3}, {3, 3}, {-9, 0}, {6, 3}},
      {"3d overlap", {4, 5, 6}, {3, 2, 4}, {2, 1, 3}, {-1, 0, -2}, {3, 5, 3}},
  };
  return all;
}

Tiling tiling_of(const Case& c) { return make_tiling(c.shape, c.size, c.stride, c.offset, c.grid); }

// f(pixel of the box, pixel of the image) for pixels of a block in the image.
template <class F>
void for_each_pixel(const Tiling& t, const Block& b, F&& f) {
  const Axis* a = t.axis;
  for (int64_t z = 0; z < a[0].size; ++z)
    for (int64_t y = 0; y < a[1].size; ++y)
      for (int64_t x = 0; x < a[2].size; ++x) {
        const int64_t p[3] = {a[0].start(b.at[0]) + z, a[1].start(b.at[1]) + y, a[2].start(b.at[2]) + x};
        bool inside = true;
        for (int i = 0; i < 3; ++i) inside &= p[i] >= 0 && p[i] < a[i].shape;
        if (!inside) continue;
        f((z * a[1].size + y) * a[2].size + x, ((b.batch * a[0].shape + p[0]) * a[1].shape + p[1]) * a[2].shape + p[2]);
      }
}

// The prefix that counts, by comparing rows.
std::vector<Block> rows_of(const Tiling& t, int64_t batch, const std::vector<int32_t>& indices) {
  std::vector<Block> out;
  const int64_t width = t.dims + 1;
  std::vector<int32_t> before;
  for (size_t i = 0; i + static_cast<size_t>(width) <= indices.size(); i += static_cast<size_t>(width)) {
    const std::vector<int32_t> row(indices.begin() + static_cast<long>(i),
                                   indices.begin() + static_cast<long>(i) + width);
    bool good = row[0] >= 0 && row[0] < batch && (before.empty() || before < row);
    for (int d = 0; d < t.dims; ++d) good &= row[1 + d] >= 0 && row[1 + d] < t.axis[kMaxDims - t.dims + d].grid;
    if (!good) break;
    before = row;
    out.push_back(read_block(indices.data(), static_cast<int64_t>(i) / width, t.dims));
  }
  return out;
}

std::vector<int32_t> some_indices(const Tiling& t, int64_t batch, std::mt19937& random, double share, int64_t spare) {
  std::vector<int32_t> out;
  for (int64_t i = 0; i < batch * t.boxes(); ++i) {
    if (std::uniform_real_distribution<>(0, 1)(random) >= share) continue;
    int64_t rest = i;
    std::vector<int32_t> row(4);
    for (int d = 3; d >= 1; --d) {
      row[static_cast<size_t>(d)] = static_cast<int32_t>(rest % t.axis[d - 1].grid);
      rest /= t.axis[d - 1].grid;
    }
    out.push_back(static_cast<int32_t>(rest));
    out.insert(out.end(), row.end() - t.dims, row.end());
  }
  for (int64_t i = 0; i < spare; ++i) {
    out.push_back(static_cast<int32_t>(batch));
    out.resize(out.size() + static_cast<size_t>(t.dims), 0);
  }
  return out;
}

template <class T>
std::vector<T> numbers(int64_t n, std::mt19937& random) {
  std::normal_distribution<double> normal;
  std::vector<T> out(static_cast<size_t>(n));
  for (T& x : out) x = from_accum<T>(static_cast<Accum<T>>(normal(random)));
  return out;
}

template <class T>
void expect_same_bits(const std::vector<T>& got, const std::vector<T>& want, const char* what) {
  ASSERT_EQ(got.size(), want.size());
  EXPECT_TRUE(got.empty() || std::memcmp(got.data(), want.data(), sizeof(T) * got.size()) == 0) << what;
}

template <class T>
void check_moves(const Tiling& t, int64_t batch, int64_t channels, const std::vector<int32_t>& indices) {
  std::mt19937 random(7);
  const int64_t capacity = static_cast<int64_t>(indices.size()) / (t.dims + 1), box = t.box_pixels();
  const std::vector<Block> rows = rows_of(t, batch, indices);
  const auto image = numbers<T>(batch * t.pixels() * channels, random);
  const auto base = numbers<T>(batch * t.pixels() * channels, random);
  for (bool channels_first : {false, true}) {
    const MoveSizes n{batch, channels, capacity, channels_first};
    const auto blocks = numbers<T>(capacity * box * channels, random);
    const auto place = [&](int64_t row, int64_t pixel, int64_t c) {
      return static_cast<size_t>(channels_first ? (row * channels + c) * box + pixel
                                                : (row * box + pixel) * channels + c);
    };
    std::vector<int64_t> owner(static_cast<size_t>(batch * t.pixels()), -1);
    for (size_t row = 0; row < rows.size(); ++row)
      for_each_pixel(t, rows[row],
                     [&](int64_t, int64_t p) { owner[static_cast<size_t>(p)] = static_cast<int64_t>(row); });

    std::vector<T> gathered(blocks.size(), T{}), shown(blocks.size(), T{}), put = base, erased = base;
    std::vector<Accum<T>> sum;
    for (T x : base) sum.push_back(to_accum(x));
    for (size_t row = 0; row < rows.size(); ++row) {
      for_each_pixel(t, rows[row], [&](int64_t pixel, int64_t p) {
        for (int64_t c = 0; c < channels; ++c) {
          const size_t at = static_cast<size_t>(p * channels + c), from = place(static_cast<int64_t>(row), pixel, c);
          gathered[from] = image[at];
          if (owner[static_cast<size_t>(p)] == static_cast<int64_t>(row)) shown[from] = image[at];
          put[at] = blocks[from];
          erased[at] = T{};
          sum[at] += to_accum(blocks[from]);
        }
      });
    }
    const T value = numbers<T>(1, random)[0];
    std::vector<T> fresh(base.size(), value), added = base;
    for (size_t i = 0; i < base.size(); ++i)
      if (owner[i / static_cast<size_t>(channels)] >= 0) fresh[i] = put[i];
    for (size_t i = 0; i < base.size(); ++i)
      if (owner[i / static_cast<size_t>(channels)] >= 0) added[i] = from_accum<T>(sum[i]);

    on_every_pool([&](auto& pool) {
      std::vector<T> out(blocks.size());
      std::memset(static_cast<void*>(out.data()), 0xab, sizeof(T) * out.size());
      gather(pool, t, n, image.data(), indices.data(), false, out.data());
      expect_same_bits(out, gathered, "gather");
      std::memset(static_cast<void*>(out.data()), 0xab, sizeof(T) * out.size());
      gather(pool, t, n, image.data(), indices.data(), true, out.data());
      expect_same_bits(out, shown, "gather shown");
      std::vector<T> whole(base.size());
      std::memset(static_cast<void*>(whole.data()), 0xab, sizeof(T) * whole.size());
      scatter_new(pool, t, n, blocks.data(), indices.data(), value, whole.data());
      expect_same_bits(whole, fresh, "scatter_new");
      for (bool in_place : {false, true}) {
        std::vector<T> map = base;
        std::vector<T> result(base.size());
        std::vector<T>& to = in_place ? map : result;
        scatter(pool, t, n, blocks.data(), indices.data(), map.data(), to.data());
        expect_same_bits(to, put, "scatter");
        map = base;
        scatter_add(pool, t, n, blocks.data(), indices.data(), map.data(), to.data());
        expect_same_bits(to, added, "scatter_add");
        map = base;
        erase(pool, t, n, indices.data(), map.data(), to.data());
        expect_same_bits(to, erased, "erase");
      }
    });
  }
}

template <class T>
class BlockMoves : public testing::Test {};
using test::Storage;
TYPED_TEST_SUITE(BlockMoves, Storage);

TYPED_TEST(BlockMoves, EveryTiling) {
  std::mt19937 random(3);
  for (const Case& c : cases()) {
    SCOPED_TRACE(c.name);
    const Tiling t = tiling_of(c);
    for (double share : {0.0, 0.4, 1.0}) check_moves<TypeParam>(t, 2, 3, some_indices(t, 2, random, share, 2));
  }
}

TYPED_TEST(BlockMoves, Channels) {
  std::mt19937 random(4);
  const Tiling t = tiling_of(cases()[3]);
  for (int64_t channels : {1, 16, 17, 33}) check_moves<TypeParam>(t, 1, channels, some_indices(t, 1, random, 0.5, 0));
}

TYPED_TEST(BlockMoves, CorruptLists) {
  std::mt19937 random(5);
  const int32_t odd[] = {-1, 0, 1, 5, 2147483647, -2147483647 - 1};
  for (const Case& c : cases()) {
    SCOPED_TRACE(c.name);
    const Tiling t = tiling_of(c);
    for (int repeat = 0; repeat < 20; ++repeat) {
      auto indices = some_indices(t, 2, random, 0.5, 1);
      for (int i = 0; i < 2; ++i) indices[random() % indices.size()] = odd[random() % 6];
      check_moves<TypeParam>(t, 2, 2, indices);
    }
  }
}

// (response or none, block) by plain loops; the response in float64.
template <class T>
void check_reduce(const Tiling& t, int64_t batch, const std::vector<T>& mask, double threshold, Pooled pooled) {
  using A = Accum<T>;
  struct Found {
    A response;
    std::vector<int32_t> row;
  };
  std::vector<Found> active;
  std::mt19937 none;
  const auto every = some_indices(t, batch, none, 2.0, 0);
  for (int64_t i = 0; i < batch * t.boxes(); ++i) {
    double most = -INFINITY, sum = 0;
    int64_t pixels = 0;
    bool nan = false;
    for_each_pixel(t, read_block(every.data(), i, t.dims), [&](int64_t, int64_t p) {
      const double value = static_cast<double>(pixel_value(mask[static_cast<size_t>(p)]));
      nan |= value != value;
      most = std::max(most, value);
      sum += value;
      ++pixels;
    });
    if (pixels == 0) continue;
    const A value = static_cast<A>(nan ? NAN : pooled == Pooled::kMax ? most : sum / static_cast<double>(pixels));
    if (value > static_cast<A>(threshold) || value != value)
      active.push_back({value, {every.begin() + i * (t.dims + 1), every.begin() + (i + 1) * (t.dims + 1)}});
  }
  for (int64_t capacity : {int64_t{1}, int64_t{4}, batch * t.boxes()}) {
    std::vector<Found> kept = active;
    std::stable_sort(kept.begin(), kept.end(), [](const Found& a, const Found& b) {
      if (a.response != a.response || b.response != b.response)
        return a.response != a.response && b.response == b.response;
      return a.response > b.response;
    });
    kept.resize(std::min(kept.size(), static_cast<size_t>(capacity)));
    std::sort(kept.begin(), kept.end(), [](const Found& a, const Found& b) { return a.row < b.row; });
    std::vector<int32_t> want;
    for (const Found& f : kept) want.insert(want.end(), f.row.begin(), f.row.end());
    while (static_cast<int64_t>(want.size()) < capacity * (t.dims + 1)) {
      want.push_back(static_cast<int32_t>(batch));
      want.resize(want.size() + static_cast<size_t>(t.dims), 0);
    }
    on_every_pool([&](auto& pool) {
      std::vector<int32_t> indices(static_cast<size_t>(capacity * (t.dims + 1)), -7);
      std::vector<int32_t> number(static_cast<size_t>(batch * t.boxes()));
      std::vector<A> response(number.size());
      int32_t count = -7;
      const A limit = static_cast<A>(threshold);
      reduce_mask(pool, t, batch, capacity, mask.data(), &limit, pooled, indices.data(), &count, number.data(),
                  response.data());
      EXPECT_EQ(count, static_cast<int32_t>(active.size()));
      EXPECT_EQ(indices, want) << "capacity " << capacity;
    });
  }
}

TYPED_TEST(BlockMoves, ReduceMask) {
  std::mt19937 random(6);
  for (const Case& c : cases()) {
    SCOPED_TRACE(c.name);
    const Tiling t = tiling_of(c);
    // Multiples of 1/4, so that sums in any order are the same number.
    std::vector<TypeParam> mask;
    for (int64_t i = 0; i < 2 * t.pixels(); ++i)
      mask.push_back(from_accum<TypeParam>(static_cast<Accum<TypeParam>>(static_cast<double>(random() % 9) / 4 - 1.5)));
    for (double threshold : {-double{INFINITY}, -0.25, 0.0, 0.25})
      for (Pooled pooled : {Pooled::kMax, Pooled::kMean}) check_reduce(t, 2, mask, threshold, pooled);
    for (double special : {double{NAN}, -double{NAN}, double{INFINITY}, -double{INFINITY}})
      mask[random() % mask.size()] = from_accum<TypeParam>(static_cast<Accum<TypeParam>>(special));
    check_reduce(t, 2, mask, 0.0, Pooled::kMax);
  }
}

// Memory that is not touched costs nothing: an image of 2^33 bytes, of which the last blocks are moved.
TEST(BlockLarge, OffsetsBeyondInt32) {
  const Tiling t = make_tiling(Sizes{1 << 12, 1 << 12}, Sizes{2, 3}, Sizes{2, 3}, Sizes{0, 0}, Sizes{1 << 11, 1366});
  const int64_t channels = 1 << 8, bytes = 2 * t.pixels() * channels;
  ASSERT_EQ(bytes, int64_t{1} << 33);
  void* memory = mmap(nullptr, static_cast<size_t>(bytes), PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) GTEST_SKIP() << "no address space";
  auto* image = static_cast<uint8_t*>(memory);
  // The last column of blocks has one pixel in the image.
  const std::vector<int32_t> indices = {0, 0, 0, 1, 2047, 1364, 1, 2047, 1365};
  const MoveSizes n{2, channels, 3, false};
  std::vector<uint8_t> blocks(static_cast<size_t>(3 * t.box_pixels() * channels));
  for (size_t i = 0; i < blocks.size(); ++i) blocks[i] = static_cast<uint8_t>(1 + i % 251);
  test::ThreadPool pool(2);
  scatter(pool, t, n, blocks.data(), indices.data(), image, image);
  const auto block_at = [&](int64_t row, int64_t y, int64_t x, int64_t c) {
    return blocks[static_cast<size_t>(((row * 2 + y) * 3 + x) * channels + c)];
  };
  EXPECT_EQ(image[0], block_at(0, 0, 0, 0));
  EXPECT_EQ(image[bytes - 1], block_at(2, 1, 0, channels - 1));
  EXPECT_EQ(image[bytes - 1 - channels], block_at(1, 1, 2, channels - 1));
  EXPECT_EQ(image[bytes - 1 - 4 * channels], 0);
  std::vector<uint8_t> back(blocks.size(), 7);
  gather(pool, t, n, image, indices.data(), true, back.data());
  for (int64_t x = 1; x < 3; ++x)
    for (int64_t y = 0; y < 2; ++y)
      for (int64_t c = 0; c < channels; ++c) blocks[static_cast<size_t>(((4 + y) * 3 + x) * channels + c)] = 0;
  expect_same_bits(back, blocks, "gather");
  munmap(memory, static_cast<size_t>(bytes));
}

TEST(BlockReduceMask, BoolMasks) {
  std::mt19937 random(8);
  for (const Case& c : cases()) {
    const Tiling t = tiling_of(c);
    std::vector<uint8_t> mask;
    for (int64_t i = 0; i < 2 * t.pixels(); ++i) mask.push_back(random() % 8 == 0);
    check_reduce(t, 2, mask, 0.0, Pooled::kMax);
    check_reduce(t, 2, mask, 0.25, Pooled::kMean);
  }
}

TEST(BlockTiling, SizesThatNobodyMeans) {
  const Sizes one{1}, big{int64_t{1} << 31}, two{1, 1}, far{-(int64_t{1} << 31)};
  EXPECT_NO_THROW(make_tiling(one, one, one, one, one));
  EXPECT_THROW(make_tiling(Sizes{}, one, one, one, one), std::invalid_argument);
  EXPECT_THROW(make_tiling(Sizes{1, 1, 1, 1}, one, one, one, one), std::invalid_argument);
  EXPECT_THROW(make_tiling(one, two, one, one, one), std::invalid_argument);
  EXPECT_THROW(make_tiling(one, Sizes{0}, one, one, one), std::invalid_argument);
  EXPECT_THROW(make_tiling(one, one, Sizes{0}, one, one), std::invalid_argument);
  EXPECT_THROW(make_tiling(one, one, one, one, Sizes{0}), std::invalid_argument);
  EXPECT_THROW(make_tiling(big, one, one, one, one), std::invalid_argument);
  EXPECT_THROW(make_tiling(one, one, one, far, one), std::invalid_argument);
  const Sizes half{1 << 16, 1 << 16};
  EXPECT_THROW(make_tiling(half, two, two, two, two), std::invalid_argument);
  EXPECT_THROW(make_tiling(two, two, two, two, half), std::invalid_argument);
}

TEST(BlockTiling, BoxesOverAPixel) {
  for (int64_t size : {1, 3, 7})
    for (int64_t stride : {1, 2, 5})
      for (int64_t offset : {-6, 0, 4}) {
        const Axis a{20, size, stride, offset, 6};
        for (int64_t p = 0; p < a.shape; ++p) {
          std::vector<int64_t> want, got;
          for (int64_t i = 0; i < a.grid; ++i)
            if (a.start(i) <= p && p < a.start(i) + size) want.push_back(i);
          for (int64_t i = a.first_over(p); i <= a.last_over(p); ++i) got.push_back(i);
          EXPECT_EQ(got, want) << size << " " << stride << " " << offset << " " << p;
        }
        for (int64_t i = 0; i < a.grid; ++i) {
          int64_t inside = 0;
          for (int64_t k = 0; k < size; ++k) inside += a.start(i) + k >= 0 && a.start(i) + k < a.shape;
          EXPECT_EQ(a.end(i) - a.begin(i), inside);
        }
      }
}

}  // namespace
}  // namespace jaxsparse::block
