// What a binary without CUDA says of cards, one line each: CI reads it where there is nvcc, too.
#include <cstdio>

#include "runtime/cuda_device.h"
#include "runtime/error.h"

int main() {
  const seqrisk::CudaDevices found = seqrisk::cuda_devices();
  std::printf("%zu devices: %s\n", found.devices.size(), found.missing.c_str());
  seqrisk::lose_cuda_device(0);
  try {
    seqrisk::open_cuda_stream({});
  } catch (const seqrisk::Error& error) {
    std::printf("%s: %s\n", error.code().c_str(), error.what());
    return 0;
  }
  return 1;
}
