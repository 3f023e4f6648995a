// FFI handlers of the operations with one number a channel on CPU.
#include "channels.h"

#include "channels_handlers.h"

namespace jaxsparse {

JAXSPARSE_HANDLER(JaxsparseDirectChannelDot, ChannelDot<FfiPool>, "volume");
JAXSPARSE_HANDLER(JaxsparseDirectChannelAffine, ChannelAffine<FfiPool>, "volume");

}  // namespace jaxsparse
