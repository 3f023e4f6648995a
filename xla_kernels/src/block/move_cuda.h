// The workspace of moving blocks on the GPU.
#pragma once

#include "../core/arena.h"
#include "../cuda/chunks.h"

namespace jaxsparse::block {

// Every block of threads looks for the end of a list of up to so many rows; of a longer one it is found before.
inline constexpr int64_t kRowsOfBlock = 8 * cuda::kListThreads;

struct ListScratch {
  int32_t* unused;  // one number
  int64_t bytes;

  explicit ListScratch(void* workspace) {
    Arena arena(workspace);
    unused = arena.take<int32_t>(1);
    bytes = arena.bytes();
  }
};

}  // namespace jaxsparse::block
