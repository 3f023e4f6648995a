// Which rows belong together: (order, starts) as sort_rows.h makes it.
#pragma once

#include <cstdint>

#include "../core/portable.h"

namespace jaxsparse::voxel {

struct Groups {
  const int32_t* order;   // [rows]
  const int32_t* starts;  // [groups + 1]
  int64_t rows, groups;

  // The places [begin, end) of a group in `order`, whatever the arrays hold.
  JAXSPARSE_ANYWHERE int64_t begin(int64_t g) const { return within(starts[g], 0); }
  JAXSPARSE_ANYWHERE int64_t end(int64_t g) const { return within(starts[g + 1], begin(g)); }

 private:
  JAXSPARSE_ANYWHERE int64_t within(int64_t place, int64_t least) const {
    return place < least ? least : place > rows ? rows : place;
  }
};

}  // namespace jaxsparse::voxel
