// FFI handlers of the direct convolution and its gradients on CPU.
#include "conv.h"
#include "conv_grad.h"
#include "conv_grad_handlers.h"
#include "conv_handlers.h"

namespace jaxsparse {

JAXSPARSE_HANDLER(JaxsparseDirectConv, Conv<FfiPool>, "spatial_shape", "out_shape", "strides", "padding", "dilation",
                  "select");
JAXSPARSE_HANDLER(JaxsparseDirectConvAt, ConvAt<FfiPool>, "spatial_shape", "out_shape", "strides", "padding",
                  "dilation");
JAXSPARSE_HANDLER(JaxsparseDirectConvInputGrad, ConvInputGrad<FfiPool>, "spatial_shape", "out_shape", "strides",
                  "padding", "dilation");
JAXSPARSE_HANDLER(JaxsparseDirectConvKernelGrad, ConvKernelGrad<FfiPool>, "spatial_shape", "out_shape", "strides",
                  "padding", "dilation");

}  // namespace jaxsparse
