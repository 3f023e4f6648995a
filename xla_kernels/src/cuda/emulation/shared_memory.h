// The shared memory of an emulated block: every array is an allocation of its own.
#pragma once

#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "scheduler.h"

namespace jaxsparse::emulation {

class SharedMemory {
 public:
  explicit SharedMemory(int64_t dynamic_bytes) { array(nullptr, dynamic_bytes); }

  // The array that `key` stands for; a new one is poisoned.
  void* array(const void* key, int64_t bytes) {
    for (Array& a : arrays_)
      if (a.key == key) return a.data.get();
    arrays_.push_back({key, bytes, std::unique_ptr<char[]>(new char[static_cast<size_t>(bytes) + kGuardBytes])});
    poison(arrays_.back());
    return arrays_.back().data.get();
  }
  void* dynamic() { return arrays_.front().data.get(); }

  int64_t bytes() const {
    int64_t total = 0;
    for (const Array& a : arrays_) total += a.bytes;
    return total;
  }

  // For the next block, to which it holds nothing.
  void poison() {
    for (Array& a : arrays_) poison(a);
  }

  // Throws if the block wrote past an end.
  void check() const {
    for (const Array& a : arrays_)
      for (size_t i = 0; i < kGuardBytes; ++i)
        if (a.data[static_cast<size_t>(a.bytes) + i] != kGuard)
          throw Error("a kernel wrote past the end of a shared array of " + std::to_string(a.bytes) + " bytes");
  }

 private:
  struct Array {
    const void* key;
    int64_t bytes;
    std::unique_ptr<char[]> data;
  };

  static void poison(Array& a) {
    std::memset(a.data.get(), kPoison, static_cast<size_t>(a.bytes));
    std::memset(a.data.get() + a.bytes, kGuard, kGuardBytes);
  }

  static constexpr int kPoison = 0xab;
  static constexpr char kGuard = 0x5c;
  // AddressSanitizer guards the allocation itself, and says where it was left.
#if defined(__SANITIZE_ADDRESS__)
  static constexpr size_t kGuardBytes = 0;
#else
  static constexpr size_t kGuardBytes = 64;
#endif

  std::vector<Array> arrays_;
};

}  // namespace jaxsparse::emulation
