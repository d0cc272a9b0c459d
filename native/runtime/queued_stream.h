// What the streams of all devices share: one worker thread takes commands in order, skips what was cancelled or stands
// behind an error, and counts what it has passed.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

#include "runtime/staging_pool.h"
#include "runtime/stream.h"

namespace seqrisk {

class QueuedStream : public Stream {
 public:
  void cancel() final;
  void close() final;
  bool closed() const final { return closed_; }

 protected:
  struct Command {
    std::function<void()> work;  // runs unless an error or a cancel came before
    Completion done;             // runs always
    bool always = false;         // `work` runs in any case: what later commands rely on
  };

  // The constructor of the device's class starts the worker, its destructor closes: the worker calls what they
  // override.
  void start();
  void enqueue(Command command);
  // Commands that wait.
  uint64_t backlog() const { return pending_.load(std::memory_order_relaxed); }
  StagingPool& staging() { return staging_; }
  QueueClock clock() const { return {submitted_, completed_.load(std::memory_order_acquire)}; }

  // All called on the worker's thread, but for interrupt.
  virtual bool failed() const = 0;                                // since the last completion
  virtual void complete(Completion done, uint64_t position) = 0;  // the command at that position is through
  virtual void interrupt() {}                                     // a cancel came while `work` runs; under the mutex
  virtual void rearm() {}                                         // before the next command; under the mutex
  virtual void begin() {}                                         // the first thing that the worker does
  virtual void idle() {}                                          // nothing waits
  virtual void stop() {}                                          // and the last
  virtual void give_up() {}  // on the owner's thread, once the worker has ended: threads, and memory that nobody has

  // Whether a cancel reached the command at that position.
  bool cancelled(uint64_t position);

 private:
  void work();

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Command> queue_;
  uint64_t submitted_ = 0;  // written by the owner under the mutex
  std::atomic<uint64_t> pending_{0};
  std::atomic<uint64_t> completed_{0};
  uint64_t cancelled_through_ = 0;  // under the mutex
  bool running_ = false;            // under the mutex
  bool stopping_ = false;           // under the mutex
  bool closed_ = false;
  StagingPool staging_;
  std::thread worker_;
};

// Runs a task with the kernels and workers of a processor; what it throws is its error.
std::optional<Error> run_task(const HostTask& task, HostContext context);

// What a completion gets for work that a cancel reached.
Error cancelled_error();

}  // namespace seqrisk
