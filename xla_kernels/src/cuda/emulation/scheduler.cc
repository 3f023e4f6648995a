// Its checks would take a switch of stacks for a mistake.
#undef _FORTIFY_SOURCE

#include "scheduler.h"

#include <setjmp.h>
#include <ucontext.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <random>
#include <vector>

#include "../../core/parallel.h"
#include "shared_memory.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

namespace jaxsparse::emulation {
namespace {

constexpr size_t kStackBytes = 128 * 1024;

std::atomic<uint64_t> seed{1};

std::string text(Site site) { return std::string(site.file) + ":" + std::to_string(site.line); }

// A stack that runs threads, one after the other.
struct Fiber {
  ucontext_t context;
  jmp_buf at;  // where it stopped
  bool started = false;
  std::unique_ptr<char[]> stack;  // null: the scheduler's own
  const void* stack_begin = nullptr;
  size_t stack_bytes = 0;
  int thread = -1;  // the one it runs
  void* fake_stack = nullptr;
};

enum class State : uint8_t { kFresh, kReady, kAtBarrier, kInWarp, kDone };

// Lanes that meet; lanes of one warp may do so in several groups, told apart by their masks.
struct Meeting {
  uint32_t mask = 0;
  uint32_t arrived = 0;
  Site site{};
  unsigned generation = 0;
  // Two, for a lane that is fast comes to the next meeting before a slow one has read what this one gave.
  uint64_t numbers[2][kWarpSize];
};

// The stacks of a thread of the host; they outlive the launches. Idle ones wait in Launch::work.
struct Fibers {
  std::vector<std::unique_ptr<Fiber>> all;
  std::vector<Fiber*> idle;
};
thread_local Fibers fibers;

class Launch;
thread_local Launch* running = nullptr;

class Launch {
 public:
  Launch(int64_t blocks, int threads, int64_t dynamic_bytes, const std::function<void()>& kernel)
      : threads_(threads),
        kernel_(kernel),
        random_(seed.load()),
        state_(threads),
        fiber_of_(threads),
        runnable_(threads / kWarpSize),
        preferred_(threads / kWarpSize),
        meetings_(threads / kWarpSize),
        memory_(dynamic_bytes) {
    place_.threads.x = static_cast<unsigned>(threads);
    place_.threads.y = place_.threads.z = place_.blocks.y = place_.blocks.z = 1;
    place_.blocks.x = static_cast<unsigned>(blocks);
    for (size_t w = 0; w < preferred_.size(); ++w) preferred_[w] = static_cast<int>(w);
  }

  void run() {
    SubnormalGuard guard;
    std::vector<unsigned> order(place_.blocks.x);
    for (unsigned b = 0; b < place_.blocks.x; ++b) order[b] = b;
    std::shuffle(order.begin(), order.end(), random_);
    for (unsigned block : order) run_block(block);
  }

  const Place& place() const { return place_; }

  int meet_block(Site site, bool vote) {
    if (gone_ > 0)
      fail([&] { return "a thread waits at " + text(site) + ", but others of its block have left the kernel"; });
    if (at_barrier_ == 0) barrier_site_ = site;
    if (!(barrier_site_ == site))
      fail([&] {
        return "divergent barrier: threads of one block wait at " + text(barrier_site_) + " and at " + text(site);
      });
    votes_ += vote;
    if (++at_barrier_ < threads_) {
      wait(State::kAtBarrier);
      return result_;
    }
    result_ = votes_;
    votes_ = at_barrier_ = 0;
    for (int t = 0; t < threads_; ++t)
      if (t != current_) wake(t);
    return result_;
  }

  const uint64_t* meet_warp(Site site, uint32_t mask, uint64_t number) {
    const int warp = current_ / kWarpSize, lane = current_ % kWarpSize;
    if (!(mask >> lane & 1))
      fail([&] { return std::string("a lane is not in the mask of its own warp operation at ") + text(site); });
    Meeting& m = meeting(warp, mask);
    if (m.arrived == 0) m.site = site;
    if (!(m.site == site))
      fail([&] {
        return "lanes of one warp meet in different operations, at " + text(m.site) + " and at " + text(site);
      });
    for (int l = 0; l < kWarpSize; ++l)
      if (mask >> l & 1 && state_[warp * kWarpSize + l] == State::kDone)
        fail([&] {
          return std::string("a lane in the mask of the warp operation at ") + text(site) + " has left the kernel";
        });
    uint64_t* numbers = m.numbers[m.generation & 1];
    numbers[lane] = number;
    m.arrived |= 1u << lane;
    if (m.arrived != mask) {
      wait(State::kInWarp);
      return numbers;
    }
    m.arrived = 0;
    ++m.generation;
    for (int l = 0; l < kWarpSize; ++l)
      if (mask >> l & 1 && l != lane) wake(warp * kWarpSize + l);
    return numbers;
  }

  void* shared_array(const void* key, int64_t bytes) {
    void* array = memory_.array(key, bytes);
    if (memory_.bytes() > kMaxSharedBytes)
      fail([&] { return "a block takes " + std::to_string(memory_.bytes()) + " bytes of shared memory"; });
    return array;
  }
  void* dynamic_shared() { return memory_.dynamic(); }

  // One round of a fiber: runs fresh threads until none is left that should go next, then waits for the next round.
  void work(Fiber& self) {
    for (int next = current_;;) {
      begin(next, self);
      kernel_();
      finish(next);
      next = pick();
      if (next >= 0 && state_[next] == State::kFresh) continue;
      fibers.idle.push_back(&self);
      return switch_to(self, next < 0 ? scheduler_ : *fiber_of_[next], next);
    }
  }

 private:
  void run_block(unsigned block) {
    place_.block.x = block;
    std::fill(state_.begin(), state_.end(), State::kFresh);
    std::fill(runnable_.begin(), runnable_.end(), ~0u);
    for (auto& of_warp : meetings_) of_warp.clear();
    at_barrier_ = votes_ = gone_ = 0;
    memory_.poison();
    prefer();
    while (gone_ < threads_) {
      const int next = pick();
      if (next < 0) {
        throw Error("deadlock in block " + std::to_string(block) + ": " + std::to_string(at_barrier_) + " of " +
                    std::to_string(threads_) + " threads wait at a barrier, the others for lanes that never come");
      }
      switch_to(scheduler_, fiber_for(next), next);
      if (!error_.empty()) throw Error(error_);
    }
    memory_.check();
  }

  // ---- Which thread goes next
  void prefer() {
    std::shuffle(preferred_.begin(), preferred_.end(), random_);
    first_lane_ = static_cast<int>(random_() % kWarpSize);
    downwards_ = random_() % 2 == 0;
  }
  int pick() {
    if (random_() % 64 == 0) prefer();
    for (int warp : preferred_) {
      const uint32_t lanes = runnable_[static_cast<size_t>(warp)];
      if (!lanes) continue;
      const uint64_t twice = uint64_t{lanes} << 32 | lanes;
      const auto turned = static_cast<uint32_t>(twice >> first_lane_);
      const int found = downwards_ ? 31 - __builtin_clz(turned) : __builtin_ctz(turned);
      return warp * kWarpSize + (found + first_lane_) % kWarpSize;
    }
    return -1;
  }
  void wake(int thread) {
    state_[thread] = State::kReady;
    runnable_[thread / kWarpSize] |= 1u << thread % kWarpSize;
  }
  void rest(int thread, State state) {
    state_[thread] = state;
    runnable_[thread / kWarpSize] &= ~(1u << thread % kWarpSize);
  }
  void finish(int thread) {
    rest(thread, State::kDone);
    ++gone_;
    if (at_barrier_ > 0)
      fail([&] {
        return "divergent barrier: a thread leaves the kernel while others of its block wait at " + text(barrier_site_);
      });
  }

  // ---- Fibers
  void begin(int thread, Fiber& fiber) {
    fiber.thread = thread;
    fiber_of_[thread] = &fiber;
    current_ = thread;
    place_.thread.x = static_cast<unsigned>(thread);
  }
  void wait(State state) {
    Fiber& self = *fiber_of_[current_];
    rest(current_, state);
    const int next = pick();
    switch_to(self, next < 0 ? scheduler_ : fiber_for(next), next);
  }
  Fiber& fiber_for(int thread) { return state_[thread] == State::kFresh ? idle_fiber() : *fiber_of_[thread]; }
  __attribute__((noinline)) void switch_to(Fiber& from, Fiber& to, int thread) {
    if (&to != &scheduler_) begin(thread, to);
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(&from.fake_stack, to.stack_begin, to.stack_bytes);
    swapcontext(&from.context, &to.context);
    running->arrive(from);
#else
    // swapcontext asks the kernel for the signal mask every time, so it is for the first time only.
    from.started = true;
    if (_setjmp(from.at)) return;
    if (to.started) _longjmp(to.at, 1);
    swapcontext(&from.context, &to.context);
#endif
  }
#if defined(__SANITIZE_ADDRESS__)
  // The first switch of a launch comes from the scheduler, and says where its stack is.
  void arrive(Fiber& self) {
    const void* begin;
    size_t bytes;
    __sanitizer_finish_switch_fiber(self.fake_stack, &begin, &bytes);
    if (scheduler_.stack_begin) return;
    scheduler_.stack_begin = begin;
    scheduler_.stack_bytes = bytes;
  }
#endif
  static Fiber& idle_fiber() {
    if (fibers.idle.empty()) {
      fibers.all.push_back(std::make_unique<Fiber>());
      prepare(*fibers.all.back());
      return *fibers.all.back();
    }
    Fiber* fiber = fibers.idle.back();
    fibers.idle.pop_back();
    return *fiber;
  }
  __attribute__((noinline)) static void prepare(Fiber& fiber) {
    fiber.stack.reset(new char[kStackBytes]);
    fiber.stack_begin = fiber.stack.get();
    fiber.stack_bytes = kStackBytes;
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = fiber.stack.get();
    fiber.context.uc_stack.ss_size = kStackBytes;
    fiber.context.uc_link = nullptr;
    makecontext(&fiber.context, &Launch::enter, 0);
  }
  static void enter() {
    Fiber& self = *running->fiber_of_[running->current_];
#if defined(__SANITIZE_ADDRESS__)
    running->arrive(self);
#endif
    for (;;) running->work(self);
  }

  // Nothing may be left to destroy on a stack that nobody comes back to, so the text is made in a call of its own.
  template <class Text>
  [[noreturn]] void fail(Text&& what) {
    error_ = what();
    switch_to(*fiber_of_[current_], scheduler_, current_);
    std::abort();  // never resumed
  }

  Meeting& meeting(int warp, uint32_t mask) {
    auto& of_warp = meetings_[static_cast<size_t>(warp)];
    for (auto& m : of_warp)
      if (m->mask == mask) return *m;
    of_warp.push_back(std::make_unique<Meeting>());
    of_warp.back()->mask = mask;
    return *of_warp.back();
  }

  const int threads_;
  const std::function<void()>& kernel_;
  std::mt19937_64 random_;
  Place place_;
  int current_ = -1;

  std::vector<State> state_;
  std::vector<Fiber*> fiber_of_;
  std::vector<uint32_t> runnable_;  // by warp: lanes that are fresh or ready
  std::vector<int> preferred_;      // warps, the next one first
  int first_lane_ = 0;
  bool downwards_ = false;

  Site barrier_site_{};
  int at_barrier_ = 0, votes_ = 0, result_ = 0, gone_ = 0;
  std::vector<std::vector<std::unique_ptr<Meeting>>> meetings_;

  SharedMemory memory_;

  Fiber scheduler_;
  std::string error_;
};

Launch& launched() {
  if (!running) throw Error("a CUDA function was called outside of a kernel");
  return *running;
}

}  // namespace

const Place& place() { return launched().place(); }
int meet_block(Site site, bool vote) { return launched().meet_block(site, vote); }
const uint64_t* meet_warp(Site site, uint32_t mask, uint64_t number) {
  return launched().meet_warp(site, mask, number);
}
void* shared_array(const void* key, int64_t bytes) { return launched().shared_array(key, bytes); }
void* dynamic_shared() { return launched().dynamic_shared(); }
void set_seed(uint64_t s) { seed = s; }

void launch(int64_t blocks, int threads, int64_t dynamic_bytes, const std::function<void()>& kernel) {
  if (threads < kWarpSize || threads > kMaxThreads || threads % kWarpSize != 0)
    throw Error("a block must have whole warps, at most 1024 threads; it has " + std::to_string(threads));
  if (dynamic_bytes > kMaxSharedBytes)
    throw Error("a block must take at most " + std::to_string(kMaxSharedBytes) + " bytes of shared memory");
  Launch run(blocks, threads, dynamic_bytes, kernel);
  running = &run;
  try {
    run.run();
  } catch (...) {
    running = nullptr;
    fibers = {};  // those that hang in the middle of the kernel are of no use
    throw;
  }
  running = nullptr;
}

}  // namespace jaxsparse::emulation
