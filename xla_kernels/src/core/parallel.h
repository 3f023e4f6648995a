// Worker regions over any pool with num_threads() and Schedule(callable), and the guard that makes
// subnormals ordinary numbers.
#pragma once

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>

#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>
#endif

namespace jaxsparse {

// XLA's CPU threads run with flush-to-zero and denormals-are-zero set; results must not depend on it.
class SubnormalGuard {
 public:
#if defined(__x86_64__) || defined(_M_X64)
  SubnormalGuard() : saved_(_mm_getcsr()) { _mm_setcsr(saved_ & ~0x8040u); }
  ~SubnormalGuard() { _mm_setcsr(saved_); }

 private:
  unsigned saved_;
#elif defined(__aarch64__)
  SubnormalGuard() {
    asm volatile("mrs %0, fpcr" : "=r"(saved_));
    asm volatile("msr fpcr, %0" ::"r"(saved_ & ~(uint64_t{1} << 24)));
  }
  ~SubnormalGuard() { asm volatile("msr fpcr, %0" ::"r"(saved_)); }

 private:
  uint64_t saved_;
#else
  SubnormalGuard() {}
#endif
  SubnormalGuard(const SubnormalGuard&) = delete;
  SubnormalGuard& operator=(const SubnormalGuard&) = delete;
};

// At most this many threads work for one call; the bound makes the workspace a closed formula.
inline constexpr int kMaxWorkers = 16;

struct SerialPool {
  int64_t num_threads() const { return 1; }
  template <class F>
  void Schedule(F&& f) {
    f();
  }
};

namespace internal {
struct WorkerGate {
  std::mutex mutex;
  std::condition_variable idle;
  int entered = 1;  // the caller is worker 0
  int active = 0;
  bool closed = false;
  std::exception_ptr error;

  // A helper that comes late finds the gate closed and leaves; the caller never waits for a helper
  // that has not started, so a region may run on a worker of the very pool it schedules on.
  int enter() {
    std::lock_guard<std::mutex> lock(mutex);
    if (closed) return -1;
    ++active;
    return entered++;
  }
  void leave(std::exception_ptr e) {
    std::lock_guard<std::mutex> lock(mutex);
    if (e && !error) error = e;
    if (--active == 0) idle.notify_all();
  }
  void close_and_wait(std::exception_ptr e) {
    std::unique_lock<std::mutex> lock(mutex);
    closed = true;
    if (e && !error) error = e;
    idle.wait(lock, [this] { return active == 0; });
    if (error) std::rethrow_exception(error);
  }
};
}  // namespace internal

// Runs body(worker) on the calling thread (worker 0) and on up to `workers - 1` pool threads. The body
// shares work through an atomic counter, so it is correct whichever helpers arrive.
template <class Pool, class Body>
void run_workers(Pool& pool, int64_t workers, Body&& body) {
  if (workers <= 1) {
    SubnormalGuard guard;
    body(0);
    return;
  }
  auto gate = std::make_shared<internal::WorkerGate>();
  auto* shared_body = &body;
  for (int64_t i = 1; i < workers; ++i) {
    pool.Schedule([gate, shared_body] {
      const int worker = gate->enter();
      if (worker < 0) return;
      std::exception_ptr error;
      try {
        SubnormalGuard guard;
        (*shared_body)(worker);
      } catch (...) {
        error = std::current_exception();
      }
      gate->leave(error);
    });
  }
  std::exception_ptr error;
  try {
    SubnormalGuard guard;
    body(0);
  } catch (...) {
    error = std::current_exception();
  }
  gate->close_and_wait(error);
}

template <class Pool>
int64_t worker_count(const Pool& pool, int64_t items) {
  return std::max<int64_t>(1, std::min<int64_t>({static_cast<int64_t>(pool.num_threads()), kMaxWorkers, items}));
}

// body(item, worker) for item in [0, items), items claimed in ascending order, `grain` at a time.
template <class Pool, class Body>
void parallel_for(Pool& pool, int64_t items, int64_t grain, Body&& body) {
  if (items <= 0) return;
  grain = std::max<int64_t>(1, grain);
  std::atomic<int64_t> next{0};
  run_workers(pool, worker_count(pool, (items + grain - 1) / grain), [&](int worker) {
    for (;;) {
      const int64_t begin = next.fetch_add(grain, std::memory_order_relaxed);
      if (begin >= items) return;
      const int64_t end = std::min(items, begin + grain);
      for (int64_t i = begin; i < end; ++i) body(i, worker);
    }
  });
}

// Waits for a condition that a running thread is about to make true.
template <class Condition>
void spin_until(Condition&& condition) {
  for (int spins = 0; !condition(); ++spins) {
    if (spins < 256) {
#if defined(__x86_64__) || defined(_M_X64)
      _mm_pause();
#endif
    } else {
      std::this_thread::yield();
    }
  }
}

}  // namespace jaxsparse
