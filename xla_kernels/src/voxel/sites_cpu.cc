// FFI handlers that make lists of sites and kernel maps on CPU.
#include "kernel_map.h"
#include "sites.h"
#include "sort_rows.h"

#include "sites_handlers.h"

namespace jaxsparse::voxel {

JAXSPARSE_HANDLER(JaxsparseVoxelSortRows, SortRows<FfiPool>, "batch", "spatial_shape");
JAXSPARSE_HANDLER(JaxsparseVoxelSites, Sites<FfiPool>, "batch", "in_shape", "out_shape", "kernel", "in_stride",
                  "out_stride", "offset", "step");
JAXSPARSE_HANDLER(JaxsparseVoxelKernelMap, KernelMap<FfiPool>, "batch", "in_shape", "out_shape", "kernel", "in_stride",
                  "out_stride", "offset", "step");

}  // namespace jaxsparse::voxel
