// A stream on an NVIDIA card. Its worker hands commands to a CUDA stream; a second thread waits for what the host is to
// see and calls completions, so that the card never waits for the host.
#pragma once

#include <cuda_runtime_api.h>

#include <array>

#include "kernels/cuda/launch.h"
#include "runtime/cuda_device.h"
#include "runtime/cuda_graphs.h"
#include "runtime/cuda_staging.h"
#include "runtime/queued_stream.h"
#include "runtime/thread_pool.h"

namespace seqrisk {

class CudaStream final : public QueuedStream {
 public:
  explicit CudaStream(const CudaOptions& options);
  ~CudaStream() override;

  const char* device() const override { return "cuda"; }
  const char* variant() const override { return variant_.c_str(); }
  int threads() const override { return 1; }
  bool has_scratch() const override { return false; }
  bool has_bfloat16() const override { return launch_.bfloat16; }

  Block* allocate(size_t bytes, const char* where) override;
  void release(Block* block) override;
  void upload(std::byte* device, const void* host, size_t bytes) override;
  void download(void* host, const std::byte* device, size_t bytes, Completion done) override;
  void copy(std::byte* to, const std::byte* from, size_t bytes) override;
  void fill(std::byte* device, uint32_t pattern, size_t words) override;
  void fence(Completion done) override;
  void run(HostTask task, Completion done) override;
  Fault* fault() override { return nullptr; }  // kernels record in the card's memory
  AllocatorStats memory() const override { return allocator_.stats(); }
  uint64_t graphs() const override { return recorder_ ? recorder_->handed_over() : 0; }
  void fail_allocation(uint64_t after) override { allocator_.fail_after(after); }

 protected:
  void submit_bytes(Kernel kernel, const void* arguments, size_t bytes, std::shared_ptr<const void> keep) override;
  bool failed() const override { return error_.has_value(); }
  void complete(Completion done, uint64_t position) override;
  void interrupt() override;
  void rearm() override;
  void begin() override;
  void idle() override { hand_over(); }
  void stop() override;
  void give_up() override;

 private:
  // Card memory; what is given back is freed by the worker, behind the work that uses it.
  class Memory final : public MemorySource {
   public:
    explicit Memory(CudaStream& stream) : stream_(stream) {}
    std::byte* allocate(size_t bytes) override;
    void free(std::byte* data, size_t bytes) override;
    QueueClock settle(const QueueClock& clock) override;

   private:
    CudaStream& stream_;
  };

  // The card, for tasks on this stream.
  class TaskCard final : public Card {
   public:
    explicit TaskCard(CudaStream& stream) : stream_(stream) {}
    void upload(void* card, const void* host, size_t bytes) override;
    void copy(void* to, const void* from, size_t bytes) override;
    void clear(void* card, size_t bytes) override;
    bool download(void* host, const void* card, size_t bytes) override;

   private:
    void launch_bytes(Kernel kernel, const void* arguments) override { stream_.run_kernel(kernel, arguments); }
    void launch_bytes(CardKernel kernel, const void* arguments) override { stream_.run_kernel(kernel, arguments); }

    CudaStream& stream_;
  };

  void open(const CudaOptions& options);
  void use_device() const;
  void run_kernel(Kernel kernel, const void* arguments);
  void run_kernel(CardKernel kernel, const void* arguments);
  void after_launch();
  void check(cudaError_t status, const char* what);
  void record();
  void hand_over();
  void limit_lead();
  void mark();

  const int index_;
  const bool guard_;
  const KernelTable& host_kernels_;  // for tasks
  std::string variant_;
  Memory memory_;
  Allocator allocator_;
  cuda::Launch launch_;
  std::optional<Error> error_;  // the first since the last completion; the worker's own

  // The worker marks where it is every kLeadCommands commands, or behind the graph that they went into, and waits there
  // until the card has passed the mark that is kLeadMarks older: a cancel is felt soon.
  static constexpr int kLeadMarks = 4;
  static constexpr int kLeadCommands = 16;
  std::array<cudaEvent_t, kLeadMarks> lead_{};
  size_t next_mark_ = 0;
  int unmarked_ = 0;  // commands since the last mark

  // A graph is begun when as many commands wait as it takes: then launching is what the others wait for. It ends before
  // the next completion, so that the graphs of one training step are like those of the next.
  static constexpr int kGraphCommands = 32;
  std::unique_ptr<GraphRecorder> recorder_;  // null: launches go one by one
  int recorded_ = 0;                         // commands of the graph

  std::unique_ptr<ThreadPool> pool_;  // for work on the host
  TaskCard task_card_;
  std::byte* pinned_ = nullptr;  // where downloads of tasks land
  std::unique_ptr<UploadRing> uploads_;
  std::unique_ptr<Landing> landing_;
};

}  // namespace seqrisk
