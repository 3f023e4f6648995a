// A floor for a selection, from a sample: scores below it surely lose.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>

#include "output_job.h"

namespace jaxsparse {

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

  void add(const OutputJob<A>& job, Planes<A>& planes) {
    constexpr int64_t kShare = kSampleRoom / kSampleTiles;
    for (int l = 0; l < job.channels; ++l) {
      found_[l] += planes.found[l];
      const int64_t step = std::max<int64_t>(1, (planes.n[l] + kShare - 1) / kShare);
      for (int64_t i = 0; i < planes.n[l] && n_[l] < kSampleRoom; i += step)
        ranks_[l * kSampleRoom + n_[l]++] = rank_of(planes.plane(l)[i], job.rule.rule);
    }
    clear_packed(planes, job.channels);
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

}  // namespace jaxsparse
