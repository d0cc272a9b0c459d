// Sums of partial sums, in an order of sizes alone: what makes gradients of parameters the same in every run.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace seqrisk {
namespace cuda {

// first[i] += Σ_p partials[p·stride + i] for i < split, and second[i − split] for the other columns; p < count.
void add_partials(const float* partials, int64_t count, int64_t stride, int64_t columns, int64_t split, float* first,
                  float* second, cudaStream_t stream);

}  // namespace cuda
}  // namespace seqrisk
