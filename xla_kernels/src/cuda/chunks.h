// How work is cut up: lists into chunks, one a block; the batch into stretches that the workspace holds. Plain C++, for
// the size of a workspace is asked for where there is no CUDA, too.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <stdexcept>

#include "../core/portable.h"

namespace jaxsparse::cuda {

// Threads of a block in kernels that go over lists.
inline constexpr int kListThreads = 256;
// A list up to this long is one block's work: a launch less, and most lists of a training step.
inline constexpr int64_t kWholeList = 8192;
inline constexpr int64_t kChunk = 2048;

struct Chunk {
  int64_t list, begin, end;  // slots [begin, end) of a list
};

// `lists` lists of `slots` slots each.
struct Chunks {
  int64_t lists, slots, size, per_list;

  Chunks(int64_t lists_, int64_t slots_, int64_t size_)
      : lists(lists_),
        slots(slots_),
        size(std::max<int64_t>(1, std::min(size_, slots_))),
        per_list((slots_ + size - 1) / size) {}
  Chunks(int64_t lists_, int64_t slots_) : Chunks(lists_, slots_, slots_ <= kWholeList ? slots_ : kChunk) {}

  int64_t blocks() const { return lists * per_list; }
  bool whole() const { return per_list == 1; }
  JAXSPARSE_ANYWHERE Chunk of_block(int64_t block) const {
    const int64_t list = block / per_list, begin = block % per_list * size;
    return {list, begin, begin + size < slots ? begin + size : slots};
  }
};

// No workspace is larger than this unless one batch element needs more.
inline constexpr int64_t kWorkspaceBound = int64_t{256} << 20;
// The same where the batch size is not known yet, and most of it may be for nothing.
inline constexpr int64_t kUnknownBatchBound = int64_t{32} << 20;

// The most batch elements (1 to `batch`) whose workspace, bytes_of(elements), is at most `bytes`; 0 if one needs more.
template <class BytesOf>
int64_t elements_within(int64_t batch, int64_t bytes, BytesOf&& bytes_of) {
  int64_t fits = 0, over = 1;  // by doubling, for the sizes of an immense batch would overflow
  while (over <= batch && bytes_of(over) <= bytes) {
    fits = over;
    over *= 2;
  }
  over = std::min(over, batch + 1);
  while (over - fits > 1) {
    const int64_t middle = fits + (over - fits) / 2;
    (bytes_of(middle) <= bytes ? fits : over) = middle;
  }
  return fits;
}

// The size of the workspace for a batch: what it needs, up to the bound.
template <class BytesOf>
int64_t workspace_of_batch(int64_t batch, BytesOf&& bytes_of) {
  return bytes_of(std::max<int64_t>(1, elements_within(batch, kWorkspaceBound, bytes_of)));
}
template <class BytesOf>
int64_t workspace_of_unknown_batch(BytesOf&& bytes_of) {
  constexpr int64_t kAnyBatch = std::numeric_limits<int32_t>::max();
  return bytes_of(std::max<int64_t>(1, elements_within(kAnyBatch, kUnknownBatchBound, bytes_of)));
}

// Runs body(first, elements) for stretches of the batch that a workspace of `bytes` holds.
template <class BytesOf, class Body>
void for_each_stretch(int64_t batch, int64_t bytes, BytesOf&& bytes_of, Body&& body) {
  if (batch == 0) return;
  const int64_t most = elements_within(batch, bytes, bytes_of);
  if (most == 0) throw std::invalid_argument("the workspace is too small");
  for (int64_t first = 0; first < batch; first += most) body(first, std::min(most, batch - first));
}

}  // namespace jaxsparse::cuda
