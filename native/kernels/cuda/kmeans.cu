// kmeans_assign and kmeans_seed on CUDA; all memory is the card's. Distances are the CPU's chains of float32
// operations, sums of clusters its chains of float64 ones, row after row: the same bits. Compiled without fused
// multiply-adds.
#include "ops/kmeans.h"

#include "kernels/cuda/device-inl.cuh"

namespace seqrisk {
namespace cuda {
namespace {

constexpr int kThreads = 128;      // rows of a block that looks for nearest centres
constexpr int kTogether = 8;       // centres that share the read of a value
constexpr int kSumThreads = 1024;  // each warp adds up every kSumWarps-th cluster
constexpr int kSumWarps = kSumThreads / kWarp;
constexpr size_t kTileBytes = 46 << 10;
static_assert(kKmeansLanes % kTogether == 0);

struct Nearest {
  float best;  // squared
  float second;
  int32_t center;
};

__device__ Nearest nearest(const KmeansAssign& a, const float* row) {
  const float far = __int_as_float(0x7f800000);
  Nearest found{far, far, 0};
  for (int64_t first = 0; first < a.clusters; first += kTogether) {
    float distance[kTogether] = {};
    for (int64_t f = 0; f < a.features; ++f) {
      const float value = row[f];
      const float* center = a.centers + f * a.padded + first;
#pragma unroll
      for (int k = 0; k < kTogether; ++k) {
        const float difference = value - __ldg(center + k);
        distance[k] += difference * difference;
      }
    }
#pragma unroll
    for (int k = 0; k < kTogether; ++k) {
      if (first + k >= a.clusters) continue;
      if (distance[k] < found.best) {
        found = {distance[k], found.best, static_cast<int32_t>(first + k)};
      } else if (distance[k] < found.second) {
        found.second = distance[k];
      }
    }
  }
  return found;
}

// `pitch` 0: rows are too wide for shared memory.
__global__ void __launch_bounds__(kThreads) assign_kernel(KmeansAssign a, int pitch) {
  extern __shared__ float tile[];
  const int64_t first = static_cast<int64_t>(blockIdx.x) * kThreads;
  const int64_t r = first + threadIdx.x;
  const bool moves = r < a.rows && !(a.moved && kmeans_stays(a, r));
  if (__syncthreads_count(moves) == 0) return;
  if (pitch > 0) {
    const int64_t rows = a.rows - first < kThreads ? a.rows - first : kThreads;
    const auto width = static_cast<int>(a.features);
    for (int i = threadIdx.x; i < rows * width; i += kThreads) {
      tile[i / width * pitch + i % width] = a.values[first * width + i];
    }
    __syncthreads();
  }
  bool changes = false;
  if (moves) {
    const Nearest found = nearest(a, pitch > 0 ? tile + threadIdx.x * pitch : a.values + r * a.features);
    changes = a.assigned[r] != found.center;
    a.assigned[r] = found.center;
    a.upper[r] = sqrtf(found.best) * (1 + a.slack);
    a.lower[r] = sqrtf(found.second) * (1 - a.slack);
  }
  const int count = __syncthreads_count(changes);
  if (threadIdx.x == 0 && count > 0) {
    atomicAdd(reinterpret_cast<unsigned long long*>(a.changed + first / kKmeansTaskRows),
              static_cast<unsigned long long>(count));
  }
}
static_assert(kKmeansTaskRows % kThreads == 0, "a block's rows are of one task");

// A part each block. A warp walks over all rows of the part and adds those of its clusters, lane by lane a feature.
__global__ void __launch_bounds__(kSumThreads) sum_kernel(KmeansAssign a, int64_t tasks) {
  const int64_t part = blockIdx.x;
  const int lane = threadIdx.x % kWarp;
  const int warp = threadIdx.x / kWarp;
  double* sums = a.sums + part * a.clusters * a.features;
  int64_t* counts = a.counts + part * a.clusters;
  for (int64_t i = threadIdx.x; i < a.clusters * a.features; i += kSumThreads) sums[i] = 0;
  for (int64_t i = threadIdx.x; i < a.clusters; i += kSumThreads) counts[i] = 0;
  __syncthreads();
  const int64_t begin = tasks * part / a.parts * kKmeansTaskRows;
  int64_t end = tasks * (part + 1) / a.parts * kKmeansTaskRows;
  end = end < a.rows ? end : a.rows;
  for (int64_t first = begin; first < end; first += kWarp) {
    const int32_t own = first + lane < end ? a.assigned[first + lane] : -1;
    unsigned left = __ballot_sync(kAllLanes, own >= 0 && own % kSumWarps == warp);
    while (left != 0) {
      const int i = __ffs(left) - 1;
      left &= left - 1;
      const int32_t cluster = __shfl_sync(kAllLanes, own, i);
      const float* row = a.values + (first + i) * a.features;
      double* to = sums + cluster * a.features;
      for (int64_t f = lane; f < a.features; f += kWarp) to[f] += static_cast<double>(row[f]);
      if (lane == 0) ++counts[cluster];
    }
  }
}

__global__ void __launch_bounds__(kKmeansTaskRows) seed_kernel(KmeansSeed a) {
  __shared__ float closer[kKmeansLanes][kKmeansTaskRows];
  const int64_t first = static_cast<int64_t>(blockIdx.x) * kKmeansTaskRows;
  const int64_t rows = a.rows - first < kKmeansTaskRows ? a.rows - first : kKmeansTaskRows;
  if (static_cast<int64_t>(threadIdx.x) < rows) {
    const int64_t r = first + threadIdx.x;
    const float* row = a.values + r * a.features;
    float distance[kKmeansLanes] = {};
    for (int64_t f = 0; f < a.features; ++f) {
      const float value = row[f];
#pragma unroll
      for (int k = 0; k < kKmeansLanes; ++k) {
        const float difference = value - __ldg(a.candidates + f * kKmeansLanes + k);
        distance[k] += difference * difference;
      }
    }
    const float closest = a.closest[r];
#pragma unroll
    for (int k = 0; k < kKmeansLanes; ++k) closer[k][threadIdx.x] = distance[k] < closest ? distance[k] : closest;
    if (a.update && distance[0] < closest) a.closest[r] = distance[0];
  }
  __syncthreads();
  if (threadIdx.x >= kKmeansLanes) return;
  double potential = 0;
  if (static_cast<int64_t>(threadIdx.x) < a.count) {
    for (int64_t i = 0; i < rows; ++i) potential += static_cast<double>(closer[threadIdx.x][i]);
  }
  a.potentials[blockIdx.x * kKmeansLanes + threadIdx.x] = potential;
}

}  // namespace

void kmeans_assign(const KmeansAssign& a, Launch& launch) {
  const int64_t tasks = ceil_div(a.rows, kKmeansTaskRows);
  cudaMemsetAsync(a.changed, 0, static_cast<size_t>(tasks) * sizeof(int64_t), launch.stream);
  const int64_t odd = a.features | 1;  // rows of a warp start in banks of their own
  const size_t bytes = static_cast<size_t>(odd) * kThreads * sizeof(float);
  const bool fits = bytes <= kTileBytes;
  assign_kernel<<<blocks_of(a.rows, kThreads), kThreads, fits ? bytes : 0, launch.stream>>>(
      a, fits ? static_cast<int>(odd) : 0);
  sum_kernel<<<static_cast<unsigned>(a.parts), kSumThreads, 0, launch.stream>>>(a, tasks);
}

void kmeans_seed(const KmeansSeed& a, Launch& launch) {
  const unsigned tasks = blocks_of(a.rows, kKmeansTaskRows);
  seed_kernel<<<tasks, static_cast<unsigned>(kKmeansTaskRows), 0, launch.stream>>>(a);
}

}  // namespace cuda
}  // namespace seqrisk
