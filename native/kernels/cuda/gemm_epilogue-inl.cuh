// What becomes of the sums of a matrix product.
#pragma once

#include "kernels/cuda/device-inl.cuh"
#include "kernels/cuda/gemm.h"

namespace seqrisk {
namespace cuda {

__device__ inline float gelu(float x) {
  return 0.5f * x * (1.0f + erff(x * 0.70710678118654752f));
}

__device__ inline float activated(float x, Activation activation) {
  if (activation == Activation::kGelu) return gelu(x);
  return activation == Activation::kRelu && x < 0.0f ? 0.0f : x;  // NaN stays
}

// V elements of a row next to each other, all inside or all outside of out; `wide` problems alone may have V > 1.
template <int V>
__device__ inline void finish_elements(const Gemm& g, int64_t row, int64_t column, Floats<V> sums, int64_t part) {
  if (row >= g.m || column >= g.n) return;
  if (g.saved) store<V>(g.saved + row * g.saved_stride + column, sums);
  for (int v = 0; v < V; ++v) sums.at[v] = activated(sums.at[v], g.activation);
  if (g.residual) {
    const Floats<V> residual = load<V>(g.residual + row * g.residual_stride + column);
    for (int v = 0; v < V; ++v) sums.at[v] += residual.at[v];
  }
  float* to = g.out + part * g.chunk_out + row * g.out_stride + column;
  if (g.accumulate) {
    const Floats<V> before = load<V>(to);
    for (int v = 0; v < V; ++v) sums.at[v] += before.at[v];
  }
  store<V>(to, sums);
}

// Whether results can be written four at a time.
inline bool has_wide_results(const Gemm& g) {
  return is_wide(g.n, g.out, g.saved, g.residual) && is_wide(g.out_stride) && is_wide(g.chunk_out) &&
         is_wide(g.saved_stride) && is_wide(g.residual_stride);
}

}  // namespace cuda
}  // namespace seqrisk
