// The sum of two tensors: their lists merged by key.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>

#include "../core/dtype.h"
#include "../core/keys.h"
#include "../core/select.h"
#include "../core/worker_scratch.h"

namespace jaxsparse {

struct MergeSizes {
  int64_t batch, channels, x_capacity, y_capacity, out_capacity;
};

// A worker's scratch for one list: the whole union.
template <class A>
struct MergeScratch {
  int32_t* key;
  A* value;
};

template <class T>
std::vector<MergeScratch<Accum<T>>> lay_out_merge(const MergeSizes& n, void* workspace, int64_t* bytes) {
  using A = Accum<T>;
  return share_workspace<MergeScratch<A>>(workspace, bytes, [&](Arena& arena) {
    MergeScratch<A> s{};
    s.key = arena.take<int32_t>(n.x_capacity + n.y_capacity);
    s.value = arena.take<A>(n.x_capacity + n.y_capacity);
    return s;
  });
}

template <class T>
int64_t merge_bytes(T, const MergeSizes& n) {
  int64_t bytes;
  lay_out_merge<T>(n, nullptr, &bytes);
  return bytes;
}

// The stored entries of a list, taken in order.
template <class T>
struct MergeInput {
  const int32_t* key;
  const T* value;
  int64_t n;
  int64_t at = 0;

  int32_t next() const { return at < n ? key[at] : std::numeric_limits<int32_t>::max(); }
  bool has(int32_t wanted) const { return at < n && key[at] == wanted; }
  // The slot of `wanted`, -1 if it is not stored; asked with ascending keys.
  int32_t slot_of(int32_t wanted) {
    while (at < n && key[at] < wanted) ++at;
    return has(wanted) ? static_cast<int32_t>(at) : -1;
  }
};

// x + y where either is stored; what does not fit is cut by magnitude. The sources say which slots an entry came from.
template <class T, class Pool>
void add(Pool& pool, const MergeSizes& n, int64_t volume, const int32_t* x_keys, const T* x_values,
         const int32_t* y_keys, const T* y_values, int32_t* keys, T* values, int32_t* found, int32_t* x_source,
         int32_t* y_source, void* workspace) {
  using A = Accum<T>;
  int64_t bytes;
  auto scratch = lay_out_merge<T>(n, workspace, &bytes);
  for_each_list(pool, n.batch * n.channels, scratch, [&](MergeScratch<A>& s, int64_t list) {
    const auto input = [&](const int32_t* key, const T* value, int64_t capacity) {
      return MergeInput<T>{key + list * capacity, value + list * capacity,
                           stored_entries(key + list * capacity, capacity, volume)};
    };
    auto x = input(x_keys, x_values, n.x_capacity), y = input(y_keys, y_values, n.y_capacity);
    Responses<A> sum{s.key, s.value, nullptr, 0}, none{nullptr, nullptr, nullptr, 0};
    while (x.at < x.n || y.at < y.n) {
      const int32_t key = std::min(x.next(), y.next());
      const bool in_x = x.has(key), in_y = y.has(key);
      const A a = in_x ? to_accum(x.value[x.at++]) : A{0}, b = in_y ? to_accum(y.value[y.at++]) : A{0};
      s.key[sum.n] = key;
      s.value[sum.n++] = in_x && in_y ? a + b : in_x ? a : b;
    }
    found[list] = static_cast<int32_t>(sum.n);
    if (sum.n > n.out_capacity) keep_strongest(sum, none, n.out_capacity, Rule::kMagnitude);
    x.at = y.at = 0;
    for (int64_t i = 0, at = list * n.out_capacity; i < n.out_capacity; ++i, ++at) {
      const bool used = i < sum.n;
      keys[at] = used ? s.key[i] : static_cast<int32_t>(volume);
      values[at] = from_accum<T>(used ? s.value[i] : A{0});
      x_source[at] = used ? x.slot_of(s.key[i]) : -1;
      y_source[at] = used ? y.slot_of(s.key[i]) : -1;
    }
  });
}

}  // namespace jaxsparse
