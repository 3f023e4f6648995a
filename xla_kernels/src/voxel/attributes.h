// What handlers of sites share: the attributes of a relation, the shapes of lists.
#pragma once

#include "../bindings/ffi_util.h"
#include "relation.h"
#include "site_list.h"

namespace jaxsparse::voxel {
namespace {

using Attribute = ffi::Span<const int64_t>;

inline void require_batch(int64_t batch) { require(batch >= 0 && batch <= kMostSites, "batch must be 0 to 2^31 - 1"); }

// coords [rows, 1 + dims]
template <class Buffer>
void require_sites(const Buffer& coords, int dims) {
  require(coords.element_type() == ffi::S32, "coords must be int32");
  require(coords.dimensions().size() == 2 && dim(coords, 1) == dims + 1,
          "coords must have shape [rows, 1 + spatial dimensions]");
  require(dim(coords, 0) <= kMostSites - 1, "there must be less than 2^31 - 1 rows");
}

template <class Buffer>
void require_int32(const Buffer& buffer, int64_t elements, const char* what) {
  require(buffer.element_type() == ffi::S32 && static_cast<int64_t>(buffer.element_count()) == elements, what);
}

}  // namespace
}  // namespace jaxsparse::voxel
