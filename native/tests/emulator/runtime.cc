// The part of CUDA's runtime that this project calls, for the emulated card: its memory is the host's.

#include <cuda.h>
#include <cuda_runtime_api.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <unordered_map>
#include <utility>

#include "tests/emulator/emulator.h"

using emulator::failure;

namespace {

constexpr size_t kDeviceBoundary = 256;
// Few, so that blocks which go from tile to tile do so in small problems.
constexpr int kMultiprocessors = 4;

std::mutex memory;                        // guards what follows
std::unordered_map<void*, size_t> sizes;  // of device memory
int stale = emulator::kPoison;

}  // namespace

const char* cudaGetErrorName(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "cudaSuccess";
    case cudaErrorMemoryAllocation:
      return "cudaErrorMemoryAllocation";
    case cudaErrorInvalidConfiguration:
      return "cudaErrorInvalidConfiguration";
    case cudaErrorLaunchFailure:
      return "cudaErrorLaunchFailure";
    default:
      return "an error of CUDA";
  }
}
const char* cudaGetErrorString(cudaError_t error) {
  const bool is_of_launch = error == cudaErrorInvalidConfiguration || error == cudaErrorLaunchFailure;
  return is_of_launch ? failure.text.c_str() : "of the runtime";
}
cudaError_t cudaGetLastError() {
  return std::exchange(failure.code, cudaSuccess);
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int) {
  *properties = {"", size_t{8} << 30, emulator::kMostShared, 9, 0, kMultiprocessors};
  std::snprintf(properties->name, sizeof properties->name, "an emulated card of compute capability 9.0 (seed %llu)",
                static_cast<unsigned long long>(emulator::seed));
  return cudaSuccess;
}
cudaError_t cudaGetDeviceCount(int* count) {
  *count = 1;
  return cudaSuccess;
}
cudaError_t cudaGetDriverEntryPointByVersion(const char* name, void** function, unsigned, unsigned long long,
                                             cudaDriverEntryPointQueryResult* found) {
  const bool is_there = std::strcmp(name, "cuTensorMapEncodeTiled") == 0;
  *function = is_there ? reinterpret_cast<void*>(cuTensorMapEncodeTiled) : nullptr;
  *found = is_there ? cudaDriverEntryPointSuccess : cudaDriverEntryPointSymbolNotFound;
  return cudaSuccess;
}
cudaError_t cudaDriverGetVersion(int* version) {
  *version = CUDART_VERSION;
  return cudaSuccess;
}

// New memory holds what was at the end of that freed last, as it may on a card.
cudaError_t cudaMalloc(void** data, size_t bytes) {
  if (posix_memalign(data, kDeviceBoundary, bytes) != 0) return cudaErrorMemoryAllocation;
  const std::lock_guard lock(memory);
  std::memset(*data, stale, bytes);
  sizes[*data] = bytes;
  return cudaSuccess;
}
cudaError_t cudaFree(void* data) {
  const std::lock_guard lock(memory);
  const auto found = sizes.find(data);
  if (found == sizes.end()) return cudaSuccess;
  if (found->second > 0) stale = static_cast<unsigned char*>(data)[found->second - 1];
  std::memset(data, emulator::kPoison, found->second);
  sizes.erase(found);
  std::free(data);
  return cudaSuccess;
}
cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind) {
  if (bytes > 0) std::memcpy(to, from, bytes);
  return cudaSuccess;
}
cudaError_t cudaMemset(void* to, int byte, size_t bytes) {
  if (bytes > 0) std::memset(to, byte, bytes);
  return cudaSuccess;
}
