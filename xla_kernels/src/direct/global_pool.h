// Pooling of a whole list into one number.
#pragma once

#include <cstdint>

#include "../core/fixed_sum.h"
#include "entrywise.h"

namespace jaxsparse {

// The maximum as a list of at most one entry, key 0; source is the slot that has it. NaN is the maximum, of equal ones
// the first counts.
template <class T, class Pool>
void global_max_pool(Pool& pool, const ListSizes& n, int64_t volume, const int32_t* x_keys, const T* x_values,
                     int32_t* keys, T* values, int32_t* found, int32_t* source) {
  parallel_for(pool, n.lists(), n.grain(), [&](int64_t list, int) {
    const T* x = x_values + list * n.capacity;
    const int64_t stored = stored_entries(x_keys + list * n.capacity, n.capacity, volume);
    int64_t best = 0;
    for (int64_t i = 1; i < stored; ++i) {
      const auto value = to_accum(x[i]), highest = to_accum(x[best]);
      if (value > highest || (value != value && highest == highest)) best = i;
    }
    keys[list] = stored ? 0 : 1;
    values[list] = stored ? x[best] : from_accum<T>(0);
    found[list] = stored ? 1 : 0;
    source[list] = stored ? static_cast<int32_t>(best) : -1;
  });
}

// out[list] = mean of the stored values, 0 where there is none.
template <class T, class Pool>
void global_avg_pool(Pool& pool, const ListSizes& n, int64_t volume, const int32_t* keys, const T* values, T* out) {
  using A = Accum<T>;
  parallel_for(pool, n.lists(), n.grain(), [&](int64_t list, int) {
    const T* x = values + list * n.capacity;
    const int64_t stored = stored_entries(keys + list * n.capacity, n.capacity, volume);
    const double sum = fixed_sum(stored, [&](int64_t i) { return static_cast<double>(to_accum(x[i])); });
    out[list] = from_accum<T>(stored ? static_cast<A>(sum / static_cast<double>(stored)) : A{0});
  });
}

// The adjoint: every stored entry gets its list's cotangent, divided by the number of entries.
template <class T, class Pool>
void global_avg_pool_grad(Pool& pool, const ListSizes& n, int64_t volume, const int32_t* keys, const T* g, T* out) {
  using A = Accum<T>;
  parallel_for(pool, n.lists(), n.grain(), [&](int64_t list, int) {
    T* to = out + list * n.capacity;
    const int64_t stored = stored_entries(keys + list * n.capacity, n.capacity, volume);
    const T each = from_accum<T>(stored ? to_accum(g[list]) / static_cast<A>(stored) : A{0});
    std::fill(to, to + stored, each);
    std::fill(to + stored, to + n.capacity, from_accum<T>(0));
  });
}

}  // namespace jaxsparse
