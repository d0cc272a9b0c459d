// N doubles for each row of a problem, and their sums over rows: always in the same order.
#pragma once

#include "kernels/cuda/device-inl.cuh"

namespace seqrisk {
namespace cuda {

constexpr int kTotalsThreads = 256;
constexpr int64_t kTotalsMostBlocks = 256;

// to[n, block] = Σ over the block's stretch of from[n, …]; `count` values of each n.
static __global__ void totals_kernel(const double* from, int64_t count, double* to, int64_t stretch) {
  __shared__ double shared[kTotalsThreads / kWarp];
  const int64_t begin = static_cast<int64_t>(blockIdx.x) * stretch;
  const int64_t end = begin + stretch < count ? begin + stretch : count;
  double sum = 0.0;
  for (int64_t i = begin + threadIdx.x; i < end; i += blockDim.x) sum += from[blockIdx.y * count + i];
  sum = block_sum(sum, shared);
  if (threadIdx.x == 0) to[blockIdx.y * gridDim.x + blockIdx.x] = sum;
}

template <int N>
class RowTotals {
 public:
  static int64_t elements(int64_t rows) { return N * (rows + kTotalsMostBlocks + 1); }

  RowTotals(double* memory, int64_t rows) : memory_(memory), rows_(rows) {}

  __device__ void put(int64_t row, int n, double value) const { memory_[n * rows_ + row] = value; }

  // The N sums, in device memory.
  const double* add_up(cudaStream_t stream) const {
    double* partial = memory_ + N * rows_;
    double* sums = partial + N * kTotalsMostBlocks;
    int64_t stretch = ceil_div(rows_, kTotalsMostBlocks);
    if (stretch < 4 * kTotalsThreads) stretch = 4 * kTotalsThreads;
    const unsigned blocks = rows_ == 0 ? 1 : blocks_of(rows_, stretch);
    totals_kernel<<<dim3(blocks, N), kTotalsThreads, 0, stream>>>(memory_, rows_, partial, stretch);
    totals_kernel<<<dim3(1, N), kTotalsThreads, 0, stream>>>(partial, blocks, sums, blocks);
    return sums;
  }

 private:
  double* memory_;
  int64_t rows_;
};

}  // namespace cuda
}  // namespace seqrisk
