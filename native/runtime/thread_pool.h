// The threads of one CPU stream. One caller at a time. A job's tasks are cut into shares, and a thread begins with the
// same share in every job, then takes from the others': kernels cut their work by rows, so that what a thread reads is
// mostly what it wrote a kernel ago, and lies in its own cache.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <thread>
#include <vector>

#include "ops/workers.h"

namespace seqrisk {

class ThreadPool final : public Workers {
 public:
  // The calling thread counts as one. Throws Error with code NO_THREADS.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int count() const override { return count_; }
  // Ends the threads; nothing runs any more.
  void stop();

  // Skips what has not been started; stays in force until reset_cancel().
  void cancel() { cancelled_.store(true, std::memory_order_relaxed); }
  void reset_cancel() { cancelled_.store(false, std::memory_order_relaxed); }
  bool cancelled() const { return cancelled_.load(std::memory_order_relaxed); }

 private:
  void run_tasks(int64_t tasks, Call call, void* body) override;
  void run_slice(int64_t first, int64_t tasks, Call call, void* body);
  void help(int worker);
  void claim_tasks(uint32_t job, int worker);

  // Job number in the high half, next task in the low half: a helper that comes late cannot claim from a later job
  // with an earlier job's function.
  struct alignas(64) Share {
    std::atomic<uint64_t> ticket{0};
  };
  // The first task of a share; of the one behind the last: all tasks.
  int64_t share_begin(int64_t share, int64_t tasks) const {
    return tasks * share / static_cast<int64_t>(shares_.size());
  }
  void claim_from(size_t share, uint32_t job, int worker);

  const int count_;
  std::vector<Share> shares_;
  std::atomic<int64_t> finished_{0};
  std::atomic<uint32_t> announced_{0};  // the current job's number; helpers wait on it
  std::atomic<bool> cancelled_{false};
  std::atomic<bool> stopping_{false};
  std::atomic<int64_t> tasks_{0};
  int64_t first_ = 0;  // what the job's task 0 is called with
  Call call_ = nullptr;
  void* body_ = nullptr;
  std::vector<std::thread> helpers_;
};

// Starts a thread, or throws Error with code NO_THREADS.
std::thread start_thread(std::function<void()> body);

// One turn of a loop that waits for another thread. Now and then the core goes to whoever else wants it: that may be
// the very thread, where the system put both on one core.
void wait_in_turns(int spins);

}  // namespace seqrisk
