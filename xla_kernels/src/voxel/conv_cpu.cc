// FFI handlers of the convolution over a kernel map on CPU.
#include "conv.h"
#include "conv_kernel_grad.h"

#include "conv_handlers.h"

namespace jaxsparse::voxel {

JAXSPARSE_HANDLER(JaxsparseVoxelMapConv, MapConv<FfiPool>, "groups", "transposed");
JAXSPARSE_HANDLER(JaxsparseVoxelMapConvKernelGrad, MapConvKernelGrad<FfiPool>, "groups");

}  // namespace jaxsparse::voxel
