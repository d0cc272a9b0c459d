// Of a binary that was built without CUDA.
#include "runtime/cuda_device.h"

namespace seqrisk {

CudaDevices cuda_devices() {
  return {{}, "this binary was built without CUDA: nvcc was not found then"};
}

std::shared_ptr<Stream> open_cuda_stream(const CudaOptions&) {
  throw Error::coded("NO_CUDA",
                     "[cuda] expected a binary with CUDA kernels but received one for the CPU alone; use "
                     "device 'cpu' or 'auto', or build where nvcc is");
}

void lose_cuda_device(int) {}

}  // namespace seqrisk
