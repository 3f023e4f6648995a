// Sorted lists [batch][channels][capacity] as tests hold them, and random contents for them.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "core/dtype.h"

namespace jaxsparse::test {

template <class T>
struct Lists {
  int64_t batch = 0, channels = 0, capacity = 0, volume = 0;
  std::vector<int32_t> keys;
  std::vector<T> values;
  std::vector<int32_t> found;   // [batch][channels]
  std::vector<int32_t> source;  // where an operation reports it

  Lists() = default;
  // Outputs start as garbage: whatever a kernel does not write shows.
  Lists(int64_t b, int64_t c, int64_t k, int64_t v) : batch(b), channels(c), capacity(k), volume(v) {
    const auto n = static_cast<size_t>(b * c * k);
    keys.assign(n, 0x5a5a5a5a);
    values.resize(n);
    if (n) std::memset(static_cast<void*>(values.data()), 0x5a, n * sizeof(T));
    found.assign(static_cast<size_t>(b * c), 0x5a5a5a5a);
    source.assign(n, 0x5a5a5a5a);
  }
  int32_t key(int64_t list, int64_t i) const { return keys[static_cast<size_t>(list * capacity + i)]; }
  Accum<T> value(int64_t list, int64_t i) const { return to_accum(values[static_cast<size_t>(list * capacity + i)]); }
  // The definition: the longest prefix that ascends strictly within [0, volume).
  int64_t stored(int64_t list) const {
    int64_t n = 0;
    for (int64_t last = -1; n < capacity && key(list, n) > last && key(list, n) < volume; ++n) last = key(list, n);
    return n;
  }
};

enum class Values { kNormal, kIntegers, kSpecial, kSubnormal, kNegative };

template <class T>
T random_value(std::mt19937& random, Values kind) {
  using A = Accum<T>;
  using L = std::numeric_limits<A>;
  switch (kind) {
    case Values::kNormal:
      return from_accum<T>(A(std::normal_distribution<double>()(random)));
    case Values::kIntegers:
      return from_accum<T>(A(int(random() % 7) - 3));  // many ties and exact zeros
    case Values::kNegative:
      return from_accum<T>(-A(1 + random() % 9) / 4);
    case Values::kSubnormal:
      return from_accum<T>(A(int(random() % 2001) - 1000) * L::denorm_min() * (random() % 4 ? A(1) : A(1 << 20)));
    case Values::kSpecial: {
      const A special[] = {L::quiet_NaN(), -L::quiet_NaN(), L::infinity(), -L::infinity(), A(0), -A(0), L::max()};
      return random() % 8 ? from_accum<T>(A(int(random() % 7) - 3)) : from_accum<T>(special[random() % 7]);
    }
  }
  return from_accum<T>(0);
}

template <class T>
std::vector<T> random_values(std::mt19937& random, int64_t n, Values kind) {
  std::vector<T> out;
  for (int64_t i = 0; i < n; ++i) out.push_back(random_value<T>(random, kind));
  return out;
}

// A valid list holds about `density` of the volume, up to the capacity; unused slots hold the volume and 0.
template <class T>
Lists<T> random_lists(std::mt19937& random, int64_t batch, int64_t channels, int64_t capacity, int64_t volume,
                      double density, Values kind) {
  Lists<T> x(batch, channels, capacity, volume);
  x.values.assign(x.values.size(), from_accum<T>(0));
  x.keys.assign(x.keys.size(), static_cast<int32_t>(volume));
  std::uniform_real_distribution<double> uniform;
  for (int64_t list = 0; list < batch * channels; ++list) {
    int64_t n = 0;
    for (int64_t v = 0; v < volume && n < capacity; ++v) {
      if (uniform(random) >= density) continue;
      const auto at = static_cast<size_t>(list * capacity + n++);
      x.keys[at] = static_cast<int32_t>(v);
      x.values[at] = random_value<T>(random, kind);
    }
    x.found[static_cast<size_t>(list)] = static_cast<int32_t>(n);
  }
  return x;
}

// Breaks the order or the range of keys here and there, and puts NaN in unused slots.
template <class T>
void corrupt(std::mt19937& random, Lists<T>& x) {
  constexpr int32_t kWild[] = {-1, 0, std::numeric_limits<int32_t>::min(), std::numeric_limits<int32_t>::max()};
  for (size_t i = 0; i < x.keys.size(); ++i) {
    if (random() % 20 == 0) x.keys[i] = random() % 2 ? kWild[random() % 4] : static_cast<int32_t>(random());
    if (random() % 20 == 0 && i) x.keys[i] = x.keys[i - 1];
  }
  for (int64_t list = 0; list < x.batch * x.channels; ++list)
    for (int64_t i = x.stored(list); i < x.capacity; ++i)
      x.values[static_cast<size_t>(list * x.capacity + i)] = from_accum<T>(std::numeric_limits<Accum<T>>::quiet_NaN());
}

// Equal bits; any NaN equals any NaN.
template <class T>
bool same(T a, T b) {
  const auto x = to_accum(a), y = to_accum(b);
  return (x != x && y != y) || std::memcmp(&a, &b, sizeof a) == 0;
}

}  // namespace jaxsparse::test
