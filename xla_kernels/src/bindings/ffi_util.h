// What every FFI handler shares: argument checks, the dispatch on the element type, error translation.
// Python validates with better messages first; these checks are the backstop that keeps every access in
// bounds whoever calls.
#pragma once

#include <array>
#include <initializer_list>
#include <limits>
#include <new>
#include <optional>
#include <stdexcept>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>

#include "../core/arena.h"
#include "../core/dtype.h"
#include "../direct/grid.h"
#include "xla/ffi/api/ffi.h"

namespace jaxsparse {

namespace ffi = ::xla::ffi;

// What a handler works on, its first parameter: FfiPool on the CPU, cuda::Stream (ffi_cuda.h) on the GPU. A handler
// that is written once for both is a template over it.
struct FfiPool {
  ffi::ThreadPool pool;
  int64_t num_threads() const { return pool.num_threads(); }
  template <class F>
  void Schedule(F&& f) {
    pool.Schedule(std::forward<F>(f));
  }
};
template <class Context>
inline constexpr bool kOnHost = std::is_same_v<Context, FfiPool>;

// The binding that a handler's parameters spell out: the context, operands and results of any dtype, and one
// attribute for each name, all in their order.
template <size_t i, class... Parameters, class Binding, size_t attributes>
auto bind_parameters(Binding&& before, const std::array<const char*, attributes>& names) {
  const auto bind_one = [&] {
    constexpr size_t kFirstAttribute = sizeof...(Parameters) - attributes;
    using Parameter = std::tuple_element_t<i, std::tuple<Parameters...>>;
    if constexpr (i >= kFirstAttribute)
      return std::move(before).template Attr<Parameter>(names[i - kFirstAttribute]);
    else if constexpr (i == 0)
      return std::move(before).template Ctx<Parameter>();
    else if constexpr (std::is_same_v<Parameter, ffi::AnyBuffer>)
      return std::move(before).template Arg<Parameter>();
    else
      return std::move(before).template Ret<ffi::AnyBuffer>();
  };
  if constexpr (i + 1 == sizeof...(Parameters))
    return bind_one();
  else
    return bind_parameters<i + 1, Parameters...>(bind_one(), names);
}
template <class... Parameters, class... Names>
auto bind(ffi::Error (*)(Parameters...), Names... attributes) {
  return bind_parameters<0, Parameters...>(ffi::Ffi::Bind(), std::array<const char*, sizeof...(Names)>{attributes...});
}

// Defines the handler of handlers.h: its function, then the names of its attributes.
#define JAXSPARSE_HANDLER(symbol, ...) \
  XLA_FFI_DEFINE_HANDLER_SYMBOL(symbol, JAXSPARSE_FIRST(__VA_ARGS__, ), ::jaxsparse::bind(__VA_ARGS__))
#define JAXSPARSE_FIRST(first, ...) first

inline void require(bool ok, const char* what) {
  if (!ok) throw std::invalid_argument(what);
}

// Calls f(T{}) for the element type's storage type.
template <class F>
void dispatch(ffi::DataType type, F&& f) {
  switch (type) {
    case ffi::F32:
      return f(float{});
    case ffi::F64:
      return f(double{});
    case ffi::BF16:
      return f(BF16{});
    case ffi::F16:
      return f(F16{});
    default:
      throw std::invalid_argument("values must be float32, float64, bfloat16 or float16");
  }
}

// Nothing may escape a handler.
template <class F>
ffi::Error guarded(const char* op, F&& f) {
  try {
    f();
    return ffi::Error::Success();
  } catch (const std::invalid_argument& e) {
    return ffi::Error::InvalidArgument(std::string(op) + ": " + e.what());
  } catch (const std::bad_alloc&) {
    return ffi::Error(ffi::ErrorCode::kResourceExhausted, std::string(op) + ": out of host memory");
  } catch (const std::exception& e) {
    return ffi::Error::Internal(std::string(op) + ": " + e.what());
  }
}

template <class Buffer>
int64_t dim(const Buffer& buffer, size_t i) {
  return buffer.dimensions()[i];
}

inline bool same_shape(ffi::Span<const int64_t> a, ffi::Span<const int64_t> b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i)
    if (a[i] != b[i]) return false;
  return true;
}

// A list buffer: keys [batch, channels, capacity] with values of the same shape.
template <class Keys, class Values>
void require_lists(const Keys& keys, const Values& values) {
  require(keys.element_type() == ffi::S32, "keys must be int32");
  require(keys.dimensions().size() == 3, "keys must have rank 3: [batch, channels, capacity]");
  require(same_shape(keys.dimensions(), values.dimensions()), "keys and values must have one shape");
  require(dim(keys, 2) >= 1, "the capacity must be at least 1");
}

// What stands for an operand that is not there: an empty vector.
template <class Buffer>
bool is_absent(const Buffer& buffer) {
  return buffer.dimensions().size() == 1 && dim(buffer, 0) == 0;
}

// nnz [batch, channels].
template <class Buffer>
void require_counts(const Buffer& counts, int64_t lists) {
  require(counts.element_type() == ffi::S32, "nnz must be int32");
  require(static_cast<int64_t>(counts.element_count()) == lists, "nnz has the wrong shape");
}

inline void require_volume(int64_t volume) {
  require(volume >= 1 && volume <= std::numeric_limits<int32_t>::max(), "a volume must have 1 to 2^31 - 1 voxels");
}

inline int64_t product(ffi::Span<const int64_t> v) {
  int64_t p = 1;
  for (size_t i = 0; i < v.size(); ++i) p = checked_product(p, v[i]);
  return p;
}

template <class T, class Buffer>
const T* data(const Buffer& buffer) {
  return static_cast<const T*>(buffer.untyped_data());
}
template <class T, class Buffer>
T* result_data(Buffer& buffer) {
  return static_cast<T*>(buffer->untyped_data());
}

// What the function of an operation takes first. On the CPU that is the pool; a workspace, where there is one, it takes
// as an argument.
template <class Buffer>
FfiPool device_of(const FfiPool& pool, const Buffer&) {
  return pool;
}
template <class Buffer>
Workspace workspace_of(Buffer& buffer) {
  return {buffer->untyped_data(), static_cast<int64_t>(buffer->size_bytes())};
}
// The workspace of a CPU function that needs `bytes`.
template <class Buffer>
void* workspace_of(Buffer& buffer, int64_t bytes) {
  require(static_cast<int64_t>(buffer->size_bytes()) >= bytes, "the workspace is too small");
  return buffer->untyped_data();
}
// Calls run with the workspace on the CPU, which needs bytes(type), and with nothing on the GPU, where the device has
// it.
template <class Context, class T, class Buffer, class Bytes, class Run>
void run_with_workspace([[maybe_unused]] T type, [[maybe_unused]] Buffer& workspace, [[maybe_unused]] Bytes&& bytes,
                        Run&& run) {
  if constexpr (kOnHost<Context>)
    run(workspace_of(workspace, bytes(type)));
  else
    run();
}

}  // namespace jaxsparse

template <>
struct xla::ffi::CtxDecoding<jaxsparse::FfiPool> {
  using Type = jaxsparse::FfiPool;
  static std::optional<Type> Decode(const XLA_FFI_Api* api, XLA_FFI_ExecutionContext* ctx,
                                    DiagnosticEngine& diagnostic) {
    const std::optional<ThreadPool> pool = CtxDecoding<ThreadPool>::Decode(api, ctx, diagnostic);
    if (!pool) return std::nullopt;
    return jaxsparse::FfiPool{*pool};
  }
};
