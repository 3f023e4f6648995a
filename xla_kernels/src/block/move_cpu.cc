// FFI handlers that move blocks between images and lists on CPU.
#include "gather.h"
#include "scatter.h"

#include "move_handlers.h"

namespace jaxsparse::block {

JAXSPARSE_HANDLER(JaxsparseBlockGather, Gather<FfiPool>, "size", "stride", "offset", "grid", "channels_first", "shown");
JAXSPARSE_HANDLER(JaxsparseBlockScatter, Scatter<FfiPool>, "size", "stride", "offset", "grid", "channels_first");
JAXSPARSE_HANDLER(JaxsparseBlockScatterAdd, ScatterAdd<FfiPool>, "size", "stride", "offset", "grid", "channels_first");
JAXSPARSE_HANDLER(JaxsparseBlockErase, Erase<FfiPool>, "size", "stride", "offset", "grid");

}  // namespace jaxsparse::block
