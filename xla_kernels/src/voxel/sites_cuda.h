// The workspaces of sites and kernel maps on the GPU. jaxsparse/voxel/_cuda_workspace.py says their sizes.
#pragma once

#include <stdexcept>

#include "../core/arena.h"
#include "../cuda/radix_sort.h"
#include "relation.h"

namespace jaxsparse::voxel {

// How many outputs an input can meet along an axis: taps that lead to one differ by multiples of `apart`.
struct Reach {
  int64_t apart[kMaxDims] = {1, 1, 1, 1}, most[kMaxDims] = {1, 1, 1, 1}, all = 1;

  explicit Reach(const Relation& r) {
    for (int a = 0; a < r.dims; ++a) {
      const Axis& x = r.axis[a];
      int64_t divisor = x.out_stride, rest = x.step < 0 ? -x.step : x.step;
      while (rest != 0) {
        const int64_t next = divisor % rest;
        divisor = rest;
        rest = next;
      }
      apart[a] = x.out_stride / divisor;
      most[a] = (x.kernel + apart[a] - 1) / apart[a];
      all *= most[a];
    }
  }
};

// `n` keys that become a list of sites.
struct ListScratch {
  cuda::SortScratch sort;
  int32_t *chunks, *found, *placed, *unused;
  int64_t bytes;

  ListScratch(int64_t n, bool with_rows, void* workspace) : ListScratch(Arena(workspace), n, with_rows) {}

 private:
  ListScratch(Arena&& arena, int64_t n, bool with_rows) : sort(arena, n, with_rows) {
    chunks = arena.take<int32_t>(sort.tiles);
    for (int32_t** number : {&found, &placed, &unused}) *number = arena.take<int32_t>(1);
    bytes = arena.bytes();
  }
};

struct MapScratch {
  int64_t* keys;  // of the inputs
  int32_t *unused_in, *unused_out;
  int64_t bytes;

  MapScratch(int64_t rows, void* workspace) {
    Arena arena(workspace);
    keys = arena.take<int64_t>(rows);
    unused_in = arena.take<int32_t>(1);
    unused_out = arena.take<int32_t>(1);
    bytes = arena.bytes();
  }
};

}  // namespace jaxsparse::voxel
