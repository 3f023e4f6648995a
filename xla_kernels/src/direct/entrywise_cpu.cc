// FFI handlers of the operations on single entries on CPU.
#include "entrywise.h"

#include "entrywise_handlers.h"

namespace jaxsparse {

JAXSPARSE_HANDLER(JaxsparseDirectRelu, Relu<FfiPool>, "volume");
JAXSPARSE_HANDLER(JaxsparseDirectMaskedScale, MaskedScale<FfiPool>, "volume");
JAXSPARSE_HANDLER(JaxsparseDirectTake, Take<FfiPool>);
JAXSPARSE_HANDLER(JaxsparseDirectPutAdd, PutAdd<FfiPool>);
JAXSPARSE_HANDLER(JaxsparseDirectChannelSum, ChannelSum<FfiPool>, "volume");

}  // namespace jaxsparse
