// Where kernels run, and how they are launched.
#pragma once

#include <cstdint>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <string>

#include "../core/arena.h"
#include "../core/portable.h"
#include "dialect.h"

namespace jaxsparse::cuda {

// The order of work on a device. The emulation does all work at once.
struct Stream {
#if defined(__CUDACC__)
  cudaStream_t handle = nullptr;
#endif
};

// What the function of an operation gets: the stream, and scratch memory in it.
struct Device {
  Stream stream;
  Workspace workspace;
};

struct Grid {
  int64_t blocks;
  int threads;
  int64_t shared_bytes = 0;  // dynamic shared memory of a block
};

// The most that a launch may ask for, with up to 48 KiB of static shared memory beside it: sm_86 and sm_89, which run
// what is compiled for sm_80, have 99 KiB for a block.
inline constexpr int64_t kMostDynamicShared = 32 * 1024;

#if defined(__CUDACC__)
inline void check(cudaError_t status, const char* what) {
  if (status != cudaSuccess)
    throw std::runtime_error(std::string(what) + ": " + cudaGetErrorString(status) + " (CUDA error " +
                             std::to_string(static_cast<int>(status)) + ")");
}
#endif

// Launches kernel(arguments...) on as many blocks; none is no launch. Never waits.
template <class... Parameters, class... Arguments>
void launch(const Stream& stream, const Grid& grid, void (*kernel)(Parameters...), Arguments... arguments) {
  static_assert(sizeof...(Parameters) == sizeof...(Arguments));
  if (grid.blocks == 0) return;
  if (grid.blocks < 0 || grid.blocks > std::numeric_limits<int32_t>::max())
    throw std::invalid_argument("a launch of " + std::to_string(grid.blocks) + " blocks");
#if defined(__CUDACC__)
  // Of the kernel on this device, static memory or not; always the same number, for other threads launch it, too.
  if (grid.shared_bytes > 0)
    check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, int{kMostDynamicShared}),
          "dynamic shared memory");
  kernel<<<static_cast<unsigned>(grid.blocks), static_cast<unsigned>(grid.threads),
           static_cast<size_t>(grid.shared_bytes), stream.handle>>>(static_cast<Parameters>(arguments)...);
  check(cudaGetLastError(), "launch");
#else
  static_cast<void>(stream);
  emulation::launch(grid.blocks, grid.threads, grid.shared_bytes,
                    [&] { kernel(static_cast<Parameters>(arguments)...); });
#endif
}

// Sets bytes to 0, in the order of the stream.
inline void clear(const Stream& stream, void* data, int64_t bytes) {
  if (bytes == 0) return;
#if defined(__CUDACC__)
  check(cudaMemsetAsync(data, 0, static_cast<size_t>(bytes), stream.handle), "memset");
#else
  static_cast<void>(stream);
  std::memset(data, 0, static_cast<size_t>(bytes));
#endif
}

// Copies bytes, in the order of the stream, unless they are there already.
inline void copy(const Stream& stream, void* to, const void* from, int64_t bytes) {
  if (bytes == 0 || to == from) return;
#if defined(__CUDACC__)
  check(cudaMemcpyAsync(to, from, static_cast<size_t>(bytes), cudaMemcpyDeviceToDevice, stream.handle), "copy");
#else
  static_cast<void>(stream);
  std::memcpy(to, from, static_cast<size_t>(bytes));
#endif
}

// Blocks of `each` that hold n.
JAXSPARSE_ANYWHERE constexpr int64_t blocks_of(int64_t n, int64_t each) { return (n + each - 1) / each; }

}  // namespace jaxsparse::cuda
