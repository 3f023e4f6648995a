// FFI handler of reduce_mask on CPU.
#include "reduce_mask.h"

#include "reduce_mask_handlers.h"

namespace jaxsparse::block {

JAXSPARSE_HANDLER(JaxsparseBlockReduceMask, ReduceMask<FfiPool>, "size", "stride", "offset", "grid", "mode");

}  // namespace jaxsparse::block
