// Activations and their slopes, for linear in both precisions.
#pragma once

#include "kernels/cuda/device-inl.cuh"
#include "ops/linear.h"

namespace seqrisk {
namespace cuda {

__device__ inline float gelu(float x) {
  return 0.5f * x * (1.0f + erff(x * 0.70710678118654752f));
}

__device__ inline float activated(float x, Activation activation) {
  if (activation == Activation::kGelu) return gelu(x);
  return activation == Activation::kRelu && x < 0.0f ? 0.0f : x;  // NaN stays
}

// dout · act'(z)
__device__ inline float through_activation(float dout, float z, Activation activation) {
  if (activation == Activation::kRelu) return z > 0.0f ? dout : 0.0f;
  const float below = 0.5f * (1.0f + erff(z * 0.70710678118654752f));
  const float density = 0.39894228040143268f * expf(-0.5f * z * z);
  return dout * fmaf(z, density, below);
}

// dresidual += dout
struct AddRows {
  LinearBackward a;

  template <int V>
  __device__ void run(int64_t row, int64_t column) const {
    const int64_t to = row * a.out_features + column;
    Floats<V> sum = load_stored<V>(a.dresidual, to, a.out_stored);
    const Floats<V> more = load_stored<V>(a.dout, row * a.dout_stride + column, a.out_stored);
    for (int v = 0; v < V; ++v) sum.at[v] += more.at[v];
    store_stored<V>(a.dresidual, to, a.out_stored, sum);
  }
};

}  // namespace cuda
}  // namespace seqrisk
