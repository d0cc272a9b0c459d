// adamw on CUDA: the norm of all gradients stays on the card, where the update reads it. Tensors travel as arguments,
// some a launch.
#include "ops/adamw.h"

#include "kernels/cuda/device-inl.cuh"

namespace seqrisk {
namespace cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kTensorsPerLaunch = 48;

struct Tensors {
  AdamwTensor at[kTensorsPerLaunch];
  int count;

  // The tensor that holds the task: tensors without elements have none.
  __device__ const AdamwTensor& of(int64_t task) const {
    int found = 0;
    for (int t = 1; t < count; ++t) {
      if (at[t].first_task <= task && at[t].size > 0) found = t;
    }
    return at[found];
  }
};

struct Factors {
  float beta1;
  float beta2;
  float v_scale;  // 1 / (1 − β2^step)
  float eps;
  float step_size;  // lr / (1 − β1^step)
  float keep;       // 1 − lr · weight_decay
  double max_norm;
  bool zero_gradients;
};

__global__ void squares_kernel(Tensors tensors, int64_t first_task, double* sums) {
  __shared__ double shared[kThreads / kWarp];
  const int64_t task = first_task + blockIdx.x;
  const AdamwTensor& tensor = tensors.of(task);
  const int64_t begin = (task - tensor.first_task) * kAdamwElementsPerTask;
  const int64_t end = begin + kAdamwElementsPerTask < tensor.size ? begin + kAdamwElementsPerTask : tensor.size;
  double sum = 0.0;
  for (int64_t i = begin + threadIdx.x; i < end; i += kThreads) {
    const double g = static_cast<double>(tensor.gradient[i]);
    sum = fma(g, g, sum);
  }
  sum = block_sum(sum, shared);
  if (threadIdx.x == 0) sums[task] = sum;
}

__global__ void norm_kernel(const double* sums, int64_t tasks, double* norm, float* out) {
  __shared__ double shared[kThreads / kWarp];
  double sum = 0.0;
  for (int64_t task = threadIdx.x; task < tasks; task += kThreads) sum += sums[task];
  sum = block_sum(sum, shared);
  if (threadIdx.x != 0) return;
  *norm = sqrt(sum);
  *out = static_cast<float>(*norm);
}

__global__ void update_kernel(Tensors tensors, int64_t first_task, Factors f, const double* norm) {
  if (!(static_cast<float>(*norm) <= 3.402823466e38f)) return;  // NaN and infinity alike
  const float clip = *norm > f.max_norm ? static_cast<float>(f.max_norm / *norm) : 1.0f;
  const int64_t task = first_task + blockIdx.x;
  const AdamwTensor& tensor = tensors.of(task);
  const float keep = tensor.decay ? f.keep : 1.0f;
  const int64_t begin = (task - tensor.first_task) * kAdamwElementsPerTask;
  const int64_t end = begin + kAdamwElementsPerTask < tensor.size ? begin + kAdamwElementsPerTask : tensor.size;
  for (int64_t i = begin + threadIdx.x; i < end; i += kThreads) {
    const float g = tensor.gradient[i] * clip;
    const float m = fmaf(f.beta1, tensor.m[i], (1.0f - f.beta1) * g);
    const float v = fmaf(f.beta2, tensor.v[i], (1.0f - f.beta2) * (g * g));
    const float divisor = sqrtf(v * f.v_scale) + f.eps;
    tensor.value[i] = fmaf(-f.step_size, m / divisor, tensor.value[i] * keep);
    tensor.m[i] = m;
    tensor.v[i] = v;
    if (f.zero_gradients) tensor.gradient[i] = 0.0f;
  }
}

// By squaring, as on the CPU: the library's pow may round differently.
double power(double base, int64_t exponent) {
  double result = 1.0;
  for (; exponent > 0; exponent >>= 1, base *= base) {
    if (exponent & 1) result *= base;
  }
  return result;
}

// Calls f with the tensors of one launch after the other, their first task and how many tasks they have.
template <class F>
void each_launch(const AdamwUpdate& a, F f) {
  for (int64_t first = 0; first < a.count; first += kTensorsPerLaunch) {
    Tensors tensors;
    tensors.count = 0;
    int64_t tasks = 0;
    for (int64_t t = first; t < a.count && t < first + kTensorsPerLaunch; ++t) {
      tensors.at[tensors.count++] = a.tensors[t];
      tasks += adamw_tasks(a.tensors[t].size);
    }
    if (tasks > 0) f(tensors, a.tensors[first].first_task, static_cast<unsigned>(tasks));
  }
}

}  // namespace

void adamw_update(const AdamwUpdate& a, Launch& launch) {
  double* sums = launch.workspace_of<double>(a.tasks + 1);
  if (!sums) return;
  double* norm = sums + a.tasks;
  each_launch(a, [&](const Tensors& tensors, int64_t first_task, unsigned tasks) {
    squares_kernel<<<tasks, kThreads, 0, launch.stream>>>(tensors, first_task, sums);
  });
  norm_kernel<<<1, kThreads, 0, launch.stream>>>(sums, a.tasks, norm, a.norm);
  Factors f;
  f.beta1 = a.beta1;
  f.beta2 = a.beta2;
  f.v_scale = static_cast<float>(1.0 / (1.0 - power(static_cast<double>(a.beta2), a.step)));
  f.eps = a.eps;
  f.step_size = static_cast<float>(static_cast<double>(a.lr) / (1.0 - power(static_cast<double>(a.beta1), a.step)));
  f.keep = 1.0f - a.lr * a.weight_decay;
  f.max_norm = static_cast<double>(a.max_norm);
  f.zero_gradients = a.zero_gradients;
  each_launch(a, [&](const Tensors& tensors, int64_t first_task, unsigned tasks) {
    update_kernel<<<tasks, kThreads, 0, launch.stream>>>(tensors, first_task, f, norm);
  });
}

}  // namespace cuda
}  // namespace seqrisk
