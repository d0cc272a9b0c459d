// gbrt_bin on CUDA. Values and bounds stand in host memory: a column is laid side by side there, copied, and bisected
// by a thread for each row.
#include "ops/gbrt_bin.h"

#include <cstdlib>
#include <cstring>

#include "kernels/cuda/device-inl.cuh"

namespace seqrisk {
namespace cuda {
namespace {

// A column in the card's memory: its values, their bounds and the bins of categories.
template <class T>
__global__ void bin_kernel(GbrtBinColumn column, const T* values, const T* bounds, const uint8_t* bin_of,
                           int64_t rows) {
  const int64_t row = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (row >= rows) return;
  T value = values[row];
  if (bin_of) {
    // Categories are whole numbers from 0; −1 is in no table.
    const bool is_category = value >= 0 && value < T{2147483648.0};
    value = is_category ? static_cast<T>(static_cast<int64_t>(value)) : T{-1};
  }
  int64_t bin = 0;  // the number of bounds below the value
  for (int64_t step = kGbrtBounds / 2; step > 0; step /= 2) {
    if (bounds[bin + step - 1] < value) bin += step;
  }
  if (bin_of) {
    bin = value == bounds[bin] ? bin_of[bin] : 0;
  } else {
    bin = value != value ? column.nan : bin < column.last ? bin : column.last;
  }
  column.out[row * column.out_stride] = static_cast<uint8_t>(bin);
}

template <class T>
void bin_column(const GbrtBinColumn& column, int64_t rows, std::byte* device, std::byte* host, Launch& launch) {
  auto* values = reinterpret_cast<T*>(host);
  const T* from = static_cast<const T*>(column.values);
  for (int64_t row = 0; row < rows; ++row) values[row] = from[row * column.stride];
  std::memcpy(values + rows, column.bounds, kGbrtBounds * sizeof(T));
  auto* behind = reinterpret_cast<std::byte*>(values + rows + kGbrtBounds);
  if (column.bin_of) std::memcpy(behind, column.bin_of, kGbrtBounds);
  const size_t bytes = static_cast<size_t>(rows + kGbrtBounds) * sizeof(T) + kGbrtBounds;
  // From memory that is not pinned: the host may write it again once this returns.
  cudaMemcpyAsync(device, host, bytes, cudaMemcpyHostToDevice, launch.stream);
  const auto* bounds = reinterpret_cast<const T*>(device) + rows;
  const auto* bin_of = reinterpret_cast<const uint8_t*>(bounds + kGbrtBounds);
  bin_kernel<T><<<blocks_of(rows, 256), 256, 0, launch.stream>>>(column, reinterpret_cast<const T*>(device), bounds,
                                                                 column.bin_of ? bin_of : nullptr, rows);
}

}  // namespace

void gbrt_bin(const GbrtBin& a, Launch& launch) {
  if (a.rows == 0) return;
  const size_t bytes = static_cast<size_t>(a.rows + kGbrtBounds) * sizeof(double) + kGbrtBounds;
  auto* device = static_cast<std::byte*>(launch.workspace(bytes));
  auto* host = static_cast<std::byte*>(std::malloc(bytes));
  if (!device || !host) {
    std::free(host);
    if (device) launch.refuse("memory for a column on the host");
    return;
  }
  for (int64_t f = 0; f < a.features; ++f) {
    if (a.columns[f].is_double) {
      bin_column<double>(a.columns[f], a.rows, device, host, launch);
    } else {
      bin_column<float>(a.columns[f], a.rows, device, host, launch);
    }
  }
  std::free(host);
}

}  // namespace cuda
}  // namespace seqrisk
