// The definitions that the kernels have to meet to the bit, written as plain loops.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "core/dtype.h"
#include "core/score.h"
#include "direct/convert.h"
#include "direct/grid.h"
#include "lists.h"

namespace jaxsparse::test {

// Maps voxels, given as keys, through a convolution's geometry.
class PlainGeometry {
 public:
  explicit PlainGeometry(const ConvGeometry& g) : g_(g) {
    for (int i = 0; i < g.dims; ++i) {
      in_volume *= g.in[i];
      out_volume *= g.out[i];
      taps *= g.kernel[i];
    }
  }
  // The input voxel that output voxel `out` sees under a tap; -1 if it lies outside.
  int64_t input_of(int64_t out, int64_t tap) const {
    int64_t key = 0, unit = 1;
    for (int i = g_.dims - 1; i >= 0; --i) {
      const int64_t o = out % g_.out[i], k = tap % g_.kernel[i];
      out /= g_.out[i];
      tap /= g_.kernel[i];
      const int64_t at = o * g_.stride[i] - g_.pad[i] + k * g_.dilation[i];
      if (at < 0 || at >= g_.in[i]) return -1;
      key += at * unit;
      unit *= g_.in[i];
    }
    return key;
  }
  // The output voxel that sees input voxel `in` under a tap; -1 if none.
  int64_t output_of(int64_t in, int64_t tap) const {
    int64_t key = 0, unit = 1;
    for (int i = g_.dims - 1; i >= 0; --i) {
      const int64_t x = in % g_.in[i], k = tap % g_.kernel[i];
      in /= g_.in[i];
      tap /= g_.kernel[i];
      const int64_t n = x + g_.pad[i] - k * g_.dilation[i];
      if (n < 0 || n % g_.stride[i] || n / g_.stride[i] >= g_.out[i]) return -1;
      key += n / g_.stride[i] * unit;
      unit *= g_.out[i];
    }
    return key;
  }
  int64_t in_volume = 1, out_volume = 1, taps = 1;

 private:
  ConvGeometry g_;
};

// For every voxel the slot of its entry in one list, -1 if it is not stored.
inline std::vector<int32_t> slots_by_voxel(const int32_t* keys, int64_t capacity, int64_t volume) {
  std::vector<int32_t> slot(static_cast<size_t>(volume), -1);
  for (int64_t i = 0, last = -1; i < capacity && keys[i] > last && keys[i] < volume; ++i) {
    slot[static_cast<size_t>(keys[i])] = static_cast<int32_t>(i);
    last = keys[i];
  }
  return slot;
}

template <class A>
struct Candidate {
  int32_t key;
  A value;
  int32_t source;
};

// The cut: the strongest by rank, equal ranks by the lower key; what stays, in key order.
template <class A>
void keep_strongest_plainly(std::vector<Candidate<A>>& all, int64_t capacity, Rule rule) {
  if (static_cast<int64_t>(all.size()) <= capacity) return;
  std::stable_sort(all.begin(), all.end(),
                   [&](auto& a, auto& b) { return rank_of(a.value, rule) > rank_of(b.value, rule); });
  all.resize(static_cast<size_t>(capacity));
  std::sort(all.begin(), all.end(), [](auto& a, auto& b) { return a.key < b.key; });
}

template <class T>
void write_list(Lists<T>& out, int64_t list, std::vector<Candidate<Accum<T>>> all, Rule rule) {
  out.found[static_cast<size_t>(list)] = static_cast<int32_t>(all.size());
  keep_strongest_plainly(all, out.capacity, rule);
  for (int64_t i = 0; i < out.capacity; ++i) {
    const bool used = i < static_cast<int64_t>(all.size());
    const size_t at = static_cast<size_t>(list * out.capacity + i);
    out.keys[at] = used ? all[static_cast<size_t>(i)].key : static_cast<int32_t>(out.volume);
    out.values[at] = from_accum<T>(used ? all[static_cast<size_t>(i)].value : 0);
    out.source[at] = used ? all[static_cast<size_t>(i)].source : -1;
  }
}

// One convolution problem: geometry, channels, and operands.
template <class T>
struct Problem {
  ConvGeometry geometry;
  Lists<T> x;
  int64_t out_channels = 1;
  std::vector<T> kernel, bias;
  std::vector<char> mask;  // 0/1, as bool; empty: no mask

  bool alive(int64_t tap, int64_t ic, int64_t oc) const {
    return mask.empty() || mask[static_cast<size_t>((tap * x.channels + ic) * out_channels + oc)];
  }
  Accum<T> weight(int64_t tap, int64_t ic, int64_t oc) const {
    return to_accum(kernel[static_cast<size_t>((tap * x.channels + ic) * out_channels + oc)]);
  }
};

// The response at one output voxel: input channels ascending, taps in row-major order, fused multiply-adds.
template <class T>
Accum<T> response(const Problem<T>& p, const PlainGeometry& g, const std::vector<std::vector<int32_t>>& slots,
                  int64_t b, int64_t oc, int64_t out) {
  Accum<T> sum = 0;
  for (int64_t ic = 0; ic < p.x.channels; ++ic) {
    for (int64_t tap = 0; tap < g.taps; ++tap) {
      const int64_t in = g.input_of(out, tap);
      if (in < 0 || !p.alive(tap, ic, oc)) continue;
      const int64_t list = b * p.x.channels + ic;
      const int32_t slot = slots[static_cast<size_t>(list)][static_cast<size_t>(in)];
      if (slot >= 0) sum = std::fma(p.x.value(list, slot), p.weight(tap, ic, oc), sum);
    }
  }
  return sum;
}

template <class T>
std::vector<std::vector<int32_t>> all_slots(const Lists<T>& x) {
  std::vector<std::vector<int32_t>> slots;
  for (int64_t list = 0; list < x.batch * x.channels; ++list)
    slots.push_back(slots_by_voxel(x.keys.data() + list * x.capacity, x.capacity, x.volume));
  return slots;
}

template <class T>
Lists<T> conv_plainly(const Problem<T>& p, int64_t out_capacity, Rule rule) {
  const PlainGeometry g(p.geometry);
  const auto slots = all_slots(p.x);
  Lists<T> y(p.x.batch, p.out_channels, out_capacity, g.out_volume);
  for (int64_t b = 0; b < p.x.batch; ++b) {
    for (int64_t oc = 0; oc < p.out_channels; ++oc) {
      std::vector<Candidate<Accum<T>>> all;
      for (int64_t out = 0; out < g.out_volume; ++out) {
        const Accum<T> sum = response(p, g, slots, b, oc, out);
        if (sum == 0) continue;
        const Accum<T> value = sum + (p.bias.empty() ? 0 : to_accum(p.bias[static_cast<size_t>(oc)]));
        if (rule != Rule::kRelu || !(value <= 0)) all.push_back({static_cast<int32_t>(out), value, -1});
      }
      write_list(y, b * p.out_channels + oc, all, rule);
    }
  }
  return y;
}

// Values at the stored keys of y; a zero is +0.
template <class T>
std::vector<T> conv_at_plainly(const Problem<T>& p, const Lists<T>& y) {
  const PlainGeometry g(p.geometry);
  const auto slots = all_slots(p.x);
  std::vector<T> values(y.values.size(), from_accum<T>(0));
  for (int64_t list = 0; list < y.batch * y.channels; ++list)
    for (int64_t i = 0; i < y.stored(list); ++i)
      values[static_cast<size_t>(list * y.capacity + i)] =
          from_accum<T>(response(p, g, slots, list / y.channels, list % y.channels, y.key(list, i)) + Accum<T>{0});
  return values;
}

// One accumulator per output channel over the taps, then the output channels added in ascending order.
template <class T>
std::vector<T> input_grad_plainly(const Problem<T>& p, const Lists<T>& y) {
  const PlainGeometry g(p.geometry);
  const auto slots = all_slots(y);
  std::vector<T> grads(p.x.values.size(), from_accum<T>(0));
  for (int64_t list = 0; list < p.x.batch * p.x.channels; ++list) {
    const int64_t b = list / p.x.channels, ic = list % p.x.channels;
    for (int64_t i = 0; i < p.x.stored(list); ++i) {
      Accum<T> total = 0;
      for (int64_t oc = 0; oc < p.out_channels; ++oc) {
        Accum<T> sum = 0;
        for (int64_t tap = 0; tap < g.taps; ++tap) {
          const int64_t out = g.output_of(p.x.key(list, i), tap);
          if (out < 0 || !p.alive(tap, ic, oc)) continue;
          const int64_t from = b * p.out_channels + oc;
          const int32_t slot = slots[static_cast<size_t>(from)][static_cast<size_t>(out)];
          if (slot >= 0) sum = std::fma(y.value(from, slot), p.weight(tap, ic, oc), sum);
        }
        total += sum;
      }
      grads[static_cast<size_t>(list * p.x.capacity + i)] = from_accum<T>(total);
    }
  }
  return grads;
}

// A weight's gradient: the sum of its finite terms and of their absolute values (to bound its rounding), and which
// other terms there were.
struct WeightGrad {
  double sum = 0, absolute = 0;
  bool up = false, down = false, nan = false;

  bool not_a_number() const { return nan || (up && down); }
  void add(double x, double y) {
    const double term = x * y;
    if (std::isfinite(x) && std::isfinite(y)) {
      sum += term;
      absolute += std::abs(term);
    } else {
      nan |= std::isnan(term);
      up |= term > 0;
      down |= term < 0;
    }
  }
};

template <class T>
std::vector<WeightGrad> kernel_grad_plainly(const Problem<T>& p, const Lists<T>& y) {
  const PlainGeometry g(p.geometry);
  const auto slots = all_slots(y);
  std::vector<WeightGrad> grads(p.kernel.size());
  for (int64_t list = 0; list < p.x.batch * p.x.channels; ++list) {
    const int64_t b = list / p.x.channels, ic = list % p.x.channels;
    for (int64_t i = 0; i < p.x.stored(list); ++i) {
      for (int64_t tap = 0; tap < g.taps; ++tap) {
        const int64_t out = g.output_of(p.x.key(list, i), tap);
        if (out < 0) continue;
        for (int64_t oc = 0; oc < p.out_channels; ++oc) {
          const int64_t from = b * p.out_channels + oc;
          const int32_t slot = slots[static_cast<size_t>(from)][static_cast<size_t>(out)];
          if (slot < 0 || !p.alive(tap, ic, oc)) continue;
          grads[static_cast<size_t>((tap * p.x.channels + ic) * p.out_channels + oc)].add(p.x.value(list, i),
                                                                                          y.value(from, slot));
        }
      }
    }
  }
  return grads;
}

// The maximum of a window's stored entries; NaN is the maximum, of equal ones the lowest key.
template <class T>
Lists<T> pool_plainly(const ConvGeometry& geometry, const Lists<T>& x, int64_t out_capacity) {
  const PlainGeometry g(geometry);
  const auto slots = all_slots(x);
  Lists<T> y(x.batch, x.channels, out_capacity, g.out_volume);
  for (int64_t list = 0; list < x.batch * x.channels; ++list) {
    std::vector<Candidate<Accum<T>>> all;
    for (int64_t out = 0; out < g.out_volume; ++out) {
      int32_t best = -1;
      for (int64_t tap = 0; tap < g.taps; ++tap) {
        const int64_t in = g.input_of(out, tap);
        const int32_t slot = in < 0 ? -1 : slots[static_cast<size_t>(list)][static_cast<size_t>(in)];
        if (slot < 0) continue;
        const bool better = best < 0 || (std::isnan(x.value(list, slot)) ? !std::isnan(x.value(list, best))
                                                                         : x.value(list, slot) > x.value(list, best));
        if (better) best = slot;
      }
      if (best >= 0) all.push_back({static_cast<int32_t>(out), x.value(list, best), best});
    }
    write_list(y, list, all, Rule::kValue);
  }
  return y;
}

// The mean of a window's stored entries, added by key; `source` says how many they are.
template <class T>
Lists<T> avg_pool_plainly(const ConvGeometry& geometry, const Lists<T>& x, int64_t out_capacity) {
  const PlainGeometry g(geometry);
  const auto slots = all_slots(x);
  Lists<T> y(x.batch, x.channels, out_capacity, g.out_volume);
  for (int64_t list = 0; list < x.batch * x.channels; ++list) {
    std::vector<Candidate<Accum<T>>> all;
    for (int64_t out = 0; out < g.out_volume; ++out) {
      Accum<T> sum = 0;
      int32_t count = 0;
      for (int64_t tap = 0; tap < g.taps; ++tap) {
        const int64_t in = g.input_of(out, tap);
        const int32_t slot = in < 0 ? -1 : slots[static_cast<size_t>(list)][static_cast<size_t>(in)];
        if (slot >= 0) sum = count++ ? sum + x.value(list, slot) : x.value(list, slot);
      }
      if (count) all.push_back({static_cast<int32_t>(out), sum / static_cast<Accum<T>>(count), count});
    }
    write_list(y, list, all, Rule::kValue);
  }
  for (int32_t& count : y.source) count = std::max(count, 0);
  return y;
}

// The sum of a window's entries by key, over its count, at the stored keys of `coarse`.
template <class T>
std::vector<T> window_sum_plainly(const ConvGeometry& geometry, const Lists<T>& fine, const Lists<T>& coarse,
                                  const std::vector<int32_t>& count) {
  const PlainGeometry g(geometry);
  const auto slots = all_slots(fine);
  std::vector<T> out(coarse.values.size(), from_accum<T>(0));
  for (int64_t list = 0; list < coarse.batch * coarse.channels; ++list) {
    for (int64_t i = 0, n = coarse.stored(list); i < n; ++i) {
      const auto at = static_cast<size_t>(list * coarse.capacity + i);
      Accum<T> sum = 0;
      for (int64_t tap = 0; tap < g.taps; ++tap) {
        const int64_t in = g.input_of(coarse.key(list, i), tap);
        const int32_t slot = in < 0 ? -1 : slots[static_cast<size_t>(list)][static_cast<size_t>(in)];
        if (slot >= 0) sum += fine.value(list, slot);
      }
      out[at] = from_accum<T>(count.empty() ? sum : sum / static_cast<Accum<T>>(count[at]));
    }
  }
  return out;
}

// For each stored entry of `fine` the sum over the taps in row-major order of its windows' values over their counts.
template <class T>
std::vector<T> window_spread_plainly(const ConvGeometry& geometry, const Lists<T>& fine, const Lists<T>& coarse,
                                     const std::vector<int32_t>& count) {
  const PlainGeometry g(geometry);
  const auto slots = all_slots(coarse);
  std::vector<T> out(fine.values.size(), from_accum<T>(0));
  for (int64_t list = 0; list < fine.batch * fine.channels; ++list) {
    for (int64_t i = 0, n = fine.stored(list); i < n; ++i) {
      Accum<T> sum = 0;
      for (int64_t tap = 0; tap < g.taps; ++tap) {
        const int64_t window = g.output_of(fine.key(list, i), tap);
        const int32_t slot = window < 0 ? -1 : slots[static_cast<size_t>(list)][static_cast<size_t>(window)];
        if (slot < 0) continue;
        const auto divisor = count.empty() ? 1 : count[static_cast<size_t>(list * coarse.capacity + slot)];
        sum += coarse.value(list, slot) / static_cast<Accum<T>>(divisor);
      }
      out[static_cast<size_t>(list * fine.capacity + i)] = from_accum<T>(sum);
    }
  }
  return out;
}

// Entries of either list, added where both have one, cut by magnitude. `source` is the slot in x, `y_source` that in y.
template <class T>
Lists<T> add_plainly(const Lists<T>& x, const Lists<T>& y, int64_t out_capacity, std::vector<int32_t>* y_source) {
  const auto x_slots = all_slots(x), y_slots = all_slots(y);
  Lists<T> sum(x.batch, x.channels, out_capacity, x.volume);
  y_source->assign(sum.keys.size(), -1);
  for (size_t list = 0; list < x_slots.size(); ++list) {
    const auto at = static_cast<int64_t>(list);
    std::vector<Candidate<Accum<T>>> all;
    for (size_t v = 0; v < x_slots[list].size(); ++v) {
      const int32_t i = x_slots[list][v], j = y_slots[list][v];
      if (i < 0 && j < 0) continue;
      const Accum<T> value = i < 0 ? y.value(at, j) : j < 0 ? x.value(at, i) : x.value(at, i) + y.value(at, j);
      all.push_back({static_cast<int32_t>(v), value, i});
    }
    write_list(sum, at, all, Rule::kMagnitude);
    for (int64_t i = 0, n = sum.stored(at); i < n; ++i)
      (*y_source)[list * static_cast<size_t>(out_capacity) + static_cast<size_t>(i)] =
          y_slots[list][static_cast<size_t>(sum.key(at, i))];
  }
  return sum;
}

template <class T>
Lists<T> from_dense_plainly(const DenseSizes& n, const std::vector<T>& x, Rule rule) {
  Lists<T> y(n.batch, n.channels, n.capacity, n.volume);
  for (int64_t list = 0; list < n.batch * n.channels; ++list) {
    const int64_t b = list / n.channels, c = list % n.channels;
    std::vector<Candidate<Accum<T>>> all;
    for (int64_t v = 0; v < n.volume; ++v) {
      const Accum<T> value = to_accum(x[static_cast<size_t>((b * n.volume + v) * n.channels + c)]);
      if (is_candidate(value, value != 0, rule)) all.push_back({static_cast<int32_t>(v), value, -1});
    }
    write_list(y, list, all, rule);
  }
  return y;
}

// The order of sums over lists: see core/fixed_sum.h.
inline double sum_in_halves(const std::vector<double>& terms) {
  double sum = 0;
  for (size_t begin = 0; begin < terms.size(); begin += 8192) {
    double part[256] = {};
    for (size_t i = begin; i < std::min(begin + 8192, terms.size()); ++i) part[i % 256] += terms[i];
    for (int half = 128; half > 0; half /= 2)
      for (int p = 0; p < half; ++p) part[p] += part[p + half];
    sum += part[0];
  }
  return sum;
}

}  // namespace jaxsparse::test
