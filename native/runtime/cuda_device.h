// NVIDIA cards: what is there, and streams on them. A binary without CUDA answers that it has none.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "runtime/stream.h"

namespace seqrisk {

struct CudaDevice {
  std::string name;
  int capability;  // 90 for 9.0
  int multiprocessors;
  size_t memory_bytes;
};

struct CudaDevices {
  std::vector<CudaDevice> devices;
  std::string missing;  // why there are none
};

// Asks the driver each time: a card may come and go.
CudaDevices cuda_devices();

struct CudaOptions {
  int index = 0;
  Precision precision = Precision::float32;
  std::string cublaslt;            // the library that multiplies bfloat16, by name or path; empty: own kernels
  size_t memory_limit = SIZE_MAX;  // bytes
  bool guard = false;
  bool graphs = false;  // launches that wait together are handed over together
};

// Throws Error with code NO_CUDA or NO_CUBLASLT, saying what is missing, or OUT_OF_MEMORY.
std::shared_ptr<Stream> open_cuda_stream(const CudaOptions& options);

// Fault injection: a kernel fails on the card, and no call of this process reaches it any more.
void lose_cuda_device(int index);

}  // namespace seqrisk
