// FFI handlers of pooling on CPU.
#include "pool.h"
#include "segments.h"

#include "pool_handlers.h"

namespace jaxsparse::voxel {

JAXSPARSE_HANDLER(JaxsparseVoxelPoolMax, PoolMax<FfiPool>);
JAXSPARSE_HANDLER(JaxsparseVoxelPoolPut, PoolPut<FfiPool>);
JAXSPARSE_HANDLER(JaxsparseVoxelPoolSum, PoolSum<FfiPool>);
JAXSPARSE_HANDLER(JaxsparseVoxelSegmentSum, SegmentSum<FfiPool>);
JAXSPARSE_HANDLER(JaxsparseVoxelSegmentMax, SegmentMax<FfiPool>);

}  // namespace jaxsparse::voxel
