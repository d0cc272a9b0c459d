// machine on CUDA: register-only multiply-adds, a copy, and additions to shared memory.
#include "ops/machine.h"

#include "kernels/cuda/device-inl.cuh"

namespace seqrisk {
namespace cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kChains = 8;
constexpr int kBlocksPerTask = 16;  // 64 tasks fill the largest card

__global__ void peak_kernel(MachinePeak a) {
  float chains[kChains];
#pragma unroll
  for (int i = 0; i < kChains; ++i) chains[i] = static_cast<float>(threadIdx.x + i);
  for (int64_t round = 0; round < a.rounds; ++round) {
#pragma unroll
    for (int i = 0; i < kChains; ++i) chains[i] = fmaf(chains[i], 0.999f, 0.001f);
  }
  float sum = 0.0f;
#pragma unroll
  for (int i = 0; i < kChains; ++i) sum += chains[i];
  // So that the work cannot be left out.
  const unsigned task = blockIdx.x / kBlocksPerTask;
  if (blockIdx.x % kBlocksPerTask == 0 && threadIdx.x < kMachineFloatsMax) {
    a.sums[task * kMachineFloatsMax + threadIdx.x] = sum;
  } else if (sum == 12345.678f) {
    a.sums[0] = sum;
  }
  if (blockIdx.x == 0 && threadIdx.x == 0) a.multiply_adds[0] = static_cast<float>(kBlocksPerTask * kThreads * kChains);
}

// A block does one task: kMachineIndices additions a round, to cells that no one foresees.
__global__ void update_kernel(MachineUpdate a) {
  __shared__ unsigned long long cells[8 * kMachineCells];
  for (int i = threadIdx.x; i < 8 * kMachineCells; i += kThreads) cells[i] = 0;
  __syncthreads();
  uint32_t state = threadIdx.x * 747796405u + 1;
  for (int64_t round = 0; round < a.rounds; ++round) {
    for (int i = 0; i < kMachineIndices / kThreads; ++i) {
      state = state * 1664525u + 1013904223u;
      atomicAdd(cells + state / 2097152u, static_cast<unsigned long long>(round));
    }
  }
  __syncthreads();
  if (threadIdx.x == 0) a.sums[blockIdx.x] = static_cast<int32_t>(cells[0]);
}

struct Copy {
  MachineCopy a;

  template <int V>
  __device__ void run(int64_t i) const {
    store<V>(a.out + i, load<V>(a.x + i));
  }
};

}  // namespace

void machine_peak(const MachinePeak& a, Launch& launch) {
  if (a.tasks == 0) return;
  peak_kernel<<<static_cast<unsigned>(a.tasks * kBlocksPerTask), kThreads, 0, launch.stream>>>(a);
}

void machine_update(const MachineUpdate& a, Launch& launch) {
  if (a.tasks == 0) return;
  update_kernel<<<static_cast<unsigned>(a.tasks), kThreads, 0, launch.stream>>>(a);
}

void machine_copy(const MachineCopy& a, Launch& launch) {
  over_elements(a.count, is_wide(0, a.x, a.out), Copy{a}, launch.stream);
}

}  // namespace cuda
}  // namespace seqrisk
