// What is to become of the responses of one batch element and block of output channels.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <limits>
#include <new>

#include "../core/select.h"
#include "lanes.h"

namespace jaxsparse {

// One batch element and block of output channels.
template <class A>
struct OutputJob {
  int32_t* keys;  // [lanes][capacity]
  A* values;      // [lanes][capacity]
  int64_t capacity;
  int channels;  // lanes in use
  ResponseRule<A> rule;
  A floor[kMaxLanes];

  std::atomic<int64_t> ticket;
  std::atomic<bool> overflows;  // more responses came than there is room for: a hint, nothing depends on it
  int64_t found[kMaxLanes];     // candidates so far
  int64_t passed[kMaxLanes];    // those at or above the floor
  struct Lane {
    std::atomic<int64_t> written;
    std::atomic<bool> busy;
    Bound<A> bound;
  } lane[kMaxLanes];

  void open() {
    new (&overflows) std::atomic<bool>(false);
    for (A& f : floor) f = -std::numeric_limits<A>::infinity();
    rule.floor = floor;
  }
  void start() {
    new (&ticket) std::atomic<int64_t>(0);
    overflows.store(false, std::memory_order_relaxed);
    for (int l = 0; l < kMaxLanes; ++l) {
      found[l] = passed[l] = 0;
      new (&lane[l].written) std::atomic<int64_t>(0);
      new (&lane[l].busy) std::atomic<bool>(false);
      lane[l].bound = Bound<A>{};
    }
  }
  // Then most cells are dropped as they are counted, and few responses come to be compared.
  bool has_floors() const {
    return std::any_of(floor, floor + channels, [](A f) { return f > -std::numeric_limits<A>::infinity(); });
  }
  int64_t stored(int l) const { return std::min(found[l], capacity); }
  Responses<A> kept(int64_t l) const { return {keys + l * capacity, values + l * capacity, nullptr, capacity}; }

  // Drops floors that cut too much; true if there were any, and the job must run again.
  bool floors_failed() {
    bool failed = false;
    for (int l = 0; l < channels; ++l) {
      if (passed[l] >= stored(l)) continue;
      floor[l] = -std::numeric_limits<A>::infinity();
      failed = true;
    }
    return failed;
  }
};

template <class A>
void clear_packed(A* cells, const CellList& list, const LaneOps<A>& ops) {
  std::memset(cells, 0, sizeof(A) * static_cast<size_t>(list.n * ops.lanes));
}

template <class A>
void clear_packed(Planes<A>& planes, int channels) {
  for (int l = 0; l < channels; ++l) std::memset(planes.plane(l), 0, sizeof(A) * static_cast<size_t>(planes.n[l]));
}

}  // namespace jaxsparse
