// The part of CUDA's runtime that this project calls, for emulated cards: their memory is the host's. There are as many
// as $SEQRISK_EMULATED_CARDS says, or one.

#include <cuda.h>
#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <map>
#include <mutex>
#include <utility>

#include "tests/emulator/emulator.h"
#include "tests/emulator/streams.h"

using emulator::failure;

namespace {

constexpr size_t kDeviceBoundary = 256;
// Few, so that blocks which go from tile to tile do so in small problems.
constexpr int kMultiprocessors = 4;

struct Block {
  size_t bytes;
  int card;  // −1: pinned memory of the host
};
constexpr int kPinned = -1;

std::mutex memory;  // guards what follows
std::map<const std::byte*, Block> blocks;
int stale = emulator::kPoison;

const int cards = [] {
  const char* text = std::getenv("SEQRISK_EMULATED_CARDS");
  return text ? std::atoi(text) : 1;
}();
thread_local int own_card = 0;

// New memory holds what was at the end of that freed last, as it may on a card.
cudaError_t allocate(void** data, size_t bytes, int card) {
  if (posix_memalign(data, kDeviceBoundary, bytes) != 0) return cudaErrorMemoryAllocation;
  const std::lock_guard lock(memory);
  std::memset(*data, stale, bytes);
  blocks[static_cast<const std::byte*>(*data)] = {bytes, card};
  return cudaSuccess;
}
// Waits for the card, as CUDA does.
cudaError_t release(void* data, bool is_pinned) {
  if (!data) return cudaSuccess;
  const int card = emulator::card_of(data);
  emulator::settle_card(card);
  const std::lock_guard lock(memory);
  const auto found = blocks.find(static_cast<const std::byte*>(data));
  if (found == blocks.end() || (card == kPinned) != is_pinned) {
    failure = {cudaErrorInvalidValue, "expected memory as it was allocated"};
    return cudaErrorInvalidValue;
  }
  const size_t bytes = found->second.bytes;
  if (bytes > 0) stale = static_cast<unsigned char*>(data)[bytes - 1];
  std::memset(data, emulator::kPoison, bytes);
  blocks.erase(found);
  std::free(data);
  return cudaSuccess;
}

const Block* block_of(const void* data) {
  const auto* at = static_cast<const std::byte*>(data);
  const auto after = blocks.upper_bound(at);
  if (after == blocks.begin()) return nullptr;
  const auto& [begin, block] = *std::prev(after);
  return at < begin + std::max<size_t>(block.bytes, 1) ? &block : nullptr;
}

}  // namespace

namespace emulator {

int card() {
  return own_card;
}
int card_of(const void* data) {
  const std::lock_guard lock(memory);
  const Block* block = block_of(data);
  return block ? block->card : kPinned;
}
bool is_pinned(const void* data) {
  const std::lock_guard lock(memory);
  const Block* block = block_of(data);
  return block && block->card == kPinned;
}

}  // namespace emulator

const char* cudaGetErrorName(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "cudaSuccess";
    case cudaErrorMemoryAllocation:
      return "cudaErrorMemoryAllocation";
    case cudaErrorInvalidValue:
      return "cudaErrorInvalidValue";
    case cudaErrorInvalidResourceHandle:
      return "cudaErrorInvalidResourceHandle";
    case cudaErrorInvalidConfiguration:
      return "cudaErrorInvalidConfiguration";
    case cudaErrorLaunchFailure:
      return "cudaErrorLaunchFailure";
    default:
      return "an error of CUDA";
  }
}
const char* cudaGetErrorString(cudaError_t error) {
  const bool is_ours = error == cudaErrorInvalidConfiguration || error == cudaErrorLaunchFailure ||
                       error == cudaErrorInvalidValue || error == cudaErrorInvalidResourceHandle;
  return is_ours ? failure.text.c_str() : "of the runtime";
}
cudaError_t cudaGetLastError() {
  return std::exchange(failure.code, cudaSuccess);
}

cudaError_t cudaSetDevice(int device) {
  if (device < 0 || device >= cards) return cudaErrorInvalidDevice;
  own_card = device;
  return cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int) {
  *properties = {"", size_t{8} << 30, emulator::kMostShared, 9, 0, kMultiprocessors};
  std::snprintf(properties->name, sizeof properties->name, "an emulated card of compute capability 9.0 (seed %llu)",
                static_cast<unsigned long long>(emulator::seed));
  return cudaSuccess;
}
cudaError_t cudaGetDeviceCount(int* count) {
  *count = cards;
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

cudaError_t cudaMalloc(void** data, size_t bytes) {
  return allocate(data, bytes, own_card);
}
cudaError_t cudaFree(void* data) {
  return release(data, false);
}
cudaError_t cudaMallocHost(void** data, size_t bytes) {
  return allocate(data, bytes, kPinned);
}
cudaError_t cudaFreeHost(void* data) {
  return release(data, true);
}
// Of the stream that has no name. An upload may still be on its way when this returns: the host's memory was read.
cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  const auto status = cudaMemcpyAsync(to, from, bytes, kind, nullptr);
  const bool was_read = kind == cudaMemcpyHostToDevice && !emulator::is_pinned(from);
  return status != cudaSuccess || was_read ? status : cudaStreamSynchronize(nullptr);
}
cudaError_t cudaMemset(void* to, int byte, size_t bytes) {
  return cudaMemsetAsync(to, byte, bytes, nullptr);
}
