// FFI handlers of pooling over whole lists on CPU.
#include "global_pool.h"

#include "global_pool_handlers.h"

namespace jaxsparse {

JAXSPARSE_HANDLER(JaxsparseDirectGlobalMaxPool, GlobalMaxPool<FfiPool>, "volume");
JAXSPARSE_HANDLER(JaxsparseDirectGlobalAvgPool, GlobalAvgPool<FfiPool>, "volume");
JAXSPARSE_HANDLER(JaxsparseDirectGlobalAvgPoolGrad, GlobalAvgPoolGrad<FfiPool>, "volume");

}  // namespace jaxsparse
