// Entries of a sorted list that lie in a box of voxels, for kernels of the GPU: the neighbours of an entry are found by
// bisection, once, and by short steps from there. What is skipped costs no more than what is found.
#pragma once

#include <cstdint>

#include "../core/keys.h"
#include "../cuda/dialect.h"
#include "grid.h"

namespace jaxsparse {

// Of a voxel, outermost first. Fewer dimensions than four have zeros in front.
struct Voxel {
  int32_t at[kMaxDims];
};

struct Box {
  Voxel low, high;  // both inside

  __device__ bool empty() const {
    bool none = false;
    for (int i = 0; i < kMaxDims; ++i) none |= low.at[i] > high.at[i];
    return none;
  }
};

// Sizes of a volume and its row-major keys. Fewer dimensions than four have ones in front.
struct KeyGrid {
  int32_t size[kMaxDims];
  FastDiv div[kMaxDims];

  KeyGrid(int dims, const int64_t* shape) {
    for (int i = 0; i < kMaxDims; ++i) {
      size[i] = i < kMaxDims - dims ? 1 : static_cast<int32_t>(shape[i - (kMaxDims - dims)]);
      div[i] = FastDiv(size[i]);
    }
  }
  __device__ Voxel voxel(int32_t key) const {
    Voxel v;
    auto rest = static_cast<uint32_t>(key);
    for (int i = kMaxDims - 1; i > 0; --i) {
      const uint32_t q = div[i](rest);
      v.at[i] = static_cast<int32_t>(rest - q * static_cast<uint32_t>(size[i]));
      rest = q;
    }
    v.at[0] = static_cast<int32_t>(rest);
    return v;
  }
  __device__ int32_t key(const Voxel& v) const {
    int32_t key = v.at[0];
    for (int i = 1; i < kMaxDims; ++i) key = key * size[i] + v.at[i];
    return key;
  }
};

// The first of the ascending keys [begin, end) that is not below `wanted`, or `end`.
__device__ inline int64_t first_not_below(const int32_t* keys, int64_t begin, int64_t end, int32_t wanted) {
  while (begin < end) {
    const int64_t middle = begin + (end - begin) / 2;
    if (keys[middle] < wanted)
      begin = middle + 1;
    else
      end = middle;
  }
  return begin;
}

// The same, where it is likely near `begin`.
__device__ inline int64_t first_not_below_from(const int32_t* keys, int64_t begin, int64_t end, int32_t wanted) {
  for (int64_t step = 1; end - begin > step; step *= 2) {
    if (keys[begin + step] >= wanted) return first_not_below(keys, begin, begin + step, wanted);
    begin += step + 1;
  }
  return first_not_below(keys, begin, end, wanted);
}

// The end of the keys [0, end) that are below `end_key`, likely near `end`.
__device__ inline int64_t end_of_below_from(const int32_t* keys, int64_t end, int32_t end_key) {
  for (int64_t step = 1; end > step; step *= 2) {
    if (keys[end - 1 - step] < end_key) return first_not_below(keys, end - step, end, end_key);
    end -= step + 1;
  }
  return first_not_below(keys, 0, end, end_key);
}

// Moves v, which is between the corners of the box in the order of the keys, to the next voxel that is in the box,
// upwards or downwards. False if it is in the box already.
template <bool kDown>
__device__ bool move_into(const Box& box, Voxel& v) {
  const Voxel &near = kDown ? box.high : box.low, &far = kDown ? box.low : box.high;
  int out = kMaxDims;
  bool before = false;
  for (int i = kMaxDims - 1; i >= 0; --i) {
    const bool is_before = kDown ? v.at[i] > near.at[i] : v.at[i] < near.at[i];
    const bool is_behind = kDown ? v.at[i] < far.at[i] : v.at[i] > far.at[i];
    if (!is_before && !is_behind) continue;
    out = i;
    before = is_before;
  }
  if (out == kMaxDims) return false;
  int from = out;  // dimensions from here on start again
  if (!before) {
    for (int i = 0; i < kMaxDims; ++i)
      if (i < out && v.at[i] != far.at[i]) from = i + 1;
  }
  for (int i = 0; i < kMaxDims; ++i) {
    if (!before && i == from - 1) v.at[i] += kDown ? -1 : 1;
    if (i >= from) v.at[i] = near.at[i];
  }
  return true;
}

// Calls visit(slot, voxel) for the entries of n stored ones that lie in the box: by key, ascending or (kDown)
// descending.
template <bool kDown, class Visit>
__device__ void walk_box(const KeyGrid& grid, const Box& box, const int32_t* keys, int64_t n, Visit&& visit) {
  if (box.empty()) return;
  const int32_t low = grid.key(box.low), high = grid.key(box.high);
  int64_t at = kDown ? first_not_below(keys, 0, n, high + 1) - 1 : first_not_below(keys, 0, n, low);
  while (at >= 0 && at < n) {
    const int32_t key = keys[at];
    if (kDown ? key < low : key > high) return;
    Voxel v = grid.voxel(key);
    if (!move_into<kDown>(box, v)) {
      visit(at, v);
      at += kDown ? -1 : 1;
    } else if (kDown) {
      at = end_of_below_from(keys, at, grid.key(v) + 1) - 1;
    } else {
      at = first_not_below_from(keys, at + 1, n, grid.key(v));
    }
  }
}

}  // namespace jaxsparse
