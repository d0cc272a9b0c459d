// The passes over all rows of a boosting round on CUDA: gbrt_draw_rows, gbrt_add_leaves, gbrt_pack_gradients and
// gbrt_follow. The CPU's arithmetic, operation by operation: compiled without fused multiply-adds.
#include "kernels/cuda/device-inl.cuh"
#include "ops/gbrt_grow.h"
#include "ops/philox.h"
#include "ops/same_math.h"

namespace seqrisk {
namespace cuda {
namespace {

constexpr int kThreads = 256;

__device__ int64_t row_of_thread() {
  return static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
}

__device__ unsigned warp_total(unsigned value) {
  for (int step = kWarp / 2; step > 0; step /= 2) value += __shfl_xor_sync(kAllLanes, value, step);
  return value;
}
__device__ unsigned warp_most(unsigned value) {
  for (int step = kWarp / 2; step > 0; step /= 2) {
    const unsigned other = __shfl_xor_sync(kAllLanes, value, step);
    value = other > value ? other : value;
  }
  return value;
}

// A whole number from 0 to 2^32 − 1 of draws in 2^32.
struct Above {
  uint32_t draws[kGbrtMostDraws];
};

__global__ void draw_kernel(GbrtDrawRows a, Above above) {
  const int64_t r = row_of_thread();
  unsigned count = 0;
  unsigned units = 0;
  if (r < a.rows) {
    const float own = a.own_weights ? a.own_weights[r] : 1.0f;
    const bool candidate = a.candidates[r] != 0;
    const PhiloxBlock random =
        philox4x32({{static_cast<uint32_t>(r), static_cast<uint32_t>(r >> 32), a.stream, a.draw}}, a.seed);
    bool chosen;
    float weight = own;
    if (a.is_bootstrap) {
      int draws = 0;
      while (candidate && draws < kGbrtMostDraws && random.word[0] < above.draws[draws]) ++draws;
      weight = own * static_cast<float>(draws);
      a.weights[r] = weight;
      chosen = draws > 0;
    } else {
      chosen = candidate && static_cast<double>(random.word[0]) * 0x1p-32 < a.limit;
    }
    a.trains[r] = chosen;
    if (chosen) {
      units = static_cast<unsigned>(ceilf(weight));
      count = a.whole_weights ? units : 1;
    }
  }
  count = warp_total(count);
  units = warp_most(units);
  if (threadIdx.x % kWarp != 0) return;
  if (count > 0) atomicAdd(&a.totals->drawn, static_cast<unsigned long long>(count));
  if (units > 0) atomicMax(&a.totals->most_units, units);
}

__global__ void add_leaves_kernel(GbrtAddLeaves a) {
  const int64_t position = row_of_thread();
  if (position >= a.rows) return;
  // The last run that begins at or before the position.
  int64_t low = 0;
  int64_t high = a.count;
  while (high - low > 1) {
    const int64_t middle = (low + high) / 2;
    if (a.runs[middle].begin <= position) {
      low = middle;
    } else {
      high = middle;
    }
  }
  const GbrtRun run = a.runs[low];
  if (!run.is_used) return;
  const int64_t row = a.order ? a.order[run.list * a.rows + position] : position;
  a.out[row] += run.value;
  if (a.counts) a.counts[row] += 1;
}

// e^x for x ≤ 0, as gbrt_gradient has it on the CPU.
__device__ float exp_alike(float x) {
  const float clamped = x > -88.0f ? x : -88.0f;
  const float shifted = clamped * 1.44269504088896341f + 12582912.0f;
  const float n = shifted - 12582912.0f;
  float r = n * -0.693359375f + clamped;
  r = n * 2.12194440e-4f + r;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = (p * (r * r) + r) + 1.0f;
  const int power = (__float_as_int(shifted) << 23) + (127 << 23);
  return x >= -87.33f ? p * __int_as_float(power) : 0.0f;
}

// Nearest integer, ties to even, of |x| < 2^51.
__device__ int64_t nearest(double x) {
  constexpr double kMagic = 6755399441055744.0;
  return __double_as_longlong(x + kMagic) - __double_as_longlong(kMagic);
}
// Never 0 for a Hessian above 0.
__device__ int64_t nearest_above_zero(double h) {
  return nearest(h > 0 && h < 1 ? 1.0 : h);
}

__device__ void gradient_of_row(const GbrtPackGradients& a, int64_t row, double* g, double* h) {
  const double score = a.scores[a.cls * a.rows + row];
  switch (a.objective) {
    case GbrtObjective::squared: {
      const double target = static_cast<double>(a.targets[row]);
      *g = score - (a.classes == 1 ? target : target == static_cast<double>(a.cls) ? 1.0 : 0.0);
      *h = 1.0;
      return;
    }
    case GbrtObjective::logistic: {
      const float v = static_cast<float>(score);
      const float e = exp_alike(-fabsf(v));
      const float small = e / (1.0f + e);  // σ(−|v|)
      const float p = v < 0 ? small : 1.0f - small;
      *g = p - a.targets[row];
      *h = small * (1.0f - small);
      return;
    }
    case GbrtObjective::softmax: {
      double* log_sum = a.log_sum + row;
      if (a.cls == 0) {
        double most = score;
        for (int64_t k = 1; k < a.classes; ++k) {
          const double s = a.scores[k * a.rows + row];
          most = s > most ? s : most;
        }
        double sum = 0;
        for (int64_t k = 0; k < a.classes; ++k) sum += same_exp(a.scores[k * a.rows + row] - most);
        *log_sum = most + same_log(sum);
      }
      const double factor = static_cast<double>(a.classes) / static_cast<double>(a.classes - 1);
      const double p = same_exp(score - *log_sum);
      const double bounded = p < 1.0 ? p : 1.0;
      *g = bounded - (static_cast<int64_t>(a.targets[row]) == a.cls ? 1.0 : 0.0);
      *h = factor * bounded * (1.0 - bounded);
      return;
    }
    case GbrtObjective::custom:
      *g = static_cast<double>(a.custom_grad[row]);
      *h = static_cast<double>(a.custom_hess[row]);
      return;
  }
}

__global__ void pack_kernel(GbrtPackGradients a) {
  const int64_t row = row_of_thread();
  unsigned long long most = 0;
  if (row < a.rows) {
    double g = 0;
    double h = 0;
    gradient_of_row(a, row, &g, &h);
    const int64_t unit = int64_t{1} << a.shift;
    int64_t value;
    if (a.weights && !a.whole_weights) {
      const double w = static_cast<double>(a.weights[row]);
      value = nearest(g * w * a.g_scale) * unit + nearest_above_zero(h * w * a.h_scale);
    } else {
      value = nearest(g * a.g_scale) * unit + (a.constant_hessian ? 1 : nearest_above_zero(h * a.h_scale));
      if (a.weights) value *= static_cast<int64_t>(a.weights[row]);
    }
    a.packed[row] = value;
    // Bits of numbers from 0 ascend as the numbers do.
    if (!a.bounded || a.bounded[row]) most = static_cast<unsigned long long>(__double_as_longlong(fabs(g)));
  }
  if (a.objective != GbrtObjective::squared) return;
  for (int step = kWarp / 2; step > 0; step /= 2) {
    const unsigned long long other = __shfl_xor_sync(kAllLanes, most, step);
    most = other > most ? other : most;
  }
  if (threadIdx.x % kWarp == 0 && most > a.totals->most_residual) atomicMax(&a.totals->most_residual, most);
}

__global__ void follow_kernel(GbrtFollow a) {
  const int64_t row = row_of_thread();
  if (row >= a.rows) return;
  int at = 0;
  while (at >= 0) {
    const GbrtFollowNode& node = a.nodes[at];
    const uint8_t bin = node.bins[row * node.stride];
    at = node.children[node.left[bin >> 6] >> (bin & 63) & 1];
  }
  a.scores[row] += a.values[-1 - at];
}

}  // namespace

void gbrt_draw_rows(const GbrtDrawRows& a, Launch& launch) {
  Above above;
  gbrt_poisson_above(above.draws);
  draw_kernel<<<blocks_of(a.rows, kThreads), kThreads, 0, launch.stream>>>(a, above);
}

void gbrt_add_leaves(const GbrtAddLeaves& a, Launch& launch) {
  add_leaves_kernel<<<blocks_of(a.rows, kThreads), kThreads, 0, launch.stream>>>(a);
}

void gbrt_pack_gradients(const GbrtPackGradients& a, Launch& launch) {
  pack_kernel<<<blocks_of(a.rows, kThreads), kThreads, 0, launch.stream>>>(a);
}

void gbrt_follow(const GbrtFollow& a, Launch& launch) {
  follow_kernel<<<blocks_of(a.rows, kThreads), kThreads, 0, launch.stream>>>(a);
}

}  // namespace cuda
}  // namespace seqrisk
