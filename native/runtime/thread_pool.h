// The threads of one CPU stream. One caller at a time; tasks are claimed one by one from a shared counter.
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

  int count() const override { return static_cast<int>(helpers_.size()) + 1; }

  // Skips what has not been started; stays in force until reset_cancel().
  void cancel() { cancelled_.store(true, std::memory_order_relaxed); }
  void reset_cancel() { cancelled_.store(false, std::memory_order_relaxed); }
  bool cancelled() const { return cancelled_.load(std::memory_order_relaxed); }

 private:
  void run_tasks(int64_t tasks, Call call, void* body) override;
  void stop();
  void help(int worker);
  void claim_tasks(uint32_t job, int worker);

  // Job number in the high half, next task in the low half: a helper that comes late cannot claim from a later job
  // with an earlier job's function.
  std::atomic<uint64_t> ticket_{0};
  std::atomic<int64_t> finished_{0};
  std::atomic<uint32_t> announced_{0};  // the current job's number; helpers wait on it
  std::atomic<bool> cancelled_{false};
  std::atomic<bool> stopping_{false};
  std::atomic<int64_t> tasks_{0};
  Call call_ = nullptr;
  void* body_ = nullptr;
  std::vector<std::thread> helpers_;
};

// Starts a thread, or throws Error with code NO_THREADS.
std::thread start_thread(std::function<void()> body);

// Tells the processor that this is a waiting loop.
void spin_pause();

}  // namespace seqrisk
