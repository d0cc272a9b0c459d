// The runtime's own small kernels: faults, fills, guards; and the workspace.
#include <initializer_list>

#include "kernels/cuda/device-inl.cuh"

namespace seqrisk {
namespace cuda {
namespace {

__global__ void take_fault_kernel(FaultRecord* from, FaultRecord* to) {
  *to = *from;
  from->claimed = 0;
}

__global__ void fill_words_kernel(uint32_t* to, uint32_t pattern, int64_t words) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i < words) to[i] = pattern;
}

__global__ void check_guard_kernel(const std::byte* begin, int64_t bytes, std::byte pattern, FaultSite fault) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i < bytes && begin[i] != pattern) fault.report(i, static_cast<int64_t>(begin[i]));
}

}  // namespace

void take_fault(FaultRecord* from, FaultRecord* to, cudaStream_t stream) {
  take_fault_kernel<<<1, 1, 0, stream>>>(from, to);
}

void fill_words(uint32_t* to, uint32_t pattern, int64_t words, cudaStream_t stream) {
  if (words > 0) fill_words_kernel<<<blocks_of(words, 256), 256, 0, stream>>>(to, pattern, words);
}

void check_guard(const std::byte* begin, int64_t bytes, int32_t pattern, Launch& launch) {
  if (bytes <= 0) return;
  const FaultSite fault(launch, "the bytes around a buffer to be untouched");
  check_guard_kernel<<<blocks_of(bytes, 256), 256, 0, launch.stream>>>(begin, bytes, static_cast<std::byte>(pattern),
                                                                       fault);
}

void* Launch::workspace(size_t bytes) {
  if (bytes > workspace_bytes_) {
    if (hand_over) hand_over(recorder);
    // More than asked for, so that growing sizes do not free and allocate each time. Freeing waits for the card.
    free_workspace();
    for (const size_t wanted : {bytes + bytes / 4, bytes}) {
      const cudaError_t status = cudaMalloc(&workspace_, wanted);
      if (status == cudaSuccess) {
        workspace_bytes_ = wanted;
        break;
      }
      workspace_ = nullptr;
      if (status != cudaErrorMemoryAllocation) return nullptr;  // the card failed: the launch's own error
      cudaGetLastError();                                       // too little memory spoils nothing
    }
    if (!workspace_) {
      refused_bytes_ = bytes;
      return nullptr;
    }
  }
  static char none;
  return workspace_ ? workspace_ : &none;  // of no bytes: not null, which would mean refused
}

void Launch::free_workspace() {
  if (workspace_) cudaFree(workspace_);
  workspace_ = nullptr;
  workspace_bytes_ = 0;
}

}  // namespace cuda
}  // namespace seqrisk
