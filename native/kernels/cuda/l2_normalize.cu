// l2_normalize on CUDA: a warp takes a row.
#include "ops/l2_normalize.h"

#include "kernels/cuda/device-inl.cuh"

namespace seqrisk {
namespace cuda {
namespace {

constexpr int kRowsPerBlock = 8;

// Σ a·b in double: the squares of large floats would overflow, those of small ones vanish.
__device__ double dot(const float* a, const float* b, int64_t width) {
  double sum = 0.0;
  for (int64_t i = threadIdx.x; i < width; i += kWarp) sum += static_cast<double>(a[i]) * static_cast<double>(b[i]);
  return warp_sum(sum);
}

__global__ void forward_kernel(L2NormalizeForward a) {
  const int64_t row = static_cast<int64_t>(blockIdx.x) * kRowsPerBlock + threadIdx.y;
  if (row >= a.rows) return;
  const float* x = a.x + row * a.width;
  const double norm = sqrt(dot(x, x, a.width));
  const double eps = static_cast<double>(a.eps);
  const float scale = static_cast<float>(1.0 / (norm < eps ? eps : norm));
  for (int64_t i = threadIdx.x; i < a.width; i += kWarp) a.out[row * a.width + i] = x[i] * scale;
  if (threadIdx.x == 0) a.scale[row] = scale;
}

__global__ void backward_kernel(L2NormalizeBackward a) {
  const int64_t row = static_cast<int64_t>(blockIdx.x) * kRowsPerBlock + threadIdx.y;
  if (row >= a.rows) return;
  const float* out = a.out + row * a.width;
  const float* dout = a.dout + row * a.width;
  float* dx = a.dx + row * a.width;
  const float scale = a.scale[row];
  float product = static_cast<float>(dot(out, dout, a.width));
  if (scale >= 1.0f / a.eps) product = 0.0f;  // below eps the norm is constant
  for (int64_t i = threadIdx.x; i < a.width; i += kWarp) {
    const float value = scale * fmaf(-out[i], product, dout[i]);
    dx[i] = a.accumulate_dx ? dx[i] + value : value;
  }
}

}  // namespace

void l2_normalize_forward(const L2NormalizeForward& a, Launch& launch) {
  if (a.rows == 0) return;
  forward_kernel<<<blocks_of(a.rows, kRowsPerBlock), dim3(kWarp, kRowsPerBlock), 0, launch.stream>>>(a);
}

void l2_normalize_backward(const L2NormalizeBackward& a, Launch& launch) {
  if (a.rows == 0) return;
  backward_kernel<<<blocks_of(a.rows, kRowsPerBlock), dim3(kWarp, kRowsPerBlock), 0, launch.stream>>>(a);
}

}  // namespace cuda
}  // namespace seqrisk
