// From tiles of responses to sorted, capacity-bounded output lists, by many workers at once.
//
// Tiles are contiguous ranges of keys, claimed in ascending order. A worker computes a tile, counts its
// candidates, takes its place in the output from the tile before (a chain of tickets: the only wait is
// for the count of one earlier tile) and writes. When a channel overflows, its K slots become the
// reservoir of a streaming selection: later candidates must beat the weakest kept response, wait in the
// worker's side list and are merged when that fills up. Which of them are seen when depends on timing;
// what is kept in the end does not.
#pragma once

#include <atomic>
#include <cstdint>
#include <new>

#include "../core/arena.h"
#include "../core/parallel.h"
#include "../core/select.h"
#include "lanes.h"

namespace jaxsparse {

inline constexpr int64_t kSideSlack = 1024;

// One batch element and block of output channels.
template <class A>
struct OutputJob {
  int32_t* keys;     // [lanes][capacity]
  A* values;         // [lanes][capacity]
  int32_t* found;    // [lanes] result: candidates before the cut
  int64_t capacity;
  int channels;      // lanes in use
  ResponseRule<A> rule;

  std::atomic<int64_t> ticket;
  int64_t offset[kMaxLanes];
  struct Lane {
    std::atomic<int64_t> written;
    std::atomic<bool> busy;
    Bound<A> bound;
  } lane[kMaxLanes];

  void start() {
    new (&ticket) std::atomic<int64_t>(0);
    for (int l = 0; l < kMaxLanes; ++l) {
      offset[l] = 0;
      new (&lane[l].written) std::atomic<int64_t>(0);
      new (&lane[l].busy) std::atomic<bool>(false);
      lane[l].bound = Bound<A>{};
    }
  }
};

// A worker's part: its side lists and what it knows of the bounds.
template <class A>
class Committer {
 public:
  // Side lists of all workers together: `capacity` entries a lane and some slack for each worker.
  static int64_t side_entries(int64_t capacity) { return capacity + kMaxWorkers * kSideSlack; }

  void start(int32_t* side_keys, A* side_values, int64_t capacity, int lanes, int64_t worker, int64_t workers) {
    const int64_t each = capacity / workers + kSideSlack;
    state_.side_capacity = each;
    for (int l = 0; l < lanes; ++l) {
      state_.side_key[l] = side_keys + (worker * lanes + l) * each;
      state_.side_value[l] = side_values + (worker * lanes + l) * each;
    }
    worker_ = static_cast<int>(worker);
  }

  // Writes the candidates of tile number `tile` of the job.
  void commit(OutputJob<A>& job, const LaneOps<A>& ops, int64_t tile, const A* cells, const CellList& list) {
    if (job_ != &job) {
      flush();
      job_ = &job;
      for (int l = 0; l < kMaxLanes; ++l) forget(l);
    }
    int64_t counts[kMaxLanes] = {};
    if (list.n) ops.count(cells, list, job.rule, counts);
    spin_until([&] { return job.ticket.load(std::memory_order_acquire) == tile; });
    bool overflow = false;
    int64_t room[kMaxLanes];
    for (int l = 0; l < job.channels; ++l) {
      const int64_t at = job.offset[l];
      job.offset[l] = at + counts[l];
      room[l] = std::clamp<int64_t>(job.capacity - at, 0, counts[l]);
      overflow |= counts[l] > room[l];
      state_.key[l] = job.keys + l * job.capacity + at;
      state_.value[l] = job.values + l * job.capacity + at;
    }
    job.ticket.store(tile + 1, std::memory_order_release);
    if (!list.n) return;
    if (!overflow) {
      ops.emit_all(cells, list, job.rule, state_);
      for (int l = 0; l < job.channels; ++l) publish(l, counts[l]);
      return;
    }
    for (int l = 0; l < job.channels; ++l) {
      state_.room[l] = room[l];
      if (counts[l] > room[l]) refresh(l);
    }
    for (int64_t from = 0; from < list.n;) {
      from = ops.emit_bounded(cells, list, from, job.rule, state_);
      for (int l = 0; l < job.channels; ++l) {
        publish(l, room[l] - state_.room[l]);
        room[l] = state_.room[l];
      }
      for (int l = 0; l < job.channels; ++l)
        if (state_.side_n[l] == state_.side_capacity) merge(l);
    }
  }

  // Merges what still waits; to be called when the worker is done.
  void flush() {
    if (!job_) return;
    for (int i = 0; i < job_->channels; ++i) {
      const int l = (i + worker_) % job_->channels;  // workers start at different lanes
      if (state_.side_n[l]) merge(l);
    }
  }

 private:
  void publish(int l, int64_t count) {
    if (count) job_->lane[l].written.fetch_add(count, std::memory_order_release);
  }
  void forget(int l) {
    const Bound<A> open;
    set_bound(l, open);
  }
  void set_bound(int l, const Bound<A>& bound) {
    state_.bound[l] = bound.score;
    state_.bound_rank[l] = bound.rank;
    state_.bound_key[l] = bound.key;
  }
  // An old bound is weaker, never wrong, so nobody waits for a new one.
  void refresh(int l) {
    auto& lane = job_->lane[l];
    if (lane.busy.exchange(true, std::memory_order_acquire)) return;
    set_bound(l, lane.bound);
    lane.busy.store(false, std::memory_order_release);
  }
  void merge(int l) {
    auto& lane = job_->lane[l];
    spin_until([&] { return !lane.busy.exchange(true, std::memory_order_acquire); });
    spin_until([&] { return lane.written.load(std::memory_order_acquire) == job_->capacity; });
    Responses<A> kept{job_->keys + l * job_->capacity, job_->values + l * job_->capacity, nullptr, job_->capacity};
    Responses<A> side{state_.side_key[l], state_.side_value[l], nullptr, state_.side_n[l]};
    lane.bound = keep_strongest(kept, side, job_->capacity, job_->rule.rule);
    set_bound(l, lane.bound);
    lane.busy.store(false, std::memory_order_release);
    state_.side_n[l] = 0;
  }

  EmitState<A> state_{};
  OutputJob<A>* job_ = nullptr;
  int worker_ = 0;
};

}  // namespace jaxsparse
