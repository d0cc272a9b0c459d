// Work that goes to a card in one call: what is launched on a stream is recorded as a CUDA graph. Handing launches over
// one by one takes the host some microseconds each.
#pragma once

#include <cuda_runtime_api.h>

#include <atomic>
#include <cstdint>
#include <vector>

namespace seqrisk {

// Of one stream; used by its worker alone, but for `handed_over`.
class GraphRecorder {
 public:
  explicit GraphRecorder(cudaStream_t stream) : stream_(stream) {}
  ~GraphRecorder();
  GraphRecorder(const GraphRecorder&) = delete;
  GraphRecorder& operator=(const GraphRecorder&) = delete;

  // From now on what is launched on the stream is kept, until `hand_over`. The memory that it works on must stay until
  // then.
  cudaError_t begin();
  bool recording() const { return recording_; }
  // Says what is recorded next: graphs of the same commands are alike, and one takes the place of another in little
  // time.
  void note(const void* command) { commands_ = (commands_ ^ reinterpret_cast<uintptr_t>(command)) * kPrime; }
  cudaError_t hand_over();
  // Graphs so far.
  uint64_t handed_over() const { return handed_over_.load(std::memory_order_relaxed); }

 private:
  static constexpr uint64_t kPrime = 1099511628211u;
  static constexpr uint64_t kOffset = 14695981039346656037u;
  static constexpr size_t kReady = 64;

  // A graph that is ready to run, and can be told other sizes and places.
  struct Ready {
    uint64_t commands;
    uint64_t used;
    cudaGraphExec_t graph;
  };

  cudaError_t launch(cudaGraph_t graph);
  Ready& ready_of(uint64_t commands);

  const cudaStream_t stream_;
  bool recording_ = false;
  uint64_t commands_ = kOffset;  // a hash
  uint64_t clock_ = 0;
  std::vector<Ready> ready_;
  std::atomic<uint64_t> handed_over_{0};
};

}  // namespace seqrisk
