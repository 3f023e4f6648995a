// Lists of sites: rows (batch element, coordinates) in strictly ascending row-major order.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <stdexcept>
#include <vector>

#include "../core/portable.h"
#include "relation.h"

namespace jaxsparse::voxel {

inline constexpr int64_t kNoKey = std::numeric_limits<int64_t>::max();

// The box that sites lie in. Its size fits an int64 key: batch and volume are below 2^31 each.
struct Box {
  int64_t batch = 0;
  int dims = 1;
  int64_t size[kMaxDims] = {1, 1, 1, 1};

  JAXSPARSE_ANYWHERE int64_t columns() const { return dims + 1; }
};

// Throws unless the sizes make sense.
template <class List>
Box make_box(int64_t batch, const List& sizes) {
  if (sizes.size() < 1 || sizes.size() > kMaxDims)
    throw std::invalid_argument("there must be 1 to 4 spatial dimensions");
  Box box{batch, static_cast<int>(sizes.size()), {1, 1, 1, 1}};
  int64_t volume = 1;
  for (size_t a = 0; a < sizes.size(); ++a) {
    if (sizes[a] < 1 || sizes[a] > kMostSites || (volume *= sizes[a]) > kMostSites)
      throw std::invalid_argument("a volume must have 1 to 2^31 - 1 voxels");
    box.size[a] = sizes[a];
  }
  return box;
}

inline Box in_box(const Relation& r, int64_t batch) {
  Box box{batch, r.dims, {1, 1, 1, 1}};
  for (int a = 0; a < r.dims; ++a) box.size[a] = r.axis[a].in;
  return box;
}

inline Box out_box(const Relation& r, int64_t batch) {
  Box box{batch, r.dims, {1, 1, 1, 1}};
  for (int a = 0; a < r.dims; ++a) box.size[a] = r.axis[a].out;
  return box;
}

// Row-major key of a row; -1 outside of the box.
JAXSPARSE_ANYWHERE inline int64_t key_of(const Box& box, const int32_t* row) {
  if (row[0] < 0 || row[0] >= box.batch) return -1;
  int64_t key = row[0];
  for (int a = 0; a < box.dims; ++a) {
    if (row[1 + a] < 0 || row[1 + a] >= box.size[a]) return -1;
    key = key * box.size[a] + row[1 + a];
  }
  return key;
}

// The keys of the rows that count: the longest prefix inside the box in strictly ascending order. Everything behind it
// is ignored, so no content of a list can lead out of bounds.
inline std::vector<int64_t> stored_keys(const Box& box, const int32_t* coords, int64_t rows) {
  std::vector<int64_t> keys;
  keys.reserve(static_cast<size_t>(rows));
  int64_t last = -1;
  for (int64_t n = 0; n < rows; ++n) {
    const int64_t key = key_of(box, coords + n * box.columns());
    if (key <= last) break;
    keys.push_back(last = key);
  }
  return keys;
}

// How many these are.
inline int64_t stored_rows(const Box& box, const int32_t* coords, int64_t rows) {
  int64_t last = -1, n = 0;
  for (; n < rows; ++n) {
    const int64_t key = key_of(box, coords + n * box.columns());
    if (key <= last) break;
    last = key;
  }
  return n;
}

// Writes rows [0, capacity) of a list that has these keys; unused rows are (batch, 0, ...).
inline void write_sites(const Box& box, const int64_t* keys, int64_t count, int64_t capacity, int32_t* coords) {
  const int64_t columns = box.columns();
  const int64_t used = std::min(count, capacity);
  for (int64_t n = 0; n < used; ++n) {
    int32_t* row = coords + n * columns;
    int64_t rest = keys[n];
    for (int a = box.dims - 1; a >= 0; --a) {
      row[1 + a] = static_cast<int32_t>(rest % box.size[a]);
      rest /= box.size[a];
    }
    row[0] = static_cast<int32_t>(rest);
  }
  std::fill(coords + used * columns, coords + capacity * columns, 0);
  for (int64_t n = used; n < capacity; ++n) coords[n * columns] = static_cast<int32_t>(box.batch);
}

// What becomes of `rows` given rows: site m stands for the rows order[starts[m]], ..., order[starts[m + 1] - 1], which
// are in their given order; the rest of `order` holds `rows`. row_of is the other direction: the site of a row, or
// `capacity` where it has none (it is padding, out of range or cut).
struct Sorted {
  int32_t* coords;  // [capacity, 1 + dims]
  int32_t* count;   // how many distinct sites there are
  int32_t* row_of;  // [rows]
  int32_t* order;   // [rows]
  int32_t* starts;  // [capacity + 1]
};

inline int32_t saturated(int64_t count) { return static_cast<int32_t>(std::min(count, kMostSites)); }

}  // namespace jaxsparse::voxel
