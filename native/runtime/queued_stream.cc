#include "runtime/queued_stream.h"

#include <new>

#include "runtime/thread_pool.h"

namespace seqrisk {
namespace {

// The worker looks this often for the next command before it sleeps; see thread_pool.cc.
constexpr int kSpinsBeforeSleep = 2000;

}  // namespace

Error cancelled_error() {
  return Error::coded("ABORTED", "[stream] expected to finish but received a cancel; start again");
}

std::optional<Error> run_task(const HostTask& task, HostContext context) {
  try {
    return task(context);
  } catch (const Error& error) {
    return error;
  } catch (const std::bad_alloc&) {
    return Error::coded("OUT_OF_MEMORY", "[native] expected memory but received none; use less data");
  } catch (const std::exception& error) {
    return Error::coded("INTERNAL", std::string("[native] ") + error.what());
  }
}

void QueuedStream::start() {
  worker_ = start_thread([this] { work(); });
}

void QueuedStream::enqueue(Command command) {
  // Closed by code of the caller that ran while the arguments were read: nothing runs any more, but nobody may wait.
  if (closed_) {
    if (command.done)
      command.done(Error::coded("CLOSED", "[stream] expected an open stream but received a closed one"));
    return;
  }
  {
    const std::lock_guard lock(mutex_);
    queue_.push_back(std::move(command));
    ++submitted_;
  }
  pending_.fetch_add(1, std::memory_order_release);
  wake_.notify_one();
}

void QueuedStream::work() {
  begin();
  for (;;) {
    if (pending_.load(std::memory_order_acquire) == 0) idle();
    for (int spins = 0; spins < kSpinsBeforeSleep && pending_.load(std::memory_order_acquire) == 0; ++spins) {
      wait_in_turns(spins);
    }
    Command command;
    const uint64_t position = completed_.load(std::memory_order_relaxed);
    bool skip;
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
      if (queue_.empty()) break;
      command = std::move(queue_.front());
      queue_.pop_front();
      skip = position < cancelled_through_;
      running_ = !skip && !command.always;  // a cancel must not cut short what later commands rely on
    }
    pending_.fetch_sub(1, std::memory_order_relaxed);
    if (command.work && (command.always || (!skip && !failed()))) command.work();
    {
      const std::lock_guard lock(mutex_);
      running_ = false;
      rearm();
    }
    // What it keeps alive goes before anybody hears of it: an owner who then lets go is the last.
    Completion done = std::move(command.done);
    command = {};
    if (done) complete(std::move(done), position);
    completed_.fetch_add(1, std::memory_order_release);
  }
  stop();
}

bool QueuedStream::cancelled(uint64_t position) {
  const std::lock_guard lock(mutex_);
  return position < cancelled_through_;
}

void QueuedStream::cancel() {
  const std::lock_guard lock(mutex_);
  cancelled_through_ = submitted_;
  if (running_) interrupt();
}

void QueuedStream::close() {
  if (closed_) return;
  closed_ = true;
  if (!worker_.joinable()) return;
  cancel();
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  worker_.join();
  give_up();
}

}  // namespace seqrisk
