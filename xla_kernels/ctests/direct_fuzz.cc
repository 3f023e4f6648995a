// libFuzzer over the direct kernels: any bytes are a problem. Keys, values and masks are the bytes themselves, geometry
// is drawn small (compared with the plain definition) or wild (must be refused or survive).
#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <utility>
#include <vector>

#include "direct/channels.h"
#include "direct/global_pool.h"
#include "pools.h"
#include "runners.h"

namespace jaxsparse::test {
namespace {

class Bytes {
 public:
  Bytes(const uint8_t* data, size_t size) : data_(data), size_(size) {}
  // Past the end the input repeats, stirred a little.
  uint8_t byte() {
    const uint8_t value = size_ ? static_cast<uint8_t>(data_[at_ % size_] ^ (at_ / size_ * 37)) : 0;
    ++at_;
    return value;
  }
  int64_t upto(int64_t n) { return byte() % n; }
  template <class V>
  V raw() {
    unsigned char bytes[sizeof(V)];
    for (auto& b : bytes) b = byte();
    V value;
    std::memcpy(static_cast<void*>(&value), bytes, sizeof value);
    return value;
  }

 private:
  const uint8_t* data_;
  size_t size_;
  size_t at_ = 0;
};

void require(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "violated: %s\n", what);
  std::abort();
}

template <class T>
bool all_same(const std::vector<T>& a, const std::vector<T>& b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i)
    if (!same(a[i], b[i])) {
      std::fprintf(stderr, "slot %zu: %a, not %a\n", i, double(to_accum(a[i])), double(to_accum(b[i])));
      return false;
    }
  return true;
}

template <class T>
bool lists_same(const Lists<T>& a, const Lists<T>& b) {
  return a.found == b.found && a.keys == b.keys && all_same(a.values, b.values);
}

ThreadPool& threads() {
  static ThreadPool pool(2);
  return pool;
}

// The results of one thread and of two.
template <class Run>
auto on_both(Run&& run) {
  SerialPool serial;
  auto result = run(serial);
  auto again = run(threads());
  return std::pair(std::move(result), std::move(again));
}

ConvGeometry small_geometry(Bytes& in) {
  constexpr int64_t kLargest[] = {64, 9, 6, 4};
  ConvGeometry g;
  g.dims = 1 + static_cast<int>(in.upto(4));
  for (int i = 0; i < g.dims; ++i) {
    const int64_t largest = kLargest[g.dims - 1];
    g.in[i] = 1 + in.upto(largest);
    g.out[i] = 1 + in.upto(largest);
    g.kernel[i] = 1 + in.upto(4);
    g.stride[i] = 1 + in.upto(4);
    g.dilation[i] = 1 + in.upto(3);
    g.pad[i] = in.upto(9) - 3;
  }
  return g;
}

int64_t wild_number(Bytes& in) {
  switch (in.upto(5)) {
    case 0:
      return in.raw<int64_t>();
    case 1:
      return in.raw<int32_t>();
    case 2:
      return int64_t{1} << in.upto(63);
    case 3:
      return -(int64_t{1} << in.upto(63));
    default:
      return in.byte();
  }
}

// Keys of both kinds: mostly ascending, now and then anything.
template <class T>
Lists<T> any_lists(Bytes& in, int64_t batch, int64_t channels, int64_t capacity, int64_t volume) {
  Lists<T> x(batch, channels, capacity, volume);
  const int wildness = in.byte() % 4;
  const int64_t step = 1 + in.upto(8);
  for (int64_t list = 0; list < batch * channels; ++list) {
    int64_t next = in.upto(4) - 1;
    for (int64_t i = 0; i < capacity; ++i) {
      const auto at = static_cast<size_t>(list * capacity + i);
      next += 1 + in.upto(step);
      x.keys[at] = static_cast<int32_t>(std::min(next, volume));
      if (wildness == 1 && in.byte() < 12) x.keys[at] = in.raw<int32_t>();
      if (wildness == 2) x.keys[at] = in.raw<int32_t>();
      x.values[at] = in.byte() % 3 ? from_accum<T>(Accum<T>(in.upto(9) - 4)) : in.raw<T>();
    }
  }
  return x;
}

template <class T>
Problem<T> any_problem(Bytes& in, const ConvGeometry& g) {
  const PlainGeometry plain(g);
  Problem<T> p;
  p.geometry = g;
  p.out_channels = 1 + in.upto(in.upto(2) ? 4 : 20);
  p.x = any_lists<T>(in, in.upto(3), 1 + in.upto(3), 1 + in.upto(40), plain.in_volume);
  const int64_t weights = plain.taps * p.x.channels * p.out_channels;
  const bool masked = in.upto(2), special = in.upto(3) == 0;
  for (int64_t i = 0; i < weights; ++i) {
    p.kernel.push_back(special ? in.raw<T>() : from_accum<T>(Accum<T>(in.upto(9) - 4)));
    if (masked) p.mask.push_back(static_cast<char>(in.upto(2)));
  }
  if (in.upto(2))
    for (int64_t i = 0; i < p.out_channels; ++i) p.bias.push_back(in.raw<T>());
  return p;
}

template <class T>
void fuzz_conv(Bytes& in) {
  const auto p = any_problem<T>(in, small_geometry(in));
  const auto rule = static_cast<Rule>(in.upto(3));
  const int64_t capacity = 1 + in.upto(60);
  const auto [y, y2] = on_both([&](auto& pool) { return run_conv(pool, p, capacity, rule); });
  require(lists_same(y, y2), "conv: threads change nothing");
  require(lists_same(y, conv_plainly(p, capacity, rule)), "conv: the definition");

  const auto g = any_lists<T>(in, p.x.batch, p.out_channels, capacity, y.volume);
  const auto& at = in.upto(2) ? g : y;
  const auto [r, r2] = on_both([&](auto& pool) { return run_conv_at(pool, p, at); });
  require(all_same(r, r2) && all_same(r, conv_at_plainly(p, at)), "conv_at: the definition");
  const auto [gx, gx2] = on_both([&](auto& pool) { return run_input_grad(pool, p, at); });
  require(all_same(gx, gx2) && all_same(gx, input_grad_plainly(p, at)), "conv_input_grad: the definition");
  const auto [gw, gw2] = on_both([&](auto& pool) { return run_kernel_grad(pool, p, at); });
  require(all_same(gw, gw2), "conv_kernel_grad: threads change nothing");
}

template <class T>
void fuzz_pool(Bytes& in) {
  auto g = small_geometry(in);
  for (int i = 0; i < g.dims; ++i) {
    g.pad[i] = 0;
    g.dilation[i] = 1;
    g.out[i] = (g.in[i] + g.stride[i] - 1) / g.stride[i];
  }
  const auto x = any_lists<T>(in, in.upto(3), 1 + in.upto(3), 1 + in.upto(60), PlainGeometry(g).in_volume);
  const int64_t capacity = 1 + in.upto(60);
  const auto [y, y2] = on_both([&](auto& pool) { return run_max_pool(pool, g, x, capacity); });
  const auto want = pool_plainly(g, x, capacity);
  require(lists_same(y, y2) && y.source == y2.source, "max_pool: threads change nothing");
  require(lists_same(y, want) && y.source == want.source, "max_pool: the definition");

  const auto [mean, mean2] = on_both([&](auto& pool) { return run_pool<Mean, T>(pool, g, x, capacity); });
  const auto plain = avg_pool_plainly(g, x, capacity);
  require(lists_same(mean, mean2) && mean.source == mean2.source, "avg_pool: threads change nothing");
  require(lists_same(mean, plain) && mean.source == plain.source, "avg_pool: the definition");
  const auto coarse = any_lists<T>(in, x.batch, x.channels, 1 + in.upto(40), mean.volume);
  const auto [sum, sum2] = on_both([&](auto& pool) { return run_window_sum(pool, g, x, coarse, {}); });
  require(all_same(sum, sum2) && all_same(sum, window_sum_plainly(g, x, coarse, {})), "window_sum: the definition");
  const auto [share, share2] = on_both([&](auto& pool) { return run_window_spread(pool, g, x, coarse, {}); });
  require(all_same(share, share2) && all_same(share, window_spread_plainly(g, x, coarse, {})),
          "window_spread: the definition");
}

// Sums of lists, and the operations with one number a list or a channel.
template <class T>
void fuzz_kit(Bytes& in) {
  const int64_t batch = in.upto(3), channels = 1 + in.upto(4), volume = 1 + in.upto(200);
  const auto x = any_lists<T>(in, batch, channels, 1 + in.upto(60), volume);
  const auto y = any_lists<T>(in, batch, channels, 1 + in.upto(60), volume);
  const int64_t capacity = 1 + in.upto(90);
  std::vector<int32_t> source, source2, want_source;
  SerialPool serial;
  const auto sum = run_add(serial, x, y, capacity, &source), sum2 = run_add(threads(), x, y, capacity, &source2);
  const auto want = add_plainly(x, y, capacity, &want_source);
  require(lists_same(sum, sum2) && sum.source == sum2.source && source == source2, "add: threads change nothing");
  require(lists_same(sum, want) && sum.source == want.source && source == want_source, "add: the definition");

  const ListSizes n{batch, channels, x.capacity};
  const auto lists = static_cast<size_t>(n.lists());
  Lists<T> highest(batch, channels, 1, 1);
  std::vector<T> mean(lists), back(x.values.size());
  global_max_pool<T>(threads(), n, volume, x.keys.data(), x.values.data(), highest.keys.data(), highest.values.data(),
                     highest.found.data(), highest.source.data());
  global_avg_pool<T>(threads(), n, volume, x.keys.data(), x.values.data(), mean.data());
  global_avg_pool_grad<T>(threads(), n, volume, x.keys.data(), mean.data(), back.data());
  for (size_t list = 0; list < lists; ++list) {
    const bool any = x.stored(static_cast<int64_t>(list)) > 0;
    require(highest.stored(static_cast<int64_t>(list)) == any && highest.found[list] == any, "global_max_pool: a list");
    require(any || same(mean[list], from_accum<T>(0)), "global_avg_pool: 0 where there is none");
  }
  std::vector<char> mask;
  for (size_t i = 0; i < x.keys.size(); ++i) mask.push_back(static_cast<char>(in.upto(2)));
  const Accum<T> factors[2] = {Accum<T>(in.upto(3)), Accum<T>(in.upto(3))};
  masked_scale<T>(threads(), n, volume, x.keys.data(), x.values.data(), reinterpret_cast<const bool*>(mask.data()),
                  factors, back.data());
  if constexpr (std::is_same_v<T, Accum<T>>) {
    std::vector<T> one(static_cast<size_t>(channels)), two(one);
    const ChannelTerm<T> values{x.values.data(), in.upto(2) ? one.data() : nullptr}, ones{nullptr, nullptr};
    channel_dot<T>(serial, n, volume, x.keys.data(), values, in.upto(2) ? values : ones, one.data());
    channel_dot<T>(threads(), n, volume, x.keys.data(), ones, ones, two.data());
    channel_affine<T>(threads(), n, volume, x.keys.data(), values, one.data(), two.data(), back.data());
  }
}

template <class T>
void fuzz_lists(Bytes& in) {
  const DenseSizes n{in.upto(3), 1 + in.upto(200), 1 + in.upto(20), 1 + in.upto(100)};
  const auto rule = static_cast<Rule>(in.upto(3));
  std::vector<T> dense;
  for (int64_t i = 0; i < n.batch * n.volume * n.channels; ++i)
    dense.push_back(in.byte() % 2 ? from_accum<T>(Accum<T>(in.upto(5) - 2)) : in.raw<T>());
  const auto [y, y2] = on_both([&](auto& pool) { return run_from_dense(pool, n, dense, rule); });
  require(lists_same(y, y2) && lists_same(y, from_dense_plainly(n, dense, rule)), "from_dense: the definition");

  const auto x = any_lists<T>(in, n.batch, n.channels, n.capacity, n.volume);
  std::vector<int32_t> source;
  for (size_t i = 0; i < x.keys.size(); ++i) source.push_back(in.byte() % 8 ? in.byte() : in.raw<int32_t>());
  const ListSizes sizes{n.batch, n.channels, n.capacity};
  Workspace workspace(put_add_bytes<T>(n.capacity));
  std::vector<T> back(x.values.size()), sums(static_cast<size_t>(n.channels)), all(dense.size());
  Lists<T> kept(n.batch, n.channels, n.capacity, n.volume);
  to_dense<T>(threads(), n, x.keys.data(), x.values.data(), all.data());
  gather_dense<T>(threads(), n, x.keys.data(), all.data(), back.data());
  for (int64_t list = 0; list < n.batch * n.channels; ++list)
    for (int64_t i = 0; i < n.capacity; ++i) {
      const auto at = static_cast<size_t>(list * n.capacity + i);
      require(same(back[at], i < x.stored(list) ? x.values[at] : from_accum<T>(0)), "gather_dense undoes to_dense");
    }
  relu<T>(threads(), sizes, n.volume, x.keys.data(), x.values.data(), kept.keys.data(), kept.values.data(),
          kept.found.data(), kept.source.data());
  for (int64_t list = 0; list < n.batch * n.channels; ++list)
    require(kept.stored(list) == kept.found[static_cast<size_t>(list)], "relu leaves a valid list");
  take<T>(threads(), sizes, n.capacity, x.values.data(), source.data(), back.data());
  put_add<T>(threads(), sizes, n.capacity, x.values.data(), source.data(), back.data(), workspace.data());
  channel_sum<T>(threads(), sizes, n.volume, x.keys.data(), x.values.data(), sums.data());
}

// Sizes that no caller means: they are refused, or the kernel runs within its buffers.
template <class T>
void fuzz_wild_geometry(Bytes& in) {
  auto g = small_geometry(in);
  const int64_t changes = 1 + in.upto(4);
  for (int64_t c = 0; c < changes; ++c) {
    int64_t* fields[] = {g.in, g.out, g.kernel, g.stride, g.pad, g.dilation};
    fields[in.upto(6)][in.upto(g.dims)] = wild_number(in);
  }
  try {
    const ConvGrid grid(g);
    if (grid.cells() > 1 << 21 || grid.taps().size() > 512 || grid.classes() > 512) return;
    Problem<T> p;
    p.geometry = g;
    p.out_channels = 1 + in.upto(3);
    p.x = any_lists<T>(in, 1, 1 + in.upto(2), 1 + in.upto(40), grid.in_volume());
    p.kernel.assign(grid.taps().size() * static_cast<size_t>(p.x.channels * p.out_channels), from_accum<T>(1));
    const auto y = run_conv(threads(), p, 1 + in.upto(60), Rule::kValue);
    run_conv_at(threads(), p, y);
    run_input_grad(threads(), p, y);
    run_kernel_grad(threads(), p, y);
    run_max_pool(threads(), g, p.x, 1 + in.upto(60));
    run_window_spread(threads(), g, p.x, run_pool<Mean, T>(threads(), g, p.x, 1 + in.upto(60)), {});
  } catch (const std::invalid_argument&) {
  }
}

template <class T>
void fuzz(Bytes& in) {
  switch (in.upto(9)) {
    case 8:
      return fuzz_kit<T>(in);
    case 0:
      return fuzz_pool<T>(in);
    case 1:
      return fuzz_lists<T>(in);
    case 2:
      return fuzz_wild_geometry<T>(in);
    default:
      return fuzz_conv<T>(in);
  }
}

}  // namespace
}  // namespace jaxsparse::test

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace jaxsparse;
  test::Bytes in(data, size);
  switch (in.upto(8)) {
    case 0:
      test::fuzz<double>(in);
      break;
    case 1:
      test::fuzz<BF16>(in);
      break;
    case 2:
      test::fuzz<F16>(in);
      break;
    default:
      test::fuzz<float>(in);
      break;
  }
  return 0;
}
