// Operations on the entries of each list alone: relu, scaling by a mask, the take / put_add pair that carries
// values and gradients along recorded slots, and the sum over a channel.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "../core/arena.h"
#include "../core/dtype.h"
#include "../core/fixed_sum.h"
#include "../core/keys.h"
#include "../core/parallel.h"

namespace jaxsparse {

struct ListSizes {
  int64_t batch, channels, capacity;
  int64_t lists() const { return batch * channels; }
  int64_t grain() const { return std::max<int64_t>(1, 16384 / capacity); }
};

// Keeps what is above 0 or NaN; source[i] is the slot that entry i came from, -1 in unused slots.
template <class T, class Pool>
void relu(Pool& pool, const ListSizes& n, int64_t volume, const int32_t* x_keys, const T* x_values, int32_t* keys,
          T* values, int32_t* found, int32_t* source) {
  parallel_for(pool, n.lists(), n.grain(), [&](int64_t list, int) {
    const int64_t base = list * n.capacity;
    const int64_t stored = stored_entries(x_keys + base, n.capacity, volume);
    int64_t kept = 0;
    for (int64_t i = 0; i < stored; ++i) {
      if (to_accum(x_values[base + i]) <= 0) continue;
      keys[base + kept] = x_keys[base + i];
      values[base + kept] = x_values[base + i];
      source[base + kept++] = static_cast<int32_t>(i);
    }
    found[list] = static_cast<int32_t>(kept);
    for (int64_t i = kept; i < n.capacity; ++i) {
      keys[base + i] = static_cast<int32_t>(volume);
      values[base + i] = from_accum<T>(0);
      source[base + i] = -1;
    }
  });
}

// out[i] = values[source[i]], 0 where the source is no slot.
template <class T, class Pool>
void take(Pool& pool, const ListSizes& n, int64_t out_capacity, const T* values, const int32_t* source, T* out) {
  parallel_for(pool, n.lists(), n.grain(), [&](int64_t list, int) {
    const T* from = values + list * n.capacity;
    for (int64_t i = list * out_capacity; i < (list + 1) * out_capacity; ++i)
      out[i] = source[i] >= 0 && source[i] < n.capacity ? from[source[i]] : from_accum<T>(0);
  });
}

template <class T>
int64_t put_add_bytes(int64_t capacity) {
  Arena arena;
  if constexpr (!std::is_same_v<T, Accum<T>>)
    for (int w = 0; w < kMaxWorkers; ++w) arena.take<Accum<T>>(capacity);
  return arena.bytes();
}

// The adjoint of take: out[source[i]] += values[i], i ascending.
template <class T, class Pool>
void put_add(Pool& pool, const ListSizes& n, int64_t in_capacity, const T* values, const int32_t* source, T* out,
             void* workspace) {
  using A = Accum<T>;
  Arena arena(workspace);
  A* scratch[kMaxWorkers] = {};
  if constexpr (!std::is_same_v<T, A>)
    for (auto& s : scratch) s = arena.take<A>(n.capacity);
  parallel_for(pool, n.lists(), n.grain(), [&](int64_t list, int worker) {
    A* sums;
    if constexpr (std::is_same_v<T, A>)
      sums = out + list * n.capacity;
    else
      sums = scratch[worker];
    std::fill(sums, sums + n.capacity, A{0});
    for (int64_t i = list * in_capacity; i < (list + 1) * in_capacity; ++i)
      if (source[i] >= 0 && source[i] < n.capacity) sums[source[i]] += to_accum(values[i]);
    if constexpr (!std::is_same_v<T, A>)
      for (int64_t i = 0; i < n.capacity; ++i) out[list * n.capacity + i] = from_accum<T>(sums[i]);
  });
}

// out = values * (mask ? factors[0] : factors[1]) at stored entries, 0 in unused slots. A factor of 0 makes a 0 of
// anything.
template <class T, class Pool>
void masked_scale(Pool& pool, const ListSizes& n, int64_t volume, const int32_t* keys, const T* values,
                  const bool* mask, const Accum<T>* factors, T* out) {
  using A = Accum<T>;
  parallel_for(pool, n.lists(), n.grain(), [&](int64_t list, int) {
    const int64_t base = list * n.capacity;
    const int64_t stored = stored_entries(keys + base, n.capacity, volume);
    for (int64_t i = base; i < base + stored; ++i) {
      const A factor = factors[mask[i] ? 0 : 1];
      out[i] = from_accum<T>(factor == 0 ? A{0} : to_accum(values[i]) * factor);
    }
    std::fill(out + base + stored, out + base + n.capacity, from_accum<T>(0));
  });
}

// out[channel] = sum over the batch, ascending, of the sums over stored entries, in float64 and in the order of
// fixed_sum.
template <class T, class Pool>
void channel_sum(Pool& pool, const ListSizes& n, int64_t volume, const int32_t* keys, const T* values, T* out) {
  std::vector<double> sums(static_cast<size_t>(n.lists()));
  parallel_for(pool, n.lists(), n.grain(), [&](int64_t list, int) {
    const int64_t base = list * n.capacity, stored = stored_entries(keys + base, n.capacity, volume);
    sums[static_cast<size_t>(list)] =
        fixed_sum(stored, [&](int64_t i) { return static_cast<double>(to_accum(values[base + i])); });
  });
  for (int64_t c = 0; c < n.channels; ++c) {
    double total = 0;
    for (int64_t b = 0; b < n.batch; ++b) total += sums[static_cast<size_t>(b * n.channels + c)];
    out[c] = from_accum<T>(static_cast<Accum<T>>(total));
  }
}

}  // namespace jaxsparse
