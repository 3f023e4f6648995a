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
#include <cstdint>
#include <vector>

#include "../core/arena.h"
#include "../core/parallel.h"
#include "../core/select.h"
#include "floor_guess.h"
#include "lanes.h"
#include "output_job.h"

namespace jaxsparse {

inline constexpr int64_t kSideSlack = 1024;

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
  void commit(OutputJob<A>& job, const LaneOps<A>& ops, int64_t tile, A* cells, TileResponses<A> responses) {
    if (job_ != &job) {
      flush();
      job_ = &job;
      for (int l = 0; l < kMaxLanes; ++l) set_bound(l, Bound<A>{});
    }
    if (responses.planes) {
      commit_planes(job, ops, tile, *responses.planes);
      return;
    }
    CellList& list = responses.list;
    int64_t counts[kMaxLanes] = {}, passed[kMaxLanes] = {}, room[kMaxLanes];
    if (list.n) ops.count(cells, list, job.rule, counts, passed);
    const bool overflow = take_room(job, tile, counts, passed, room);
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
  // Waits for the tile before, then claims places in the output; true if not all find one.
  bool take_room(OutputJob<A>& job, int64_t tile, const int64_t* counts, const int64_t* passed, int64_t* room) {
    spin_until([&] { return job.ticket.load(std::memory_order_acquire) == tile; });
    bool overflow = false;
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
    if (overflow) job.overflows.store(true, std::memory_order_relaxed);
    return overflow;
  }

  void commit_planes(OutputJob<A>& job, const LaneOps<A>& ops, int64_t tile, Planes<A>& planes) {
    int64_t room[kMaxLanes];
    const bool overflow = take_room(job, tile, planes.found, planes.n, room);
    for (int l = 0; l < job.channels; ++l) {
      std::copy_n(planes.keys(l), room[l], state_.key[l]);
      std::copy_n(planes.plane(l), room[l], state_.value[l]);
      publish(l, room[l]);
    }
    // A merge waits for what others have to publish, so it comes behind all that is published here.
    for (int l = 0; overflow && l < job.channels; ++l) {
      const int64_t n = planes.n[l] - room[l];
      if (n == 0) continue;
      refresh(l);
      int32_t* keys = planes.keys(l) + room[l];
      A* values = planes.plane(l) + room[l];
      add_to_side(l, keys, values, ops.filter(keys, values, n, job.rule.rule, state_.bound[l]));
    }
    clear_packed(planes, job.channels);
  }

  // Those of n responses that may still be kept, into the side list.
  void add_to_side(int l, const int32_t* keys, const A* values, int64_t n) {
    if (state_.bound_rank[l] == 0 && state_.side_n[l] + n < state_.side_capacity) {  // nothing was chosen so far
      std::copy_n(keys, n, state_.side_key[l] + state_.side_n[l]);
      std::copy_n(values, n, state_.side_value[l] + state_.side_n[l]);
      state_.side_n[l] += n;
      return;
    }
    for (int64_t i = 0; i < n; ++i) {
      const Rank<A> rank = rank_of(values[i], job_->rule.rule);
      if (rank < state_.bound_rank[l] || (rank == state_.bound_rank[l] && keys[i] > state_.bound_key[l])) continue;
      const int64_t at = state_.side_n[l]++;
      state_.side_key[l][at] = keys[i];
      state_.side_value[l][at] = values[i];
      if (at + 1 == state_.side_capacity) merge(l);
    }
  }

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
      const TileResponses<A> tile = source.compute(j, FloorGuess<A>::tile(i, tiles));
      FloorGuess<A>& guess = guesses[static_cast<size_t>(worker)];
      if (tile.planes)
        guess.add(job, *tile.planes);
      else if (tile.list.n)
        guess.add(job, source.ops(j), source.cells(), tile.list);
    }
  });
  for (int64_t w = 1; w < workers; ++w) guesses[0].absorb(guesses[static_cast<size_t>(w)], job.channels);
  guesses[0].set_floors(job, tiles);
}

// Runs jobs of `tiles` tiles each to their end. make_source(worker) gives an object whose
// compute(job, tile) returns the tile's responses; cells() are its accumulators, all 0 again after the
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
        committer.commit(jobs[j], source.ops(j), tile, source.cells(), source.compute(j, tile));
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
