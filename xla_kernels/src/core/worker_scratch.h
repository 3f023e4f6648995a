// Lists shared out to workers, each with scratch memory of its own.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <vector>

#include "arena.h"
#include "parallel.h"

namespace jaxsparse {

// Scratch for as many workers as fit into 32 MiB (one at least), each laid out by take(arena).
template <class Scratch, class Take>
std::vector<Scratch> share_workspace(void* workspace, int64_t* bytes, Take&& take) {
  Arena one;
  take(one);
  const int64_t workers = std::clamp<int64_t>((int64_t{32} << 20) / one.bytes(), 1, kMaxWorkers);
  Arena arena(workspace);
  std::vector<Scratch> out;
  for (int64_t w = 0; w < workers; ++w) out.push_back(take(arena));
  *bytes = arena.bytes();
  return out;
}

// Runs body(scratch, list) for every list, with no more workers than there is scratch.
template <class Pool, class Scratch, class Body>
void for_each_list(Pool& pool, int64_t lists, std::vector<Scratch>& scratch, Body&& body) {
  std::atomic<int64_t> next{0};
  run_workers(pool, std::min<int64_t>(worker_count(pool, lists), static_cast<int64_t>(scratch.size())),
              [&](int worker) {
                for (int64_t list; (list = next.fetch_add(1, std::memory_order_relaxed)) < lists;)
                  body(scratch[static_cast<size_t>(worker)], list);
              });
}

}  // namespace jaxsparse
