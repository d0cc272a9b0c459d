// The CPU's stream: its worker shares each kernel's tasks with a pool of threads.
#pragma once

#include "runtime/queued_stream.h"
#include "runtime/thread_pool.h"

namespace seqrisk {

class CpuStream final : public QueuedStream {
 public:
  explicit CpuStream(const StreamOptions& options);
  ~CpuStream() override { close(); }

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
  AllocatorStats memory() const override { return allocator_.stats(); }
  void fail_allocation(uint64_t after) override { allocator_.fail_after(after); }

 protected:
  void submit_bytes(Kernel kernel, const void* arguments, size_t bytes, std::shared_ptr<const void> keep) override;
  bool failed() const override { return error_.has_value(); }
  void complete(Completion done, uint64_t position) override;
  void interrupt() override { pool_.cancel(); }
  void rearm() override { pool_.reset_cancel(); }
  void give_up() override;

 private:
  void run_kernel(Kernel kernel, const void* arguments);

  const KernelTable& table_;
  const bool guard_;
  HostMemory memory_;
  Allocator allocator_;
  ThreadPool pool_;
  Fault fault_;
  std::optional<Error> error_;  // the first since the last completion; the worker's own
};

}  // namespace seqrisk
