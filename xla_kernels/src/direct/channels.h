// Numbers that all entries of a channel share, over the whole batch: sums of products of entries, and affine maps.
#pragma once

#include <cstdint>
#include <vector>

#include "../core/fixed_sum.h"
#include "entrywise.h"

namespace jaxsparse {

// A factor of the sum: a value an entry, less a shift a channel. Null values: 1; null shift: 0.
template <class T>
struct ChannelTerm {
  const T* values;
  const T* shift;

  T of(int64_t at, T shift_of_channel) const { return values ? values[at] - shift_of_channel : T{1}; }
  T shift_of(int64_t channel) const { return values && shift ? shift[channel] : T{0}; }
};

// out[channel] = sum over the batch and the stored entries of a * b, in float64. Every list is summed by itself, then
// the lists are added by batch element: threads change nothing.
template <class T, class Pool>
void channel_dot(Pool& pool, const ListSizes& n, int64_t volume, const int32_t* keys, const ChannelTerm<T>& a,
                 const ChannelTerm<T>& b, T* out) {
  std::vector<double> sums(static_cast<size_t>(n.lists()));
  parallel_for(pool, n.lists(), n.grain(), [&](int64_t list, int) {
    const int64_t base = list * n.capacity, channel = list % n.channels;
    const int64_t stored = stored_entries(keys + base, n.capacity, volume);
    const T a_shift = a.shift_of(channel), b_shift = b.shift_of(channel);
    sums[static_cast<size_t>(list)] = fixed_sum(stored, [&](int64_t i) {
      return static_cast<double>(a.of(base + i, a_shift)) * static_cast<double>(b.of(base + i, b_shift));
    });
  });
  for (int64_t c = 0; c < n.channels; ++c) {
    double total = 0;
    for (int64_t i = 0; i < n.batch; ++i) total += sums[static_cast<size_t>(i * n.channels + c)];
    out[c] = static_cast<T>(total);
  }
}

// out = x * scale + offset at stored entries, 0 in unused slots. `scale` and `offset` have one number a channel; a null
// offset is 0.
template <class T, class Pool>
void channel_affine(Pool& pool, const ListSizes& n, int64_t volume, const int32_t* keys, const ChannelTerm<T>& x,
                    const T* scale, const T* offset, T* out) {
  parallel_for(pool, n.lists(), n.grain(), [&](int64_t list, int) {
    const int64_t base = list * n.capacity, channel = list % n.channels;
    const int64_t stored = stored_entries(keys + base, n.capacity, volume);
    const T shift = x.shift_of(channel), factor = scale[channel], more = offset ? offset[channel] : T{0};
    for (int64_t i = base; i < base + stored; ++i) out[i] = x.of(i, shift) * factor + more;
    std::fill(out + base + stored, out + base + n.capacity, T{0});
  });
}

}  // namespace jaxsparse
