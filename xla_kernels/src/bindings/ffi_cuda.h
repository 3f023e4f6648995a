// What FFI handlers of the GPU need beside ffi_util.h.
#pragma once

#include <cstring>

#include "../cuda/device.h"
#include "ffi_util.h"

namespace jaxsparse {
namespace cuda {
template <class Buffer>
Device device_of(const Stream& stream, Buffer& workspace) {
  return {stream, workspace_of(workspace)};
}
}  // namespace cuda

// Defines the handler of handlers.h as JAXSPARSE_HANDLER does. XLA may record it into a command buffer (a CUDA graph):
// what it launches follows from shapes alone, and all memory comes from XLA.
#if defined(__CUDACC__)
#define JAXSPARSE_CUDA_HANDLER(symbol, ...)                                                             \
  XLA_FFI_DEFINE_HANDLER_SYMBOL(symbol, JAXSPARSE_FIRST(__VA_ARGS__, ), ::jaxsparse::bind(__VA_ARGS__), \
                                {::xla::ffi::Traits::kCmdBufferCompatible})
#else
#define JAXSPARSE_CUDA_HANDLER(symbol, ...)                                                                     \
  XLA_FFI_DEFINE_HANDLER_SYMBOL(symbol, ::jaxsparse::emulation::Poisoned<JAXSPARSE_FIRST(__VA_ARGS__, )>::call, \
                                ::jaxsparse::bind(__VA_ARGS__))

namespace emulation {
// Before a handler runs, its results are filled with a pattern, and with them the workspace: no kernel may rely on what
// memory held. A result that takes over an operand's memory has that operand in it.
inline bool is_memory_of(const ffi::AnyBuffer& operand, const void* memory) { return operand.untyped_data() == memory; }
template <class Other>
bool is_memory_of(const Other&, const void*) {
  return false;
}
template <class... Parameters>
void poison(ffi::Result<ffi::AnyBuffer>& result, const Parameters&... all) {
  void* memory = result->untyped_data();
  if (result->size_bytes() && !(is_memory_of(all, memory) || ...)) std::memset(memory, 0xab, result->size_bytes());
}
template <class Other, class... Parameters>
void poison(const Other&, const Parameters&...) {}

template <auto handler>
struct Poisoned;
template <class... Parameters, ffi::Error (*handler)(Parameters...)>
struct Poisoned<handler> {
  static ffi::Error call(Parameters... parameters) {
    (poison(parameters, parameters...), ...);
    return handler(parameters...);
  }
};
}  // namespace emulation
#endif

}  // namespace jaxsparse

template <>
struct xla::ffi::CtxDecoding<jaxsparse::cuda::Stream> {
  using Type = jaxsparse::cuda::Stream;
  static std::optional<Type> Decode([[maybe_unused]] const XLA_FFI_Api* api,
                                    [[maybe_unused]] XLA_FFI_ExecutionContext* ctx,
                                    [[maybe_unused]] DiagnosticEngine& diagnostic) {
#if defined(__CUDACC__)
    const std::optional<cudaStream_t> stream = CtxDecoding<PlatformStream<cudaStream_t>>::Decode(api, ctx, diagnostic);
    if (!stream) return std::nullopt;
    return Type{*stream};
#else
    return Type{};
#endif
  }
};
