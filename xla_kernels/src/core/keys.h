// Sorted key lists: which part of a buffer is a list, and fast division for row-major keys.
#pragma once

#include <cstdint>

#include "portable.h"

namespace jaxsparse {

// The stored entries of a list: the longest prefix of keys that ascends strictly within [0, volume).
// Everything after it is ignored, so no content of a key buffer can lead out of bounds.
inline int64_t stored_entries(const int32_t* keys, int64_t capacity, int64_t volume) {
  if (capacity == 0 || keys[0] < 0 || keys[0] >= volume) return 0;
  int64_t n = 1;
  constexpr int64_t kBlock = 64;
  while (n + kBlock <= capacity) {
    int bad = 0;
    for (int64_t i = n; i < n + kBlock; ++i) bad |= keys[i] <= keys[i - 1];
    if (bad || keys[n + kBlock - 1] >= volume) break;
    n += kBlock;
  }
  while (n < capacity && keys[n] > keys[n - 1] && keys[n] < volume) ++n;
  return n;
}

// Exact quotient of any 0 <= n < 2^31 by a fixed 1 <= d < 2^31, without a division instruction.
class FastDiv {
 public:
  FastDiv() = default;
  explicit FastDiv(int64_t d) {
    while ((int64_t{1} << log_) < d) ++log_;
    shift_ = 31 + log_;
    multiplier_ = static_cast<uint64_t>((static_cast<unsigned __int128>(1) << shift_) / static_cast<uint64_t>(d)) + 1;
    if (d == 1) multiplier_ = uint64_t{1} << shift_;
  }
  JAXSPARSE_ANYWHERE uint32_t operator()(uint32_t n) const {
    return static_cast<uint32_t>((n * multiplier_) >> shift_);
  }

 private:
  int log_ = 0;
  int shift_ = 0;
  uint64_t multiplier_ = 1;
};

}  // namespace jaxsparse
