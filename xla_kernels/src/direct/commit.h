// From tiles of responses to sorted, capacity-bounded output lists, by many workers at once.
//
// Tiles are contiguous ranges of keys, claimed in ascending order. A worker computes a tile, counts its
// candidates, takes its place in the output from the tile before (a chain of tickets: the only wait is
// for the count of one earlier tile) and writes. When a channel overflows, its K slots become the
// reservoir of a streaming selection: later candidates must beat the weakest kept response, wait in the
// worker's side list and are merged when that fills up. Which of them are seen when depends on timing;
// what is kept in the end does not.
//
// A floor, guessed from a sample of tiles, spares most of that work: scores below it are counted, not
// kept. It is right if the K strongest pass it, which the counts tell; else the job runs again without.
#pragma once

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <limits>
#include <new>
#include <vector>

#include "../core/arena.h"
#include "../core/parallel.h"
#include "../core/select.h"
#include "lanes.h"

namespace jaxsparse {

inline constexpr int64_t kSideSlack = 1024;

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
  int64_t found[kMaxLanes];   // candidates so far
  int64_t passed[kMaxLanes];  // those at or above the floor
  struct Lane {
    std::atomic<int64_t> written;
    std::atomic<bool> busy;
    Bound<A> bound;
  } lane[kMaxLanes];

  void open() {
    for (A& f : floor) f = -std::numeric_limits<A>::infinity();
    rule.floor = floor;
  }
  void start() {
    new (&ticket) std::atomic<int64_t>(0);
    for (int l = 0; l < kMaxLanes; ++l) {
      found[l] = passed[l] = 0;
      new (&lane[l].written) std::atomic<int64_t>(0);
      new (&lane[l].busy) std::atomic<bool>(false);
      lane[l].bound = Bound<A>{};
    }
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

// Guesses the floors of a job: about `kSampleTiles` tiles, spread over the volume, stand for all.
inline constexpr int64_t kSampleTiles = 32;
inline constexpr int64_t kSampleRoom = 4096;

template <class A>
class FloorGuess {
 public:
  // Worth it where a tile is a small part of the work.
  static bool pays(int64_t tiles) { return tiles >= 4 * kSampleTiles; }
  // The i-th sampled tile: one out of each of kSampleTiles equal ranges, at a place that no pattern in
  // the data follows.
  static int64_t tile(int64_t i, int64_t tiles) {
    const int64_t begin = i * tiles / kSampleTiles, width = (i + 1) * tiles / kSampleTiles - begin;
    return begin + static_cast<int64_t>((static_cast<uint64_t>(i) * 0x9e3779b97f4a7c15ull) >> 33) % width;
  }

  // `ranks` has room for kSampleRoom a lane: all that the sampled tiles of a job can give.
  explicit FloorGuess(Rank<A>* ranks) : ranks_(ranks) {}

  void add(const OutputJob<A>& job, const LaneOps<A>& ops, A* cells, CellList list) {
    constexpr int64_t kShare = kSampleRoom / kSampleTiles;
    int64_t counts[kMaxLanes] = {}, passed[kMaxLanes] = {};
    ops.count(cells, list, job.rule, counts, passed);
    for (int l = 0; l < job.channels; ++l) found_[l] += counts[l];
    if (list.n) ops.sample(cells, list, (list.n + kShare - 1) / kShare, job.rule, ranks_, kSampleRoom, n_);
    clear_packed(cells, list, ops);
  }

  void absorb(const FloorGuess& other, int lanes) {
    for (int l = 0; l < lanes; ++l) {
      found_[l] += other.found_[l];
      std::copy_n(other.ranks_ + l * kSampleRoom, other.n_[l], ranks_ + l * kSampleRoom + n_[l]);
      n_[l] += other.n_[l];
    }
  }

  void set_floors(OutputJob<A>& job, int64_t tiles) {
    for (int l = 0; l < job.channels; ++l) {
      const double expected = static_cast<double>(found_[l]) * static_cast<double>(tiles) / kSampleTiles;
      const double share = static_cast<double>(job.capacity) / std::max(expected, 1.0);
      if (share > 0.6) continue;
      // Three standard deviations of a sample count, and some more for data that is not uniform.
      const double wanted = share * static_cast<double>(n_[l]);
      const auto rank = static_cast<int64_t>(1.1 * wanted + 3 * std::sqrt(wanted) + 4);
      if (rank >= n_[l]) continue;
      Rank<A>* sample = ranks_ + l * kSampleRoom;
      std::nth_element(sample, sample + rank, sample + n_[l], std::greater<Rank<A>>());
      const A floor = internal::score_at<A>(sample[rank], job.rule.rule);
      if (floor == floor) job.floor[l] = floor;
    }
  }

 private:
  Rank<A>* ranks_;
  int64_t n_[kMaxLanes] = {};
  int64_t found_[kMaxLanes] = {};
};

// A worker's part: its side lists and what it knows of the bounds.
template <class A>
class alignas(128) Committer {
 public:
  // Side lists of all workers together, entries a lane.
  static int64_t side_entries(int64_t capacity) { return shared_side(capacity) + kMaxWorkers * kSideSlack; }

  void start(int32_t* side_keys, A* side_values, int64_t capacity, int lanes, int64_t worker, int64_t workers) {
    const int64_t each = shared_side(capacity) / workers + kSideSlack;
    state_.side_capacity = each;
    for (int l = 0; l < lanes; ++l) {
      state_.side_key[l] = side_keys + (worker * lanes + l) * each;
      state_.side_value[l] = side_values + (worker * lanes + l) * each;
    }
    worker_ = static_cast<int>(worker);
  }

  // Writes the candidates of tile number `tile` of the job and leaves all its cells 0.
  void commit(OutputJob<A>& job, const LaneOps<A>& ops, int64_t tile, A* cells, CellList list) {
    if (job_ != &job) {
      flush();
      job_ = &job;
      for (int l = 0; l < kMaxLanes; ++l) set_bound(l, Bound<A>{});
    }
    int64_t counts[kMaxLanes] = {}, passed[kMaxLanes] = {};
    if (list.n) ops.count(cells, list, job.rule, counts, passed);
    spin_until([&] { return job.ticket.load(std::memory_order_acquire) == tile; });
    bool overflow = false;
    int64_t room[kMaxLanes];
    for (int l = 0; l < job.channels; ++l) {
      const int64_t at = job.passed[l];
      job.found[l] += counts[l];
      job.passed[l] = at + passed[l];
      room[l] = std::clamp<int64_t>(job.capacity - at, 0, passed[l]);
      overflow |= passed[l] > room[l];
      state_.key[l] = job.keys + l * job.capacity + at;
      state_.value[l] = job.values + l * job.capacity + at;
    }
    job.ticket.store(tile + 1, std::memory_order_release);
    if (!list.n) return;
    if (!overflow) {
      ops.emit_all(cells, list, job.rule, state_);
      for (int l = 0; l < job.channels; ++l) publish(l, passed[l]);
      clear_packed(cells, list, ops);
      return;
    }
    for (int l = 0; l < job.channels; ++l) {
      state_.room[l] = room[l];
      if (passed[l] > room[l]) refresh(l);
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
    clear_packed(cells, list, ops);
  }

  // When all workers are done: merges what still waits, the side lists of a lane together.
  template <class Pool>
  static void finish(Pool& pool, Committer* committers, int64_t workers) {
    parallel_for(pool, workers * kMaxLanes, 1, [&](int64_t item, int) {
      const int64_t first = item / kMaxLanes, l = item % kMaxLanes;
      OutputJob<A>* job = committers[first].job_;
      if (!job || l >= job->channels) return;
      Responses<A> sides[kMaxWorkers];
      int64_t count = 0;
      for (int64_t w = 0; w < workers; ++w) {
        const Committer& c = committers[w];
        if (c.job_ != job) continue;
        if (w < first) return;  // an earlier item's work
        if (c.state_.side_n[l])
          sides[count++] = {c.state_.side_key[l], c.state_.side_value[l], nullptr, c.state_.side_n[l]};
      }
      if (!count) return;
      Responses<A> kept = job->kept(l);
      keep_strongest(kept, sides, count, job->capacity, job->rule.rule);
    });
  }

 private:
  void flush() {
    if (!job_) return;
    for (int i = 0; i < job_->channels; ++i) {
      const int l = (i + worker_) % job_->channels;  // workers start at different lanes
      if (state_.side_n[l]) merge(l);
    }
  }
  // A merge costs about the capacity plus the side list, so both are of one order up to a limit.
  static int64_t shared_side(int64_t capacity) { return std::min<int64_t>(capacity, int64_t{1} << 18); }

  void publish(int l, int64_t count) {
    if (count) job_->lane[l].written.fetch_add(count, std::memory_order_release);
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
    Responses<A> kept = job_->kept(l);
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

// Scratch of a run: side lists, and samples where floors are guessed.
template <class A>
struct CommitScratch {
  int32_t* side_keys = nullptr;
  A* side_values = nullptr;
  Rank<A>* samples = nullptr;  // [workers][lanes][kSampleRoom]
  int64_t capacity = 0;
  int lanes = 8;
};

template <class A>
CommitScratch<A> take_commit_scratch(Arena& arena, int64_t capacity, int lanes, int64_t tiles) {
  CommitScratch<A> s;
  s.capacity = capacity;
  s.lanes = lanes;
  const int64_t side = lanes * Committer<A>::side_entries(capacity);
  s.side_keys = arena.take<int32_t>(side);
  s.side_values = arena.take<A>(side);
  if (FloorGuess<A>::pays(tiles)) s.samples = arena.take<Rank<A>>(kMaxWorkers * lanes * kSampleRoom);
  return s;
}

// Sets the floors of job number j from a sample of its tiles.
template <class A, class Pool, class MakeSource>
void guess_floors(Pool& pool, OutputJob<A>& job, int64_t j, int64_t tiles, const CommitScratch<A>& scratch,
                  MakeSource& make_source) {
  std::vector<FloorGuess<A>> guesses;
  const int64_t workers = worker_count(pool, kSampleTiles);
  for (int64_t w = 0; w < workers; ++w) guesses.emplace_back(scratch.samples + w * scratch.lanes * kSampleRoom);
  std::atomic<int64_t> next{0};
  run_workers(pool, workers, [&](int worker) {
    auto source = make_source(worker);
    for (int64_t i; (i = next.fetch_add(1, std::memory_order_relaxed)) < kSampleTiles;) {
      const CellList list = source.compute(j, FloorGuess<A>::tile(i, tiles));
      if (list.n) guesses[static_cast<size_t>(worker)].add(job, source.ops(j), source.cells(), list);
    }
  });
  for (int64_t w = 1; w < workers; ++w) guesses[0].absorb(guesses[static_cast<size_t>(w)], job.channels);
  guesses[0].set_floors(job, tiles);
}

// Runs jobs of `tiles` tiles each to their end. make_source(worker) gives an object whose
// compute(job, tile) returns the tile's cell list; cells() are its accumulators, all 0 again after the
// commit; ops(job) are the leaf loops that fit the job's lanes.
template <class A, class Pool, class MakeSource>
void run_jobs(Pool& pool, OutputJob<A>* jobs, int64_t job_count, int64_t tiles, const CommitScratch<A>& scratch,
              MakeSource&& make_source) {
  for (int64_t j = 0; j < job_count; ++j) jobs[j].open();
  if (scratch.samples)
    for (int64_t j = 0; j < job_count; ++j) guess_floors<A>(pool, jobs[j], j, tiles, scratch, make_source);
  for (int64_t begin = 0, end = job_count; begin < end;) {
    for (int64_t j = begin; j < end; ++j) jobs[j].start();
    const int64_t items = (end - begin) * tiles, workers = worker_count(pool, items);
    std::atomic<int64_t> next{0};
    Committer<A> committers[kMaxWorkers];
    run_workers(pool, workers, [&](int worker) {
      auto source = make_source(worker);
      Committer<A>& committer = committers[worker];
      committer.start(scratch.side_keys, scratch.side_values, scratch.capacity, scratch.lanes, worker, workers);
      for (int64_t item; (item = next.fetch_add(1, std::memory_order_relaxed)) < items;) {
        const int64_t j = begin + item / tiles, tile = item % tiles;
        const CellList list = source.compute(j, tile);
        committer.commit(jobs[j], source.ops(j), tile, source.cells(), list);
      }
    });
    Committer<A>::finish(pool, committers, workers);
    // Jobs whose floors cut too much run again, in one stretch that spans them.
    int64_t first = end, last = begin;
    for (int64_t j = begin; j < end; ++j) {
      if (!jobs[j].floors_failed()) continue;
      first = std::min(first, j);
      last = j + 1;
    }
    begin = first;
    end = last;
  }
}

}  // namespace jaxsparse
