#include "runtime/cuda_graphs.h"

#include <algorithm>

namespace seqrisk {

GraphRecorder::~GraphRecorder() {
  for (const Ready& ready : ready_) {
    if (ready.graph) cudaGraphExecDestroy(ready.graph);
  }
}

cudaError_t GraphRecorder::begin() {
  // Relaxed: other threads allocate memory meanwhile.
  const auto status = cudaStreamBeginCapture(stream_, cudaStreamCaptureModeRelaxed);
  recording_ = status == cudaSuccess;
  commands_ = kOffset;
  return status;
}

cudaError_t GraphRecorder::hand_over() {
  recording_ = false;
  cudaGraph_t graph = nullptr;
  auto status = cudaStreamEndCapture(stream_, &graph);
  if (status != cudaSuccess) {
    cudaGetLastError();  // the status says it
    return status;
  }
  size_t nodes = 0;
  status = cudaGraphGetNodes(graph, nullptr, &nodes);
  if (status == cudaSuccess && nodes > 0) status = launch(graph);
  cudaGraphDestroy(graph);
  return status;
}

cudaError_t GraphRecorder::launch(cudaGraph_t graph) {
  Ready& ready = ready_of(commands_);
  cudaGraphExecUpdateResultInfo info{};
  if (!ready.graph || cudaGraphExecUpdate(ready.graph, graph, &info) != cudaSuccess) {
    cudaGetLastError();  // of another shape: no failure
    if (ready.graph) cudaGraphExecDestroy(ready.graph);
    ready.graph = nullptr;
    const auto status = cudaGraphInstantiate(&ready.graph, graph, 0);
    if (status != cudaSuccess) return status;
  }
  handed_over_.fetch_add(1, std::memory_order_relaxed);
  return cudaGraphLaunch(ready.graph, stream_);
}

// The one of the same commands, or in place of the one that was used longest ago: what runs of it goes on.
GraphRecorder::Ready& GraphRecorder::ready_of(uint64_t commands) {
  const auto found = std::find_if(ready_.begin(), ready_.end(), [&](const Ready& r) { return r.commands == commands; });
  Ready* ready;
  if (found != ready_.end()) {
    ready = &*found;
  } else if (ready_.size() < kReady) {
    ready = &ready_.emplace_back(Ready{commands, 0, nullptr});
  } else {
    ready = &*std::min_element(ready_.begin(), ready_.end(),
                               [](const Ready& a, const Ready& b) { return a.used < b.used; });
    ready->commands = commands;
  }
  ready->used = ++clock_;
  return *ready;
}

}  // namespace seqrisk
