// cuBLASLt, as far as products want it (gemm_cublaslt.cu). No type of the library crosses this header.
#pragma once

#include "kernels/cuda/launch.h"

namespace seqrisk {
namespace cuda {

// Of its statuses those that say that an algorithm does not take what it was asked for.
constexpr int kCublasltInvalidValue = 7;
constexpr int kCublasltNotSupported = 15;

// Loads the library by its name or path, and makes a handle on the current card. Null if it cannot be had; then
// `missing` says why, until the next call on this thread.
Cublaslt* open_cublaslt(const char* library, const char** missing);
void close_cublaslt(Cublaslt* opened);
// How many it has multiplied.
int64_t products_of(const Cublaslt* opened);

}  // namespace cuda
}  // namespace seqrisk
