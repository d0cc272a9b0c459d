// gbrt_histogram on CUDA: blocks of threads add runs of rows to cells in shared memory, and those to the result.
// Integers: the CPU's, whatever the order.
#include "ops/gbrt_histogram.h"

#include "kernels/cuda/gbrt_cells-inl.cuh"

namespace seqrisk {
namespace cuda {
namespace {

constexpr int64_t kLeastRows = 1024;  // of a block
constexpr int kBlocksEach = 2;        // of a multiprocessor

__global__ void __launch_bounds__(kCellThreads) histogram_kernel(GbrtHistogram a, int64_t run, FaultSite fault) {
  const CellPart part = cell_part(a.bins, blockIdx.y, run == 0);
  const int64_t begin = a.count * blockIdx.x / gridDim.x;
  const int64_t end = a.count * (blockIdx.x + 1) / gridDim.x;
  const auto row_of = [&](int64_t i) {
    const int64_t row = a.row_index ? a.row_index[i] : i;
    if (row >= 0 && row < a.bins.rows) return row;
    if (part.first == 0) fault.report(i, row);
    return int64_t{-1};
  };
  const auto take = [&](const uint32_t* cells, bool) {
    over_cells(part, a.shift, cells, [&](int feature, int bin, int64_t g, int64_t h) {
      auto* to = reinterpret_cast<unsigned long long*>(a.out) + (part.first + feature) * 2 * kGbrtCells + bin;
      if (g != 0) atomicAdd(to, static_cast<unsigned long long>(g));
      if (h != 0) atomicAdd(to + kGbrtCells, static_cast<unsigned long long>(h));
    });
  };
  add_chunk(part, a.packed, a.shift, begin, end, run, row_of, take);
}

}  // namespace

void gbrt_histogram(const GbrtHistogram& a, Launch& launch) {
  const auto bytes = static_cast<size_t>(a.bins.features) * 2 * kGbrtCells * sizeof(int64_t);
  cudaMemsetAsync(a.out, 0, bytes, launch.stream);
  if (a.count == 0) return;
  const int64_t run = packed_run(a.most_weight);
  const unsigned parts = static_cast<unsigned>(a.bins.groups()) * cell_parts(run == 0);
  const int64_t wanted = ceil_div(static_cast<int64_t>(launch.multiprocessors) * kBlocksEach, parts);
  const int64_t most = ceil_div(a.count, kLeastRows);
  const dim3 grid(static_cast<unsigned>(wanted < most ? wanted : most), parts);
  const size_t shared = cell_bytes(a.bins.features, run == 0);
  histogram_kernel<<<grid, kCellThreads, shared, launch.stream>>>(a, run, FaultSite(launch, "row_index in [0, rows)"));
}

}  // namespace cuda
}  // namespace seqrisk
