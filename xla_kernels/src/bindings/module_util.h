// What every module with handlers says about itself.
#pragma once

#include <nanobind/nanobind.h>

#include "handlers.h"

// m.targets(): a dict from target names to capsules; m.ffi_api_version(): what it was built with.
#define JAXSPARSE_ADD_HANDLER(name, symbol) out[name] = nanobind::capsule(reinterpret_cast<void*>(symbol));
#define JAXSPARSE_DEFINE_TARGETS(m, HANDLERS) \
  m.def("targets", [] {                       \
    nanobind::dict out;                       \
    HANDLERS(JAXSPARSE_ADD_HANDLER)           \
    return out;                               \
  });                                         \
  m.def("ffi_api_version", [] { return nanobind::make_tuple(XLA_FFI_API_MAJOR, XLA_FFI_API_MINOR); })
