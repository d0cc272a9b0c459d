// softmax_cross_entropy on CUDA: a warp takes a row of few classes, a block one of many. Losses are summed per row in
// double, then over rows in a fixed order.
#include "ops/softmax_cross_entropy.h"

#include "kernels/cuda/device-inl.cuh"
#include "kernels/cuda/totals-inl.cuh"

namespace seqrisk {
namespace cuda {
namespace {

constexpr int kWarps = 8;
constexpr int64_t kManyClasses = 2048;  // a warp alone would be slow on them

// Who shares a row: lane 0 … 31 of a warp, or the threads of a block.
struct WarpTeam {
  static __device__ int64_t row() { return static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.x / kWarp; }
  static __device__ int rank() { return threadIdx.x % kWarp; }
  static constexpr int kSize = kWarp;
  static __device__ float max(float value, void*) { return warp_max(value); }
  static __device__ double sum(double value, void*) { return warp_sum(value); }
};
struct BlockTeam {
  static __device__ int64_t row() { return blockIdx.x; }
  static __device__ int rank() { return threadIdx.x; }
  static constexpr int kSize = kWarp * kWarps;
  static __device__ float max(float value, void* shared) { return block_max(value, static_cast<float*>(shared)); }
  static __device__ double sum(double value, void* shared) { return block_sum(value, static_cast<double*>(shared)); }
};

template <class Team>
__global__ void forward_kernel(SoftmaxCrossEntropyForward a, RowTotals<3> totals, FaultSite fault) {
  __shared__ double shared[kWarps];
  const int64_t row = Team::row();
  if (row >= a.rows) return;
  const int rank = Team::rank();
  const float* x = a.logits + row * a.classes;
  const int32_t target = a.targets[row];
  const bool valid = target >= -1 && target < a.classes;
  if (!valid && rank == 0) fault.report(row, target);
  float top = 0.0f;
  double sum = 1.0;
  double loss = 0.0;
  double weight = 0.0;
  double correct = 0.0;
  if (valid && target >= 0) {
    top = -INFINITY;
#pragma unroll 8
    for (int64_t i = rank; i < a.classes; i += Team::kSize) top = fmaxf(top, x[i]);
    top = Team::max(top, shared);
    // Few terms a thread: float sums of 64 go on in double.
    sum = 0.0;
    double before = 0.0;  // logits equal to the largest, before the target
    for (int64_t begin = rank; begin < a.classes; begin += Team::kSize * 64) {
      float part = 0.0f;
#pragma unroll 8
      for (int64_t i = begin; i < a.classes && i < begin + Team::kSize * 64; i += Team::kSize) {
        part += expf(x[i] - top);
        if (i < target && x[i] == top) before += 1.0;
      }
      sum += static_cast<double>(part);
    }
    sum = Team::sum(sum, shared);
    before = Team::sum(before, shared);
    weight = a.weights ? static_cast<double>(a.weights[row]) : 1.0;
    if (weight != 0.0) {
      loss = weight * (static_cast<double>(logf(static_cast<float>(sum))) -
                       (static_cast<double>(x[target]) - static_cast<double>(top)));
    }
    correct = x[target] == top && before == 0.0 ? 1.0 : 0.0;
  }
  if (rank != 0) return;
  if (a.row_max) a.row_max[row] = top;
  if (a.row_sum) a.row_sum[row] = static_cast<float>(sum);
  totals.put(row, 0, loss);
  totals.put(row, 1, weight);
  totals.put(row, 2, correct);
}

__global__ void finish_kernel(SoftmaxCrossEntropyForward a, const double* sums) {
  const double loss = sums[0];
  const double weight = sums[1];
  a.loss[0] = weight == 0.0 ? 0.0f : static_cast<float>(loss / weight);
  a.correct[0] = static_cast<float>(sums[2]);
  if (a.total) a.total[0] = static_cast<float>(weight);
}

template <class Team>
__global__ void backward_kernel(SoftmaxCrossEntropyBackward a) {
  const int64_t row = Team::row();
  if (row >= a.rows) return;
  const float* x = a.logits + row * a.classes;
  float* dx = a.dlogits + row * a.classes;
  const int32_t target = a.targets[row];
  const float total = a.total[0];
  const float weight = target < 0 || target >= a.classes ? 0.0f : a.weights ? a.weights[row] : 1.0f;
  if (weight == 0.0f || total == 0.0f) {
    if (a.accumulate_dlogits) return;
    for (int64_t i = Team::rank(); i < a.classes; i += Team::kSize) dx[i] = 0.0f;
    return;
  }
  const float coefficient = a.dout[0] / total * weight;
  const float top = a.row_max[row];
  const float scale = coefficient / a.row_sum[row];
  // Read some before any is written: else every read would wait for the write before it.
  constexpr int kAtOnce = 8;
  for (int64_t begin = Team::rank(); begin < a.classes; begin += kAtOnce * Team::kSize) {
    float values[kAtOnce];
#pragma unroll
    for (int p = 0; p < kAtOnce; ++p) {
      const int64_t i = begin + p * Team::kSize;
      if (i >= a.classes) continue;
      values[p] = expf(x[i] - top) * scale;
      if (a.accumulate_dlogits) values[p] += dx[i];
      if (i == target) values[p] -= coefficient;
    }
#pragma unroll
    for (int p = 0; p < kAtOnce; ++p) {
      const int64_t i = begin + p * Team::kSize;
      if (i < a.classes) dx[i] = values[p];
    }
  }
}

}  // namespace

void softmax_cross_entropy_forward(const SoftmaxCrossEntropyForward& a, Launch& launch) {
  double* memory = launch.workspace_of<double>(RowTotals<3>::elements(a.rows));
  if (!memory) return;
  const RowTotals<3> totals(memory, a.rows);
  const FaultSite fault(launch, "targets in [-1, classes)");
  const int threads = kWarp * kWarps;
  if (a.rows > 0 && a.classes < kManyClasses) {
    forward_kernel<WarpTeam><<<blocks_of(a.rows, kWarps), threads, 0, launch.stream>>>(a, totals, fault);
  } else if (a.rows > 0) {
    forward_kernel<BlockTeam><<<static_cast<unsigned>(a.rows), threads, 0, launch.stream>>>(a, totals, fault);
  }
  finish_kernel<<<1, 1, 0, launch.stream>>>(a, totals.add_up(launch.stream));
}

void softmax_cross_entropy_backward(const SoftmaxCrossEntropyBackward& a, Launch& launch) {
  if (a.rows == 0) return;
  const int threads = kWarp * kWarps;
  if (a.classes < kManyClasses) {
    backward_kernel<WarpTeam><<<blocks_of(a.rows, kWarps), threads, 0, launch.stream>>>(a);
  } else {
    backward_kernel<BlockTeam><<<static_cast<unsigned>(a.rows), threads, 0, launch.stream>>>(a);
  }
}

}  // namespace cuda
}  // namespace seqrisk
