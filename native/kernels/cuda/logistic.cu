// logistic on CUDA: a matrix product for the scores, their residuals, and a product for the gradient.
#include "ops/logistic.h"

#include "kernels/cuda/gemm.h"
#include "kernels/cuda/partial_sums.h"
#include "kernels/cuda/totals-inl.cuh"

namespace seqrisk {
namespace cuda {
namespace {

// Rows of one partial sum of the gradient: fixed, so that the sums are.
constexpr int64_t kStretch = 4096;

// scores (lines, rows) become residuals; losses (active, rows). A thread takes a row of one problem.
__global__ void residual_kernel(LogisticGradient a, float* scores, double* losses, FaultSite problems,
                                FaultSite targets) {
  const int64_t row = static_cast<int64_t>(blockIdx.x / a.active) * blockDim.x + threadIdx.x;
  const int64_t i = blockIdx.x % a.active;
  if (row >= a.rows) return;
  const int32_t problem = a.problem[i];
  const int64_t classes = a.outputs == 1 ? 2 : a.outputs;
  float* z = scores + i * a.outputs * a.rows + row;
  int32_t target = -1;
  if (problem < 0 || problem >= a.problems) {
    if (row == 0) problems.report(i, problem);
  } else {
    target = a.target[problem * a.rows + row];
    if (target < -1 || target >= classes) {
      targets.report(problem * a.rows + row, target);
      target = -1;
    }
  }
  double loss = 0.0;
  if (target < 0) {
    for (int64_t k = 0; k < a.outputs; ++k) z[k * a.rows] = 0.0f;
  } else if (a.outputs == 1) {
    const float value = z[0];
    const float t = static_cast<float>(target);
    loss = static_cast<double>(fmaxf(value, 0.0f) + log1pf(expf(-fabsf(value))) - t * value);
    z[0] = sigmoid(value) - t;
  } else {
    float top = -INFINITY;
    for (int64_t k = 0; k < a.outputs; ++k) top = fmaxf(top, z[k * a.rows]);
    const float chosen = z[target * a.rows] - top;
    float total = 0.0f;
    for (int64_t k = 0; k < a.outputs; ++k) total += expf(z[k * a.rows] - top);
    for (int64_t k = 0; k < a.outputs; ++k) {
      const float p = expf(z[k * a.rows] - top) / total;
      z[k * a.rows] = k == target ? p - 1.0f : p;
    }
    loss = static_cast<double>(logf(total) - chosen);
  }
  losses[i * a.rows + row] = loss;
}

__global__ void loss_kernel(const double* sums, int64_t active, float* loss) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= active) return;
  loss[2 * i] = static_cast<float>(sums[i]);
  loss[2 * i + 1] = static_cast<float>(sums[i] - static_cast<double>(loss[2 * i]));
}

}  // namespace

void logistic_gradient(const LogisticGradient& a, Launch& launch) {
  const int64_t lines = a.active * a.outputs;
  const int64_t stretches = ceil_div(a.rows, kStretch);
  const int64_t cells = lines * a.width;
  double* losses = launch.workspace_of<double>(a.active * (a.rows + 1) + lines * a.rows + stretches * cells);
  if (!losses) return;
  double* sums = losses + a.active * a.rows;
  auto* scores = reinterpret_cast<float*>(sums + a.active);
  float* partials = scores + lines * a.rows;
  cudaMemsetAsync(a.gradient, 0, static_cast<size_t>(cells) * sizeof(float), launch.stream);
  if (a.active == 0) return;
  if (a.rows > 0) {
    Gemm product{};
    product.a = {a.weight, a.width, true};
    product.b = {a.x, a.width, true};
    product.m = lines;
    product.n = a.rows;
    product.k = a.width;
    product.out = scores;
    product.out_stride = a.rows;
    product.chunks = 1;
    product.chunk_k = a.width;
    gemm_float32(product, launch);
    if (a.scores) {
      const size_t bytes = static_cast<size_t>(lines * a.rows) * sizeof(float);
      cudaMemcpyAsync(a.scores, scores, bytes, cudaMemcpyDeviceToDevice, launch.stream);
    }
    const unsigned blocks = blocks_of(a.rows, 128) * static_cast<unsigned>(a.active);
    residual_kernel<<<blocks, 128, 0, launch.stream>>>(a, scores, losses,
                                                       FaultSite(launch, "problem numbers below the rows of target"),
                                                       FaultSite(launch, "targets to be classes or -1"));
    Gemm gradient{};
    gradient.a = {scores, a.rows, true};
    gradient.b = {a.x, a.width, false};
    gradient.m = lines;
    gradient.n = a.width;
    gradient.k = a.rows;
    gradient.out = partials;
    gradient.out_stride = a.width;
    gradient.chunks = stretches;
    gradient.chunk_k = kStretch;
    gradient.chunk_out = cells;
    gemm_float32(gradient, launch);
    add_partials(partials, stretches, cells, cells, cells, a.gradient, nullptr, launch.stream);
  }
  // A row of the grid for every problem, as many as its second axis takes.
  constexpr int64_t kMostAtOnce = 65535;
  for (int64_t i = 0; i < a.active; i += kMostAtOnce) {
    const auto count = static_cast<unsigned>(a.active - i < kMostAtOnce ? a.active - i : kMostAtOnce);
    totals_kernel<<<dim3(1, count), kTotalsThreads, 0, launch.stream>>>(losses + i * a.rows, a.rows, sums + i, a.rows);
  }
  loss_kernel<<<blocks_of(a.active, 64), 64, 0, launch.stream>>>(sums, a.active, a.loss);
}

}  // namespace cuda
}  // namespace seqrisk
