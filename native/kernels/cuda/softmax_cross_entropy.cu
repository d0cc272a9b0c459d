// softmax_cross_entropy on CUDA: a warp takes a row of few classes, a block one of many. The forward holds the row of a
// warp in registers. Losses are summed per row in double, then over rows in a fixed order.
#include "ops/softmax_cross_entropy.h"

#include "kernels/cuda/device-inl.cuh"
#include "kernels/cuda/totals-inl.cuh"

namespace seqrisk {
namespace cuda {
namespace {

constexpr int kWarps = 8;
constexpr int kMostHeld = 64;                        // logits in a lane's registers
constexpr int64_t kManyClasses = kMostHeld * kWarp;  // a block takes them

// What the threads of a row have found out, for one of them to write.
struct Row {
  bool counts = false;  // it has a target
  float top = 0.0f;     // the largest logit
  double sum = 1.0;     // Σ e^(logit − top)
  float aimed = 0.0f;   // the target's logit
  bool correct = false;
};

__device__ void put(const SoftmaxCrossEntropyForward& a, const RowTotals<3>& totals, int64_t row, const Row& found) {
  double loss = 0.0;
  double weight = 0.0;
  if (found.counts) {
    weight = a.weights ? static_cast<double>(a.weights[row]) : 1.0;
    if (weight != 0.0) {
      loss = weight * (static_cast<double>(logf(static_cast<float>(found.sum))) -
                       (static_cast<double>(found.aimed) - static_cast<double>(found.top)));
    }
  }
  if (a.row_max) a.row_max[row] = found.top;
  if (a.row_sum) a.row_sum[row] = static_cast<float>(found.sum);
  totals.put(row, 0, loss);
  totals.put(row, 1, weight);
  totals.put(row, 2, found.correct ? 1.0 : 0.0);
}

// A row of up to kHeld·32 classes: lane l of a warp holds V of them from every (32·p + l)·V on.
template <int V, int kHeld>
__global__ void forward_warp_kernel(SoftmaxCrossEntropyForward a, RowTotals<3> totals, FaultSite fault) {
  constexpr int kPieces = kHeld / V;
  const int64_t row = static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.x / kWarp;
  if (row >= a.rows) return;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int classes = static_cast<int>(a.classes);
  const int32_t target = a.targets[row];
  const bool valid = target >= -1 && target < classes;
  if (!valid && lane == 0) fault.report(row, target);
  Row found;
  if (valid && target >= 0) {
    const float* x = a.logits + row * a.classes;
    Floats<V> held[kPieces];
#pragma unroll
    for (int p = 0; p < kPieces; ++p) {
      for (int v = 0; v < V; ++v) held[p].at[v] = -INFINITY;  // behind the end: e^ of it is 0
      const int at = (p * kWarp + lane) * V;
      if (at < classes) held[p] = load<V>(x + at);
    }
    found.counts = true;
    found.aimed = x[target];
    float top = -INFINITY;
#pragma unroll
    for (int p = 0; p < kPieces; ++p) {
      for (int v = 0; v < V; ++v) top = fmaxf(top, held[p].at[v]);
    }
    found.top = warp_max(top);
    // At most 64 terms a lane in float; the lanes' in double.
    float part = 0.0f;
#pragma unroll
    for (int p = 0; p < kPieces; ++p) {
      if (p * kWarp * V >= classes) break;
      for (int v = 0; v < V; ++v) part += expf(held[p].at[v] - found.top);
    }
    found.sum = warp_sum(static_cast<double>(part));
    if (found.aimed == found.top) {
      bool earlier = false;
#pragma unroll
      for (int p = 0; p < kPieces; ++p) {
        for (int v = 0; v < V; ++v) {
          if ((p * kWarp + lane) * V + v < target && held[p].at[v] == found.top) earlier = true;
        }
      }
      found.correct = !__any_sync(kAllLanes, earlier);
    }
  }
  if (lane == 0) put(a, totals, row, found);
}

__global__ void forward_block_kernel(SoftmaxCrossEntropyForward a, RowTotals<3> totals, FaultSite fault) {
  __shared__ double shared[kWarps];
  constexpr int kThreads = kWarp * kWarps;
  const int64_t row = blockIdx.x;
  const int32_t target = a.targets[row];
  const bool valid = target >= -1 && target < a.classes;
  if (!valid && threadIdx.x == 0) fault.report(row, target);
  Row found;
  if (valid && target >= 0) {
    const float* x = a.logits + row * a.classes;
    found.counts = true;
    found.aimed = x[target];
    float top = -INFINITY;
#pragma unroll 8
    for (int64_t i = threadIdx.x; i < a.classes; i += kThreads) top = fmaxf(top, x[i]);
    found.top = block_max(top, reinterpret_cast<float*>(shared));
    // Few terms a thread: float sums of 64 go on in double.
    double sum = 0.0;
    double earlier = 0.0;  // logits equal to the largest, before the target
    for (int64_t begin = threadIdx.x; begin < a.classes; begin += kThreads * 64) {
      float part = 0.0f;
#pragma unroll 8
      for (int64_t i = begin; i < a.classes && i < begin + kThreads * 64; i += kThreads) {
        part += expf(x[i] - found.top);
        if (i < target && x[i] == found.top) earlier += 1.0;
      }
      sum += static_cast<double>(part);
    }
    found.sum = block_sum(sum, shared);
    earlier = block_sum(earlier, shared);
    found.correct = found.aimed == found.top && earlier == 0.0;
  }
  if (threadIdx.x == 0) put(a, totals, row, found);
}

__global__ void finish_kernel(SoftmaxCrossEntropyForward a, const double* sums) {
  const double loss = sums[0];
  const double weight = sums[1];
  a.loss[0] = weight == 0.0 ? 0.0f : static_cast<float>(loss / weight);
  a.correct[0] = static_cast<float>(sums[2]);
  if (a.total) a.total[0] = static_cast<float>(weight);
}

// Who shares a row: lane 0 … 31 of a warp, or the threads of a block.
struct WarpTeam {
  static __device__ int64_t row() { return static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.x / kWarp; }
  static __device__ int rank() { return threadIdx.x % kWarp; }
  static constexpr int kSize = kWarp;
};
struct BlockTeam {
  static __device__ int64_t row() { return blockIdx.x; }
  static __device__ int rank() { return threadIdx.x; }
  static constexpr int kSize = kWarp * kWarps;
};

template <class Team, int V>
__global__ void backward_kernel(SoftmaxCrossEntropyBackward a) {
  const int64_t row = Team::row();
  if (row >= a.rows) return;
  const float* x = a.logits + row * a.classes;
  float* dx = a.dlogits + row * a.classes;
  const int32_t target = a.targets[row];
  const float total = a.total[0];
  const float weight = target < 0 || target >= a.classes ? 0.0f : a.weights ? a.weights[row] : 1.0f;
  constexpr int kStep = Team::kSize * V;
  if (weight == 0.0f || total == 0.0f) {
    if (a.accumulate_dlogits) return;
    for (int64_t i = Team::rank() * V; i < a.classes; i += kStep) store<V>(dx + i, {});
    return;
  }
  const float coefficient = a.dout[0] / total * weight;
  const float top = a.row_max[row];
  const float scale = coefficient / a.row_sum[row];
  // Read some before any is written: else every read would wait for the write before it.
  constexpr int kAtOnce = V == 1 ? 8 : 4;
  for (int64_t begin = Team::rank() * V; begin < a.classes; begin += kAtOnce * kStep) {
    // Seen from `begin`, as far as this step goes.
    const int end = static_cast<int>(a.classes - begin < kAtOnce * kStep ? a.classes - begin : kAtOnce * kStep);
    const int aim = target >= begin && target - begin < end ? static_cast<int>(target - begin) : -1;
    Floats<V> values[kAtOnce];
    Floats<V> before[kAtOnce];
#pragma unroll
    for (int p = 0; p < kAtOnce; ++p) {
      before[p] = {};
      if (p * kStep >= end) continue;
      values[p] = load<V>(x + begin + p * kStep);
      if (a.accumulate_dlogits) before[p] = load<V>(dx + begin + p * kStep);
    }
#pragma unroll
    for (int p = 0; p < kAtOnce; ++p) {
      if (p * kStep >= end) continue;
      for (int v = 0; v < V; ++v) {
        float value = fmaf(expf(values[p].at[v] - top), scale, before[p].at[v]);
        if (p * kStep + v == aim) value -= coefficient;
        values[p].at[v] = value;
      }
      store<V>(dx + begin + p * kStep, values[p]);
    }
  }
}

template <int V, int kHeld>
void launch_warps(const SoftmaxCrossEntropyForward& a, const RowTotals<3>& totals, const FaultSite& fault,
                  cudaStream_t stream) {
  forward_warp_kernel<V, kHeld><<<blocks_of(a.rows, kWarps), kWarp * kWarps, 0, stream>>>(a, totals, fault);
}

template <int V>
void launch_held(const SoftmaxCrossEntropyForward& a, const RowTotals<3>& totals, const FaultSite& fault,
                 cudaStream_t stream) {
  const int64_t held = ceil_div(a.classes, kWarp);
  if (held <= 8) return launch_warps<V, 8>(a, totals, fault, stream);
  if (held <= 32) return launch_warps<V, 32>(a, totals, fault, stream);
  launch_warps<V, kMostHeld>(a, totals, fault, stream);
}

template <int V>
void launch_backward(const SoftmaxCrossEntropyBackward& a, cudaStream_t stream) {
  const int threads = kWarp * kWarps;
  if (a.classes < kManyClasses) {
    backward_kernel<WarpTeam, V><<<blocks_of(a.rows, kWarps), threads, 0, stream>>>(a);
  } else {
    backward_kernel<BlockTeam, V><<<static_cast<unsigned>(a.rows), threads, 0, stream>>>(a);
  }
}

}  // namespace

void softmax_cross_entropy_forward(const SoftmaxCrossEntropyForward& a, Launch& launch) {
  double* memory = launch.workspace_of<double>(RowTotals<3>::elements(a.rows));
  if (!memory) return;
  const RowTotals<3> totals(memory, a.rows);
  const FaultSite fault(launch, "targets in [-1, classes)");
  if (a.rows > 0 && a.classes >= kManyClasses) {
    forward_block_kernel<<<static_cast<unsigned>(a.rows), kWarp * kWarps, 0, launch.stream>>>(a, totals, fault);
  } else if (a.rows > 0 && is_wide(a.classes, a.logits)) {
    launch_held<4>(a, totals, fault, launch.stream);
  } else if (a.rows > 0) {
    launch_held<1>(a, totals, fault, launch.stream);
  }
  finish_kernel<<<1, 1, 0, launch.stream>>>(a, totals.add_up(launch.stream));
}

void softmax_cross_entropy_backward(const SoftmaxCrossEntropyBackward& a, Launch& launch) {
  if (a.rows == 0) return;
  if (is_wide(a.classes, a.logits, a.dlogits)) {
    launch_backward<4>(a, launch.stream);
  } else {
    launch_backward<1>(a, launch.stream);
  }
}

}  // namespace cuda
}  // namespace seqrisk
