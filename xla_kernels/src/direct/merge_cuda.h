// The workspace of the sum of two tensors on the GPU.
#pragma once

#include <limits>

#include "../core/arena.h"
#include "../cuda/chunks.h"
#include "../cuda/select_scratch.h"
#include "merge.h"

namespace jaxsparse {

// The entries of the sum, before any is cut, with the slots of x and y that they came from.
template <class A>
struct UnionLists {
  int32_t* key = nullptr;  // null: nothing can be cut, the entries go to the results at once
  A* value = nullptr;
  int32_t *x_source = nullptr, *y_source = nullptr;
};

template <class A>
struct MergeScratchCuda {
  int32_t *x_unused, *y_unused;  // [lists]
  int32_t *x_stored, *y_stored;  // [lists]
  int32_t* pairs;                // [lists][x_capacity]: entries of x that y has, too, before this one in its chunk
  int32_t* pairs_of_chunks;      // [lists][chunks of x]: before the chunk
  int32_t* pairs_of_lists;       // [lists]
  UnionLists<A> all;             // [lists][x_capacity + y_capacity]
  cuda::ListSelection<A> selection;
  int64_t bytes;

  static cuda::Chunks chunks_of_union(const MergeSizes& n) {
    return {n.batch * n.channels, n.x_capacity + n.y_capacity};
  }

  MergeScratchCuda(const MergeSizes& n, int64_t volume, void* workspace) {
    Arena arena(workspace);
    const int64_t lists = n.batch * n.channels;
    for (int32_t** counts : {&x_unused, &y_unused, &x_stored, &y_stored, &pairs_of_lists})
      *counts = arena.take<int32_t>(lists);
    pairs = arena.take<int32_t>(lists * n.x_capacity);
    pairs_of_chunks = arena.take<int32_t>(cuda::Chunks(lists, n.x_capacity).blocks());
    if (n.out_capacity < std::min(n.x_capacity + n.y_capacity, volume)) {
      const cuda::Chunks chunks = chunks_of_union(n);
      const int64_t slots = chunks.lists * chunks.slots;
      all.key = arena.take<int32_t>(slots);
      all.value = arena.take<A>(slots);
      all.x_source = arena.take<int32_t>(slots);
      all.y_source = arena.take<int32_t>(slots);
      selection = cuda::ListSelection<A>(arena, chunks);
    }
    bytes = arena.bytes();
  }
};

}  // namespace jaxsparse
