// The CPU's stream: one worker thread takes commands in order and shares each kernel's tasks with a pool.
#pragma once

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

#include "runtime/stream.h"
#include "runtime/thread_pool.h"

namespace seqrisk {

class CpuStream final : public Stream {
 public:
  explicit CpuStream(const StreamOptions& options);
  ~CpuStream() override;

  const char* device() const override { return "cpu"; }
  const char* variant() const override { return table_.name; }
  int threads() const override { return pool_.count(); }

  Block* allocate(size_t bytes, const char* where) override;
  void release(Block* block) override;
  void upload(std::byte* device, const void* host, size_t bytes) override;
  void download(void* host, const std::byte* device, size_t bytes, Completion done) override;
  void copy(std::byte* to, const std::byte* from, size_t bytes) override;
  void fill(std::byte* device, uint32_t pattern, size_t words) override;
  void fence(Completion done) override;
  void run(HostTask task, Completion done) override;
  Fault* fault() override { return &fault_; }
  void cancel() override;
  void close() override;
  bool closed() const override { return closed_; }
  AllocatorStats memory() const override { return allocator_.stats(); }
  void fail_allocation(uint64_t after) override { allocator_.fail_after(after); }

 protected:
  void submit_bytes(Kernel kernel, const void* arguments, size_t bytes, std::shared_ptr<const void> keep) override;

 private:
  struct Command {
    std::function<void()> work;  // runs unless an error or a cancel came before
    Completion done;             // runs always
    bool always = false;         // `work` runs in any case: what later commands rely on
  };

  void enqueue(Command command);
  void work();
  QueueClock clock() const { return {submitted_, completed_.load(std::memory_order_acquire)}; }
  void run_kernel(Kernel kernel, const void* arguments);

  const KernelTable& table_;
  const bool guard_;
  HostMemory memory_;
  Allocator allocator_;
  ThreadPool pool_;
  Fault fault_;
  std::optional<Error> error_;  // the first since the last completion; the worker's own

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
  std::thread worker_;
};

}  // namespace seqrisk
