// gbrt_bin on CUDA. Values and bounds stand in host memory: they are copied as they lie there, and each value is
// bisected by a thread.
#include "ops/gbrt_bin.h"

#include <cstdlib>
#include <cstring>

#include "kernels/cuda/device-inl.cuh"

namespace seqrisk {
namespace cuda {
namespace {

constexpr int kThreads = 256;
static_assert(kGbrtBounds == kThreads, "each thread takes a bound");

template <class T>
__device__ void bin_value(const GbrtBinColumn& column, int64_t row, bool is_row, T* bounds) {
  bounds[threadIdx.x] = static_cast<const T*>(column.bounds)[threadIdx.x];
  __syncthreads();
  if (!is_row) return;
  T value = static_cast<const T*>(column.values)[row * column.stride];
  if (column.bin_of) {
    // Categories are whole numbers from 0; −1 is in no table.
    const bool is_category = value >= 0 && value < T{2147483648.0};
    value = is_category ? static_cast<T>(static_cast<int64_t>(value)) : T{-1};
  }
  int64_t bin = 0;  // the number of bounds below the value
  for (int64_t step = kGbrtBounds / 2; step > 0; step /= 2) {
    if (bounds[bin + step - 1] < value) bin += step;
  }
  if (column.bin_of) {
    bin = value == bounds[bin] ? column.bin_of[bin] : 0;
  } else {
    bin = value != value ? column.nan : bin < column.last ? bin : column.last;
  }
  column.out[row * column.out_stride] = static_cast<uint8_t>(bin);
}

__global__ void bin_kernel(const GbrtBinColumn* columns, int64_t rows) {
  __shared__ double bounds[kGbrtBounds];
  const GbrtBinColumn column = columns[blockIdx.y];
  const int64_t row = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (column.is_double) {
    bin_value(column, row, row < rows, bounds);
  } else {
    bin_value(column, row, row < rows, reinterpret_cast<float*>(bounds));
  }
}

constexpr uintptr_t kBoundary = 16;

// Where a column's values lie.
struct Extent {
  uintptr_t begin;  // on a boundary
  uintptr_t end;

  size_t bytes() const { return (end - begin + kBoundary - 1) / kBoundary * kBoundary; }
};

size_t size_of(const GbrtBinColumn& column) {
  return column.is_double ? sizeof(double) : sizeof(float);
}

Extent extent_of(const GbrtBinColumn& column, int64_t rows) {
  const auto first = reinterpret_cast<uintptr_t>(column.values);
  const auto bytes = (static_cast<size_t>((rows - 1) * column.stride) + 1) * size_of(column);
  return {first / kBoundary * kBoundary, first + bytes};
}

}  // namespace

void gbrt_bin(const GbrtBin& a, Launch& launch) {
  if (a.rows == 0) return;
  const auto features = static_cast<size_t>(a.features);
  Extent all = extent_of(a.columns[0], a.rows);
  size_t apart = 0;
  size_t wanted = 0;
  for (int64_t f = 0; f < a.features; ++f) {
    const Extent own = extent_of(a.columns[f], a.rows);
    all.begin = own.begin < all.begin ? own.begin : all.begin;
    all.end = own.end > all.end ? own.end : all.end;
    apart += own.bytes();
    wanted += static_cast<size_t>(a.rows) * size_of(a.columns[f]);
  }
  // Columns of one table lie side by side: one copy for all.
  const bool together = all.bytes() <= 2 * wanted;
  const size_t table = (features * sizeof(GbrtBinColumn) + kBoundary - 1) / kBoundary * kBoundary;
  constexpr size_t kBoundBytes = kGbrtBounds * sizeof(double);
  const size_t head = table + features * (kBoundBytes + kGbrtBounds);
  const size_t values = together ? all.bytes() : apart;
  auto* device = static_cast<std::byte*>(launch.workspace(head + values));
  auto* host = static_cast<std::byte*>(std::malloc(head));
  if (!device || !host) {
    std::free(host);
    if (device) launch.refuse("memory for the columns on the host");
    return;
  }
  std::byte* next = device + head;
  if (together) {
    const auto bytes = all.end - all.begin;
    cudaMemcpyAsync(next, reinterpret_cast<const void*>(all.begin), bytes, cudaMemcpyHostToDevice, launch.stream);
  }
  auto* columns = reinterpret_cast<GbrtBinColumn*>(host);
  for (size_t f = 0; f < features; ++f) {
    const GbrtBinColumn& column = a.columns[f];
    const Extent own = extent_of(column, a.rows);
    const auto first = reinterpret_cast<uintptr_t>(column.values);
    GbrtBinColumn& on_card = columns[f] = column;
    if (together) {
      on_card.values = next + (first - all.begin);
    } else {
      const auto bytes = own.end - own.begin;
      cudaMemcpyAsync(next, reinterpret_cast<const void*>(own.begin), bytes, cudaMemcpyHostToDevice, launch.stream);
      on_card.values = next + (first - own.begin);
      next += own.bytes();
    }
    const size_t at = table + f * (kBoundBytes + kGbrtBounds);
    std::memcpy(host + at, column.bounds, kGbrtBounds * size_of(column));
    on_card.bounds = device + at;
    if (!column.bin_of) continue;
    std::memcpy(host + at + kBoundBytes, column.bin_of, kGbrtBounds);
    on_card.bin_of = reinterpret_cast<const uint8_t*>(device + at + kBoundBytes);
  }
  // From memory that is not pinned: the host may write it again once this returns.
  cudaMemcpyAsync(device, host, head, cudaMemcpyHostToDevice, launch.stream);
  std::free(host);
  const dim3 grid(blocks_of(a.rows, kThreads), static_cast<unsigned>(features));
  bin_kernel<<<grid, kThreads, 0, launch.stream>>>(reinterpret_cast<const GbrtBinColumn*>(device), a.rows);
}

}  // namespace cuda
}  // namespace seqrisk
