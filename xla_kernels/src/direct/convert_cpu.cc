// FFI handlers of the conversions between dense arrays and lists on CPU.
#include "convert.h"

#include "convert_handlers.h"

namespace jaxsparse {

JAXSPARSE_HANDLER(JaxsparseDirectFromDense, FromDense<FfiPool>, "select");
JAXSPARSE_HANDLER(JaxsparseDirectToDense, ToDense<FfiPool>);
JAXSPARSE_HANDLER(JaxsparseDirectGatherDense, GatherDense<FfiPool>);

}  // namespace jaxsparse
