// What becomes of the sums of a matrix product.
#pragma once

#include "kernels/cuda/device-inl.cuh"
#include "kernels/cuda/gemm.h"

namespace seqrisk {
namespace cuda {

__device__ inline float gelu(float x) {
  return 0.5f * x * (1.0f + erff(x * 0.70710678118654752f));
}

__device__ inline void finish_element(const Gemm& g, int64_t row, int64_t column, float sum, int64_t part) {
  if (row >= g.m || column >= g.n) return;
  if (g.saved) g.saved[row * g.saved_stride + column] = sum;
  if (g.activation == Activation::kRelu) sum = sum > 0.0f ? sum : (isnan(sum) ? sum : 0.0f);
  if (g.activation == Activation::kGelu) sum = gelu(sum);
  if (g.residual) sum += g.residual[row * g.residual_stride + column];
  float* to = g.out + part * g.chunk_out + row * g.out_stride + column;
  *to = g.accumulate ? *to + sum : sum;
}

}  // namespace cuda
}  // namespace seqrisk
