// Recordings of the emulated card: calls are kept with their arguments, and run when their graph is launched.

#include <cuda_runtime_api.h>

#include <string>
#include <utility>
#include <vector>

#include "tests/emulator/emulator.h"

struct CUgraph_st {
  std::vector<emulator::Call> calls;
};
struct CUgraphExec_st {
  std::vector<emulator::Call> calls;
};

namespace {

thread_local CUgraph_st* recording = nullptr;
// A call came that no graph can hold.
thread_local bool is_spoilt = false;

cudaError_t spoil() {
  is_spoilt = true;
  return cudaErrorStreamCaptureInvalidated;
}

}  // namespace

namespace emulator {

bool keep(Call call) {
  if (!recording) return false;
  recording->calls.push_back(std::move(call));
  return true;
}

}  // namespace emulator

cudaError_t cudaStreamBeginCapture(cudaStream_t, cudaStreamCaptureMode) {
  if (recording) return spoil();
  recording = new CUgraph_st;
  is_spoilt = false;
  return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t, cudaGraph_t* graph) {
  *graph = std::exchange(recording, nullptr);
  if (!is_spoilt) return cudaSuccess;
  delete std::exchange(*graph, nullptr);
  return cudaErrorStreamCaptureInvalidated;
}
cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t*, size_t* count) {
  *count = graph->calls.size();
  return cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* ready, cudaGraph_t graph, unsigned long long) {
  *ready = new CUgraphExec_st{graph->calls};
  return cudaSuccess;
}
// Only by a graph of the same kernels and copies, in their order.
cudaError_t cudaGraphExecUpdate(cudaGraphExec_t ready, cudaGraph_t graph, cudaGraphExecUpdateResultInfo*) {
  bool is_alike = ready->calls.size() == graph->calls.size();
  for (size_t i = 0; is_alike && i < graph->calls.size(); ++i) is_alike = ready->calls[i].what == graph->calls[i].what;
  if (!is_alike) return cudaErrorGraphExecUpdateFailure;
  ready->calls = graph->calls;
  return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t ready, cudaStream_t) {
  if (recording) return spoil();
  for (const emulator::Call& call : ready->calls) call.run();
  return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t ready) {
  delete ready;
  return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t) {
  if (emulator::keep({"a copy", [=] { cudaMemcpy(to, from, bytes, kind); }})) return cudaSuccess;
  return cudaMemcpy(to, from, bytes, kind);
}
cudaError_t cudaMemsetAsync(void* to, int byte, size_t bytes, cudaStream_t) {
  if (emulator::keep({"a fill", [=] { cudaMemset(to, byte, bytes); }})) return cudaSuccess;
  return cudaMemset(to, byte, bytes);
}
// A recording would never end for who waits, and marks are not looked for in it.
cudaError_t cudaStreamSynchronize(cudaStream_t) {
  return recording ? spoil() : cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t, cudaStream_t) {
  return recording ? spoil() : cudaSuccess;
}
cudaError_t cudaStreamWaitEvent(cudaStream_t, cudaEvent_t, unsigned) {
  return recording ? spoil() : cudaSuccess;
}
