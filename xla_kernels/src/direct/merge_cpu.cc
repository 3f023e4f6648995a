// FFI handler of the sum of two tensors on CPU.
#include "merge.h"

#include "merge_handlers.h"

namespace jaxsparse {

JAXSPARSE_HANDLER(JaxsparseDirectAdd, Add<FfiPool>, "volume");

}  // namespace jaxsparse
