// gbrt_histogram on CUDA: a block adds rows of a group of features to cells in shared memory, packed as on the CPU, and
// adds the unpacked cells to the result. Integers: the CPU's, whatever the order.
#include "ops/gbrt_histogram.h"

#include "kernels/cuda/device-inl.cuh"

namespace seqrisk {
namespace cuda {
namespace {

constexpr int kThreads = 512;

// Rows [first, first + count) of the listed or all rows. Between two flushes a block takes `most_rows`, whose weight is
// at most kGbrtMostPending: no packed cell overflows (see ops/gbrt_rows.h).
__global__ void __launch_bounds__(kThreads)
    histogram_kernel(GbrtHistogram a, GbrtGroup group, int64_t most_rows, FaultSite fault) {
  extern __shared__ unsigned long long cells[];
  const int width = static_cast<int>(group.width);
  for (int i = threadIdx.x; i < width * kGbrtCells; i += kThreads) cells[i] = 0;
  __syncthreads();
  const int64_t begin = static_cast<int64_t>(blockIdx.x) * most_rows;
  const int64_t end = begin + most_rows < a.count ? begin + most_rows : a.count;
  for (int64_t i = begin + threadIdx.x; i < end; i += kThreads) {
    int64_t row = i;
    if (a.row_index) {
      row = a.row_index[i];
      if (row < 0 || row >= a.bins.rows) {
        if (group.first == 0) fault.report(i, row);
        continue;
      }
    }
    const auto packed = static_cast<unsigned long long>(a.packed[row]);
    const uint8_t* bins = group.bins + row * width;
    for (int f = 0; f < width; ++f) atomicAdd(cells + f * kGbrtCells + bins[f], packed);
  }
  __syncthreads();
  // A packed cell is (g << shift) + h with 0 ≤ h < 2^shift.
  for (int i = threadIdx.x; i < width * kGbrtCells; i += kThreads) {
    const auto packed = static_cast<long long>(cells[i]);
    if (packed == 0) continue;
    const long long h = packed & ((1LL << a.shift) - 1);
    const long long g = (packed - h) >> a.shift;
    int64_t* out = a.out + (group.first + i / kGbrtCells) * 2 * kGbrtCells + i % kGbrtCells;
    atomicAdd(reinterpret_cast<unsigned long long*>(out), static_cast<unsigned long long>(g));
    atomicAdd(reinterpret_cast<unsigned long long*>(out + kGbrtCells), static_cast<unsigned long long>(h));
  }
}

}  // namespace

void gbrt_histogram(const GbrtHistogram& a, Launch& launch) {
  const auto bytes = static_cast<size_t>(a.bins.features) * 2 * kGbrtCells * sizeof(int64_t);
  cudaMemsetAsync(a.out, 0, bytes, launch.stream);
  if (a.count == 0) return;
  const int64_t most_rows = kGbrtMostPending / a.most_weight;
  const FaultSite fault(launch, "row_index in [0, rows)");
  for (int64_t g = 0; g < a.bins.groups(); ++g) {
    const GbrtGroup group = a.bins.group(g);
    const auto shared = static_cast<size_t>(group.width * kGbrtCells) * sizeof(unsigned long long);
    histogram_kernel<<<blocks_of(a.count, most_rows), kThreads, shared, launch.stream>>>(a, group, most_rows, fault);
  }
}

}  // namespace cuda
}  // namespace seqrisk
