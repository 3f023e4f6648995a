// FFI handlers that merge rows of one site on CPU.
#include "merge_rows.h"

#include "merge_rows_handlers.h"

namespace jaxsparse::voxel {

JAXSPARSE_HANDLER(JaxsparseVoxelMergeRows, MergeRows<FfiPool>, "mean");
JAXSPARSE_HANDLER(JaxsparseVoxelSpreadRows, SpreadRows<FfiPool>, "mean");
JAXSPARSE_HANDLER(JaxsparseVoxelMaxRows, MaxRows<FfiPool>);
JAXSPARSE_HANDLER(JaxsparseVoxelPickRows, PickRows<FfiPool>);
JAXSPARSE_HANDLER(JaxsparseVoxelPlaceRows, PlaceRows<FfiPool>);

}  // namespace jaxsparse::voxel
