// Runs the threads of a CUDA block on the CPU, one at a time, in an order that a seed decides.
//
// Every thread of a block is a fiber. It runs until it has to wait: at a barrier, or for the other lanes of its warp.
// Then another one goes on, of a warp that the seed prefers; preferences change now and then. So a kernel that relies
// on an order that CUDA does not promise gives different results for different seeds, or reads shared memory that
// nobody has written yet: it is filled with a pattern before every block. Blocks run one after the other, in shuffled
// order.
//
// These are errors, which end the launch with an exception: threads of a block that wait at different barriers, or
// leave while others wait; lanes that meet in different warp operations, or with different masks; writing past the end
// of a shared array. AddressSanitizer sees the arrays, too: each is an allocation of its own.
#pragma once

#include <cstdint>
#include <functional>
#include <stdexcept>
#include <string>

namespace jaxsparse::emulation {

struct Error : std::logic_error {
  using std::logic_error::logic_error;
};

inline constexpr int kWarpSize = 32;
inline constexpr int kMaxThreads = 1024;
// Of one block on sm_86 and sm_89, which run what is compiled for sm_80.
inline constexpr int64_t kMaxSharedBytes = 99 * 1024;

struct Index {
  unsigned x = 0, y = 0, z = 0;
};

// What a thread of the running kernel knows about itself.
struct Place {
  Index thread, block, threads, blocks;
};
const Place& place();

// Where in the source a barrier or a warp operation stands: all that meet there must come from one place.
struct Site {
  const char* file;
  int line;
  bool operator==(const Site& other) const { return line == other.line && file == other.file; }
};

// All threads of the block meet; returns how many came with a true `vote`.
int meet_block(Site site, bool vote);

// All lanes of `mask` meet and show each other a number; returns all 32 of them. The array holds until the lane's next
// operation.
const uint64_t* meet_warp(Site site, uint32_t mask, uint64_t number);

// The shared array that `key` stands for: one for the block, however often it is asked for.
void* shared_array(const void* key, int64_t bytes);
// The dynamic shared memory of the launch.
void* dynamic_shared();

void launch(int64_t blocks, int threads, int64_t dynamic_bytes, const std::function<void()>& kernel);

// The order of warps and blocks in the launches to come, of the calling thread and of all others.
void set_seed(uint64_t seed);

}  // namespace jaxsparse::emulation
