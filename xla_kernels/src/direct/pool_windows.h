// The windows of a pooling, and how the entries of one are joined.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>

#include "../core/portable.h"
#include "disjoint_windows.h"
#include "grid.h"

namespace jaxsparse {

struct PoolSizes {
  int64_t batch, channels, capacity, out_capacity;
  int64_t lists() const { return batch * channels; }
};

// Windows start at multiples of the stride and are cut at the end.
inline ConvGeometry pool_geometry(int dims, const int64_t* in, const int64_t* out, const int64_t* window,
                                  const int64_t* strides) {
  ConvGeometry g;
  g.dims = dims;
  for (int i = 0; i < dims; ++i) {
    g.in[i] = in[i];
    g.out[i] = out[i];
    g.kernel[i] = window[i];
    g.stride[i] = strides[i];
    g.dilation[i] = 1;
  }
  return g;
}

inline constexpr int64_t kPoolTile = 8192;

// The windows of a pooling, in one of two forms.
struct PoolWindows {
  ConvGeometry geometry;
  std::optional<DisjointWindows> disjoint;
  std::optional<ConvGrid> grid;

  explicit PoolWindows(const ConvGeometry& g) : geometry(g) {
    if (DisjointWindows::fits(g))
      disjoint.emplace(g);
    else
      grid.emplace(g);
  }
  int64_t in_volume() const { return disjoint ? disjoint->in_volume() : grid->in_volume(); }
  int64_t out_volume() const { return disjoint ? disjoint->out_volume() : grid->out_volume(); }
  // Of a tile, rounded up to whole words of bits.
  int64_t tile_cells() const {
    return ((disjoint ? disjoint->tile_cells() : std::min(kPoolTile, grid->cells())) + 63) / 64 * 64;
  }
};

// How the entries of a window are joined: what the window amounts to and a number that goes with it. An entry has a
// value and a slot; entries come by key.
template <class A>
struct Maximum {
  static constexpr const char* kName = "direct.max_pool";
  static constexpr int32_t kUnused = -1;
  JAXSPARSE_ANYWHERE static int32_t first(int32_t slot) { return slot; }
  // NaN is the maximum; of equal ones the first stays.
  JAXSPARSE_ANYWHERE static void join(A& value, int32_t& slot, A v, int32_t from) {
    if (!(v > value || (v != v && value == value))) return;
    value = v;
    slot = from;
  }
  JAXSPARSE_ANYWHERE static A result(A value, int32_t) { return value; }
};

template <class A>
struct Mean {
  static constexpr const char* kName = "direct.avg_pool";
  static constexpr int32_t kUnused = 0;
  JAXSPARSE_ANYWHERE static int32_t first(int32_t) { return 1; }
  JAXSPARSE_ANYWHERE static void join(A& sum, int32_t& count, A v, int32_t) {
    sum += v;
    ++count;
  }
  JAXSPARSE_ANYWHERE static A result(A sum, int32_t count) { return sum / static_cast<A>(count); }
};

}  // namespace jaxsparse
