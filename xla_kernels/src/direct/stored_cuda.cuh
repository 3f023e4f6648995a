// Going over the slots of lists, where it matters which entries are stored.
#pragma once

#include "../cuda/lists.h"
#include "stored_cuda.h"

namespace jaxsparse::cuda {

// Runs body(chunks, stored, first slot) for stretches of the batch.
template <class Body>
void for_each_stored_stretch(const Device& device, const ListSizes& all, int64_t volume, const int32_t* keys,
                             Body&& body) {
  const auto of = [&](int64_t elements) { return ListSizes{elements, all.channels, all.capacity}; };
  const auto bytes_of = [&](int64_t elements) { return StoredScratch(of(elements), nullptr).bytes; };
  for_each_stretch(all.batch, device.workspace.bytes, bytes_of, [&](int64_t first, int64_t elements) {
    const ListSizes n = of(elements);
    const Chunks chunks(n.lists(), n.capacity);
    const int64_t at = first * n.channels * n.capacity;
    const StoredScratch scratch(n, device.workspace.data);
    body(chunks, find_stored(device.stream, chunks, volume, keys + at, scratch.unused), at);
  });
}

}  // namespace jaxsparse::cuda
