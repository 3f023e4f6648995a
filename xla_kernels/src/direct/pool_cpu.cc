// FFI handlers of pooling on CPU.
#include "pool.h"
#include "windows.h"

#include "pool_handlers.h"
#include "windows_handlers.h"

namespace jaxsparse {

JAXSPARSE_HANDLER(JaxsparseDirectMaxPool, kMaxPool<FfiPool>, "spatial_shape", "out_shape", "window", "strides");
JAXSPARSE_HANDLER(JaxsparseDirectAvgPool, kAvgPool<FfiPool>, "spatial_shape", "out_shape", "window", "strides");
JAXSPARSE_HANDLER(JaxsparseDirectWindowSum, WindowSum<FfiPool>, "spatial_shape", "out_shape", "window", "strides");
JAXSPARSE_HANDLER(JaxsparseDirectWindowSpread, WindowSpread<FfiPool>, "spatial_shape", "out_shape", "window",
                  "strides");

}  // namespace jaxsparse
