// Recordings of the emulated card: calls are kept with their arguments, and run when their graph is launched.

#include <cuda_runtime_api.h>

#include <string>
#include <utility>
#include <vector>

#include "tests/emulator/emulator.h"
#include "tests/emulator/streams.h"

struct CUgraph_st {
  std::vector<emulator::Call> calls;
};
struct CUgraphExec_st {
  std::vector<emulator::Call> calls;
};

namespace {

thread_local CUgraph_st* recording = nullptr;
thread_local cudaStream_t recorded = nullptr;  // its stream; what others get is done as ever
thread_local bool is_spoilt = false;

}  // namespace

namespace emulator {

bool keep(Call call, cudaStream_t stream) {
  if (!recording || stream != recorded) return false;
  recording->calls.push_back(std::move(call));
  return true;
}

bool spoils_recording(cudaStream_t stream) {
  const bool is_of_it = recording && stream == recorded;
  if (is_of_it) is_spoilt = true;
  return is_of_it;
}

}  // namespace emulator

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  if (emulator::spoils_recording(stream)) return cudaErrorStreamCaptureInvalidated;
  recording = new CUgraph_st;
  recorded = stream;
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
cudaError_t cudaGraphLaunch(cudaGraphExec_t ready, cudaStream_t stream) {
  if (emulator::spoils_recording(stream)) return cudaErrorStreamCaptureInvalidated;
  if (!emulator::before_launch(stream)) return cudaErrorInvalidResourceHandle;
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
