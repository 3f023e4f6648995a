// A bump allocator over a workspace buffer. The same code lays a workspace out and measures it (null
// base), so the reported size and the used size cannot differ.
#pragma once

#include <cstddef>
#include <cstdint>

namespace jaxsparse {

// Scratch memory that the caller owns.
struct Workspace {
  void* data = nullptr;
  int64_t bytes = 0;
};

class Arena {
 public:
  explicit Arena(void* base = nullptr) : base_(static_cast<char*>(base)) {
    if (base_) skip_ = static_cast<size_t>(-reinterpret_cast<uintptr_t>(base_)) & (kAlign - 1);
  }
  template <class T>
  T* take(int64_t count) {
    const size_t bytes = sizeof(T) * static_cast<size_t>(count);
    T* out = base_ ? reinterpret_cast<T*>(base_ + skip_ + used_) : nullptr;
    used_ += (bytes + kAlign - 1) & ~(kAlign - 1);
    return out;
  }
  // Bytes to ask for: what was taken and the slack for aligning the start.
  int64_t bytes() const { return static_cast<int64_t>(used_ + kAlign); }

 private:
  static constexpr size_t kAlign = 64;
  char* base_;
  size_t skip_ = 0;
  size_t used_ = 0;
};

}  // namespace jaxsparse
