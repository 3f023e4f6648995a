// What the library of emulated kernels exports, beside the handlers themselves; Python reads it with ctypes.
#include "../../bindings/handlers.h"
#include "scheduler.h"

extern "C" {

struct JaxsparseTarget {
  const char* name;
  XLA_FFI_Error* (*handler)(XLA_FFI_CallFrame*);
};

// Ends with a null name.
extern const JaxsparseTarget jaxsparse_targets[];
#define JAXSPARSE_TARGET(name, symbol) {name, symbol},
const JaxsparseTarget jaxsparse_targets[] = {JAXSPARSE_HANDLERS(JAXSPARSE_TARGET){nullptr, nullptr}};

void jaxsparse_set_seed(uint64_t seed) { jaxsparse::emulation::set_seed(seed); }

}  // extern "C"
