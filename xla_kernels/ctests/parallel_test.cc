#include "core/parallel.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <set>
#include <stdexcept>
#include <vector>

#include "pools.h"

namespace jaxsparse {
namespace {

using test::BusyPool;
using test::LatePool;
using test::ThreadPool;

template <class Pool>
void expect_each_once(Pool& pool, int64_t items, int64_t grain) {
  std::vector<std::atomic<int>> hits(static_cast<size_t>(items));
  parallel_for(pool, items, grain, [&](int64_t i, int worker) {
    ASSERT_GE(worker, 0);
    ASSERT_LT(worker, kMaxWorkers);
    ++hits[static_cast<size_t>(i)];
  });
  for (auto& hit : hits) EXPECT_EQ(hit.load(), 1);
}

TEST(ParallelFor, RunsEachItemOnce) {
  SerialPool serial;
  BusyPool busy;
  for (int64_t items : {0, 1, 2, 7, 255, 256, 257, 5000}) {
    for (int64_t grain : {0, 1, 3, 256}) {
      for (int threads : {1, 2, 4}) {
        ThreadPool pool(threads);
        expect_each_once(pool, items, grain);
      }
      expect_each_once(serial, items, grain);
      expect_each_once(busy, items, grain);
    }
  }
}

TEST(ParallelFor, OneWorkerGoesInAscendingOrder) {
  BusyPool pool;
  std::vector<int64_t> seen;
  parallel_for(pool, 100, 7, [&](int64_t i, int) { seen.push_back(i); });
  for (int64_t i = 0; i < 100; ++i) EXPECT_EQ(seen[static_cast<size_t>(i)], i);
}

TEST(ParallelFor, WorkersInARegionAreDistinct) {
  ThreadPool pool(8);
  for (int repeat = 0; repeat < 20; ++repeat) {
    std::atomic<int> inside[kMaxWorkers] = {};
    std::atomic<bool> clash{false};
    parallel_for(pool, 64, 1, [&](int64_t, int worker) {
      if (inside[worker].fetch_add(1) != 0) clash = true;
      std::this_thread::yield();
      inside[worker].fetch_sub(1);
    });
    EXPECT_FALSE(clash);
  }
}

TEST(ParallelFor, NeverMoreThanTheMaximum) {
  struct HugePool : BusyPool {
    int64_t num_threads() const { return 1000; }
  } pool;
  EXPECT_EQ(worker_count(pool, 1000), kMaxWorkers);
  EXPECT_EQ(worker_count(pool, 3), 3);
  EXPECT_EQ(worker_count(pool, 0), 1);
}

TEST(ParallelFor, ExceptionReachesTheCaller) {
  for (int threads : {1, 4}) {
    ThreadPool pool(threads);
    for (int64_t bad : {0, 50, 99}) {
      EXPECT_THROW(parallel_for(pool, 100, 1,
                                [&](int64_t i, int) {
                                  if (i == bad) throw std::runtime_error("bad item");
                                }),
                   std::runtime_error);
    }
    expect_each_once(pool, 100, 3);  // and the pool is still good
  }
  SerialPool serial;
  EXPECT_THROW(parallel_for(serial, 3, 1, [](int64_t, int) { throw std::logic_error("x"); }), std::logic_error);
}

TEST(ParallelFor, ManyExceptionsAtOnce) {
  ThreadPool pool(4);
  EXPECT_THROW(parallel_for(pool, 100, 1, [](int64_t, int) { throw std::runtime_error("all"); }), std::runtime_error);
}

TEST(ParallelFor, LateHelpersTouchNothing) {
  LatePool pool;
  {
    auto gone = std::make_unique<std::vector<int>>(50, 0);
    parallel_for(pool, 50, 1, [&](int64_t i, int worker) {
      EXPECT_EQ(worker, 0);
      ++(*gone)[static_cast<size_t>(i)];
    });
    for (int hit : *gone) EXPECT_EQ(hit, 1);
  }
  EXPECT_EQ(pool.tasks.size(), 3u);
  pool.run_all();  // ASan and TSan watch
}

// Regions that run on the workers of the pool they schedule on: a latch over scheduled tasks would hang here.
TEST(ParallelFor, NestedOnTheSamePool) {
  for (int threads : {1, 2, 4}) {
    ThreadPool pool(threads);
    std::atomic<int64_t> sum{0};
    parallel_for(pool, 8, 1, [&](int64_t, int) {
      parallel_for(pool, 16, 1, [&](int64_t, int) { parallel_for(pool, 4, 1, [&](int64_t i, int) { sum += i; }); });
    });
    EXPECT_EQ(sum.load(), 8 * 16 * 6);
  }
}

TEST(ParallelFor, ManyCallersShareOnePool) {
  ThreadPool pool(2);
  std::vector<std::thread> callers;
  std::atomic<int64_t> sum{0};
  for (int c = 0; c < 8; ++c) {
    callers.emplace_back([&] {
      for (int repeat = 0; repeat < 50; ++repeat) parallel_for(pool, 20, 1, [&](int64_t i, int) { sum += i; });
    });
  }
  for (auto& caller : callers) caller.join();
  EXPECT_EQ(sum.load(), 8 * 50 * 190);
}

TEST(ParallelFor, CallersThatAreTasksOfThePool) {
  ThreadPool pool(2);
  std::atomic<int> done{0};
  std::atomic<int64_t> sum{0};
  for (int c = 0; c < 16; ++c) {
    pool.Schedule([&] {
      parallel_for(pool, 20, 1, [&](int64_t i, int) { sum += i; });
      ++done;
    });
  }
  const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (done < 16 && std::chrono::steady_clock::now() < limit) std::this_thread::yield();
  ASSERT_EQ(done.load(), 16) << "deadlock";
  EXPECT_EQ(sum.load(), 16 * 190);
}

TEST(RunWorkers, CallerIsWorkerZeroAndOthersAreNumbered) {
  ThreadPool pool(4);
  std::mutex mutex;
  std::multiset<int> seen;
  const auto caller = std::this_thread::get_id();
  run_workers(pool, 4, [&](int worker) {
    std::lock_guard<std::mutex> lock(mutex);
    EXPECT_EQ(worker == 0, std::this_thread::get_id() == caller);
    seen.insert(worker);
  });
  EXPECT_EQ(seen.count(0), 1u);
  for (int worker : seen) EXPECT_EQ(seen.count(worker), 1u);
}

TEST(SpinUntil, SeesAnotherThread) {
  std::atomic<bool> ready{false};
  std::thread thread([&] { ready.store(true, std::memory_order_release); });
  spin_until([&] { return ready.load(std::memory_order_acquire); });
  thread.join();
}

#if defined(__x86_64__)
TEST(SubnormalGuard, ClearsAndRestoresOnEveryWorker) {
  const unsigned before = _mm_getcsr();
  _mm_setcsr(before | 0x8040u);  // as XLA's threads run
  ThreadPool pool(4);
  std::atomic<int> wrong{0};
  parallel_for(pool, 64, 1, [&](int64_t, int) {
    volatile float tiny = 1e-40f;
    volatile float kept = tiny * 1.0f;
    if (kept != tiny || (_mm_getcsr() & 0x8040u)) ++wrong;
  });
  EXPECT_EQ(wrong.load(), 0);
  EXPECT_EQ(_mm_getcsr() & 0x8040u, 0x8040u);
  EXPECT_THROW(parallel_for(pool, 4, 1, [](int64_t, int) { throw std::runtime_error("x"); }), std::runtime_error);
  EXPECT_EQ(_mm_getcsr() & 0x8040u, 0x8040u) << "an exception must not lose the caller's mode";
  _mm_setcsr(before);
}
#endif

}  // namespace
}  // namespace jaxsparse
