// Sums that do not depend on their order: floats are added as 64-bit integers, scaled so that no sum can overflow.
// What many threads add to one place at the same time has the same bits in every run.
//
// With n terms of magnitude at most 2^e, terms are multiplied by 2^(62 − ⌈log2 n⌉ − e): a sum stays below 2^62. The
// error of a term is half a unit of that scale, 2^−(63 − ⌈log2 n⌉) of the largest: less than a float's own for n <
// 2^38.
#pragma once

#include "kernels/cuda/device-inl.cuh"

namespace seqrisk {
namespace cuda {

struct ExactScale {
  uint32_t largest_bits;  // of the finite values
  uint32_t spoiled;       // whether there are others
};

static __global__ void exact_scale_kernel(const float* values, int64_t count, ExactScale* scale) {
  float largest = 0.0f;
  bool spoiled = false;
  const int64_t step = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < count; i += step) {
    const float size = fabsf(values[i]);
    if (isfinite(size)) {
      largest = fmaxf(largest, size);
    } else {
      spoiled = true;
    }
  }
  largest = warp_max(largest);
  // Of positive floats the bits are ordered as the numbers are.
  if (threadIdx.x % kWarp == 0) atomicMax(&scale->largest_bits, __float_as_uint(largest));
  if (spoiled) atomicOr(&scale->spoiled, 1u);
}

// Sets `scale` for sums over `values`.
inline void find_exact_scale(const float* values, int64_t count, ExactScale* scale, cudaStream_t stream) {
  cudaMemsetAsync(scale, 0, sizeof(ExactScale), stream);
  if (count == 0) return;
  const int64_t blocks = ceil_div(count, 1024);
  exact_scale_kernel<<<static_cast<unsigned>(blocks < 2048 ? blocks : 2048), 256, 0, stream>>>(values, count, scale);
}

// The exponent of the scale, for at most 2^log_terms terms.
__device__ inline int exact_shift(const ExactScale& scale, int log_terms) {
  const int exponent = static_cast<int>(scale.largest_bits >> 23) - 126;  // largest < 2^exponent
  return 62 - log_terms - exponent;
}

// 2^shift as two factors, since one may be beyond a float.
__device__ inline void add_exact(long long* to, float value, int shift) {
  if (value == 0.0f || !isfinite(value)) return;
  const int half = shift / 2;
  const long long term = __float2ll_rn(ldexpf(ldexpf(value, half), shift - half));
  atomicAdd(reinterpret_cast<unsigned long long*>(to), static_cast<unsigned long long>(term));
}

__device__ inline float exact_value(long long sum, int shift) {
  return static_cast<float>(ldexp(static_cast<double>(sum), -shift));
}

inline int log_terms_of(int64_t terms) {
  int log = 0;
  while ((int64_t{1} << log) < terms) ++log;
  return log;
}

}  // namespace cuda
}  // namespace seqrisk
