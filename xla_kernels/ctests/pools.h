// A real thread pool with XLA's interface, for tests: num_threads() and Schedule(callable), and no way to wait for a
// task.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

namespace jaxsparse::test {

class ThreadPool {
 public:
  explicit ThreadPool(int threads) : size_(threads) {
    for (int i = 0; i < threads; ++i) threads_.emplace_back([this] { work(); });
  }
  ~ThreadPool() {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      stopping_ = true;
    }
    wake_.notify_all();
    for (auto& thread : threads_) thread.join();
  }
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int64_t num_threads() const { return size_; }

  template <class F>
  void Schedule(F&& task) {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      tasks_.emplace_back(std::forward<F>(task));
    }
    wake_.notify_one();
  }

 private:
  void work() {
    for (;;) {
      std::unique_lock<std::mutex> lock(mutex_);
      wake_.wait(lock, [this] { return stopping_ || !tasks_.empty(); });
      if (tasks_.empty()) return;
      auto task = std::move(tasks_.front());
      tasks_.pop_front();
      lock.unlock();
      task();
    }
  }

  int size_;
  bool stopping_ = false;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::function<void()>> tasks_;
  std::vector<std::thread> threads_;
};

// Says that it has threads, but never runs a task: every pool thread is busy elsewhere.
struct BusyPool {
  int64_t num_threads() const { return 4; }
  template <class F>
  void Schedule(F&&) {}
};

// Keeps the tasks for later: helpers that arrive when the region is long over.
struct LatePool {
  std::vector<std::function<void()>> tasks;
  int64_t num_threads() const { return 4; }
  template <class F>
  void Schedule(F&& task) {
    tasks.emplace_back(std::forward<F>(task));
  }
  void run_all() {
    for (auto& task : tasks) task();
    tasks.clear();
  }
};

}  // namespace jaxsparse::test
