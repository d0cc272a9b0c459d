// Sums of partial sums on CUDA.
#include "kernels/cuda/partial_sums.h"

#include "kernels/cuda/device-inl.cuh"

namespace seqrisk {
namespace cuda {
namespace {

// A block takes kColumns columns, V of them a thread; kShares threads share a column: each adds up every kShares-th
// partial, with kAtOnce of them on their way, and their sums are added in order.
template <int V, int kColumns, int kShares, int kAtOnce>
__global__ void __launch_bounds__(kColumns / V * kShares)
    add_partials_kernel(const float* partials, int64_t count, int64_t stride, int64_t columns, int64_t split,
                        float* first, float* second) {
  __shared__ Floats<V> sums[kShares][kColumns / V];
  const int64_t begin = static_cast<int64_t>(blockIdx.x) * kColumns;
  // The column that a thread finishes; what is there already is on its way with the partial sums.
  const int own = static_cast<int>(threadIdx.y * blockDim.x + threadIdx.x);
  const int64_t i = begin + own;
  const bool finishes = own < kColumns && i < columns;
  float* to = i < split ? first + i : second + (i - split);
  const float before = finishes ? *to : 0.0f;

  const int64_t column = begin + static_cast<int64_t>(threadIdx.x) * V;
  Floats<V> sum{};
  if (column < columns) {
    for (int64_t p = threadIdx.y; p < count; p += kShares * kAtOnce) {
      const float* from = partials + p * stride + column;
      Floats<V> parts[kAtOnce];
#pragma unroll
      for (int j = 0; j < kAtOnce; ++j) {
        parts[j] = p + j * kShares < count ? load<V>(from + j * kShares * stride) : Floats<V>{};
      }
#pragma unroll
      for (int j = 0; j < kAtOnce; ++j) {
        for (int v = 0; v < V; ++v) sum.at[v] += parts[j].at[v];
      }
    }
  }
  sums[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (!finishes) return;
  float all = sums[0][own / V].at[own % V];
#pragma unroll
  for (int y = 1; y < kShares; ++y) all += sums[y][own / V].at[own % V];
  *to = before + all;
}

}  // namespace

// Few columns of many partial sums occupy a card only as many small blocks, whose threads read 32 bytes of a partial
// sum together.
void add_partials(const float* partials, int64_t count, int64_t stride, int64_t columns, int64_t split, float* first,
                  float* second, cudaStream_t stream) {
  if (columns == 0) return;
  constexpr int kFewColumns = 8;
  constexpr int kManyColumns = 64;
  constexpr int kManyShares = 64;
  constexpr int kFewShares = 8;
  const bool wide = is_wide(columns, partials) && is_wide(stride);
  const bool few = columns < 16384 && count > 64;
  const unsigned blocks = blocks_of(columns, few ? kFewColumns : kManyColumns);
  const auto add = [&](auto kernel, int across, int shares) {
    kernel<<<blocks, dim3(across, shares), 0, stream>>>(partials, count, stride, columns, split, first, second);
  };
  if (few && wide) {
    add(add_partials_kernel<4, kFewColumns, kManyShares, 16>, kFewColumns / 4, kManyShares);
  } else if (few) {
    add(add_partials_kernel<1, kFewColumns, kManyShares, 16>, kFewColumns, kManyShares);
  } else if (wide) {
    add(add_partials_kernel<4, kManyColumns, kFewShares, 8>, kManyColumns / 4, kFewShares);
  } else {
    add(add_partials_kernel<1, kManyColumns, kFewShares, 8>, kManyColumns, kFewShares);
  }
}

}  // namespace cuda
}  // namespace seqrisk
