// The workspace of reduce_mask on the GPU: of a fixed size, for batches may be symbolic.
#pragma once

#include <algorithm>

#include "../core/arena.h"
#include "../cuda/chunks.h"
#include "../cuda/select_scratch.h"

namespace jaxsparse::block {

// How the responses of all blocks of a batch are shared out.
struct ResponseChunks {
  static constexpr int64_t kMost = 1024;  // as many as a block has threads

  int64_t responses, count, size;

  explicit ResponseChunks(int64_t n)
      : responses(n),
        count(n <= cuda::kWholeList ? 1 : std::min(kMost, (n + cuda::kChunk - 1) / cuda::kChunk)),
        size(std::max<int64_t>(1, (n + count - 1) / count)) {}

  JAXSPARSE_ANYWHERE int64_t begin(int64_t chunk) const { return chunk * size < responses ? chunk * size : responses; }
  JAXSPARSE_ANYWHERE int64_t end(int64_t chunk) const { return begin(chunk + 1); }
};

template <class A>
struct ReduceScratch {
  int32_t *counts, *above,
      *ties;  // by chunk: active blocks; those above the threshold of the selection, and equal ones
  cuda::SelectScratch<A> select;
  int64_t bytes;

  explicit ReduceScratch(void* workspace) {
    Arena arena(workspace);
    for (int32_t** numbers : {&counts, &above, &ties}) *numbers = arena.take<int32_t>(ResponseChunks::kMost);
    select = cuda::SelectScratch<A>(arena, 1, cuda::kSelectPasses<A>);
    bytes = arena.bytes();
  }
};

}  // namespace jaxsparse::block
