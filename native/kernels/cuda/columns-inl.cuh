// Sums of partial sums, in their order: what makes gradients of parameters the same in every run.
#pragma once

#include "kernels/cuda/device-inl.cuh"

namespace seqrisk {
namespace cuda {

// first[i] += Σ_p partials[p·stride + i] for i < split, and second[i − split] for the other columns. Eight threads
// share a column.
static __global__ void add_partials_kernel(const float* partials, int64_t count, int64_t stride, int64_t columns,
                                           int64_t split, float* first, float* second) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kWarp + threadIdx.x;
  __shared__ float sums[8][kWarp];
  float sum = 0.0f;
  if (i < columns) {
#pragma unroll 8
    for (int64_t p = threadIdx.y; p < count; p += 8) sum += partials[p * stride + i];
  }
  sums[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y != 0 || i >= columns) return;
  for (int y = 1; y < 8; ++y) sum += sums[y][threadIdx.x];
  float* to = i < split ? first + i : second + (i - split);
  *to += sum;
}

inline void add_partials(const float* partials, int64_t count, int64_t stride, int64_t columns, int64_t split,
                         float* first, float* second, cudaStream_t stream) {
  if (columns == 0) return;
  add_partials_kernel<<<blocks_of(columns, kWarp), dim3(kWarp, 8), 0, stream>>>(partials, count, stride, columns, split,
                                                                                first, second);
}

}  // namespace cuda
}  // namespace seqrisk
