// Tiles of attention in shared memory: loading them, and the products between them. A block of 256 threads is a square
// of 16 × 16; a thread has kTile / 16 rows next to each other, and every 16th column.
#pragma once

#include "kernels/cuda/device-inl.cuh"

namespace seqrisk {
namespace cuda {

constexpr int kAttentionThreads = 256;
constexpr int kAcross = 16;

__device__ inline int row_of_thread() {
  return static_cast<int>(threadIdx.x) / kAcross;
}
__device__ inline int column_of_thread() {
  return static_cast<int>(threadIdx.x) % kAcross;
}

// Odd strides: the same column of many rows lies in different banks.
__host__ __device__ inline int padded_dim(int dim) {
  return dim | 1;
}

// Rows [0, rows) of a matrix from `from` on, zeros behind them.
template <int kTile>
__device__ void load_tile(float* shared, const float* from, int64_t stride, int rows, int dim) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  for (int row = static_cast<int>(threadIdx.x) / kWarp; row < kTile; row += kAttentionThreads / kWarp) {
    for (int column = lane; column < dim; column += kWarp) {
      shared[row * padded_dim(dim) + column] = row < rows ? from[row * stride + column] : 0.0f;
    }
  }
}

// products[i][j] = left row (i) · right row (j)
template <int kTile>
__device__ void row_products(const float* left, const float* right, int dim,
                             float (&products)[kTile / kAcross][kTile / kAcross]) {
  constexpr int kEach = kTile / kAcross;
  const float* a = left + row_of_thread() * kEach * padded_dim(dim);
  const float* b = right + column_of_thread() * padded_dim(dim);
#pragma unroll
  for (int i = 0; i < kEach; ++i) {
#pragma unroll
    for (int j = 0; j < kEach; ++j) products[i][j] = 0.0f;
  }
#pragma unroll 4
  for (int c = 0; c < dim; ++c) {
    float x[kEach];
    float y[kEach];
#pragma unroll
    for (int i = 0; i < kEach; ++i) {
      x[i] = a[i * padded_dim(dim) + c];
      y[i] = b[i * kAcross * padded_dim(dim) + c];
    }
#pragma unroll
    for (int i = 0; i < kEach; ++i) {
#pragma unroll
      for (int j = 0; j < kEach; ++j) products[i][j] = fmaf(x[i], y[j], products[i][j]);
    }
  }
}

// sums[i][c] += Σ_j weight(i, j) · rows[j], where weight(i, j) is weights[i][j], or weights[j][i] when transposed.
template <int kTile, int kColumns, bool kTransposed>
__device__ void add_weighted(const float* weights, const float* rows, int count, int dim,
                             float (&sums)[kTile / kAcross][kColumns]) {
  constexpr int kEach = kTile / kAcross;
  const int first = row_of_thread() * kEach;
  const int column = column_of_thread();
#pragma unroll 2
  for (int j = 0; j < count; ++j) {
    float w[kEach];
#pragma unroll
    for (int i = 0; i < kEach; ++i) {
      w[i] = kTransposed ? weights[j * (kTile + 1) + first + i] : weights[(first + i) * (kTile + 1) + j];
    }
#pragma unroll
    for (int c = 0; c < kColumns; ++c) {
      // Columns behind dim are read from the next row, or from behind the tile's end: their sums go nowhere.
      const float value = column + c * kAcross < dim ? rows[j * padded_dim(dim) + column + c * kAcross] : 0.0f;
#pragma unroll
      for (int i = 0; i < kEach; ++i) sums[i][c] = fmaf(w[i], value, sums[i][c]);
    }
  }
}

template <int kTile>
__device__ void put_weights(float* weights, const float (&values)[kTile / kAcross][kTile / kAcross]) {
  constexpr int kEach = kTile / kAcross;
#pragma unroll
  for (int i = 0; i < kEach; ++i) {
#pragma unroll
    for (int j = 0; j < kEach; ++j) {
      weights[(row_of_thread() * kEach + i) * (kTile + 1) + column_of_thread() + j * kAcross] = values[i][j];
    }
  }
}

// to[row, column] = sums, or += them. Everything is read before anything is written: else every read would wait for the
// write before it.
template <int kTile, int kColumns>
__device__ void put_rows(float* to, int64_t stride, int rows, int dim, bool accumulate,
                         float (&sums)[kTile / kAcross][kColumns]) {
  constexpr int kEach = kTile / kAcross;
  const auto each = [&](auto f) {
#pragma unroll
    for (int i = 0; i < kEach; ++i) {
      const int row = row_of_thread() * kEach + i;
#pragma unroll
      for (int c = 0; c < kColumns; ++c) {
        const int column = column_of_thread() + c * kAcross;
        if (row < rows && column < dim) f(to[row * stride + column], sums[i][c]);
      }
    }
  };
  if (accumulate) each([](const float& at, float& sum) { sum += at; });
  each([](float& at, const float& sum) { at = sum; });
}

// Over the 16 threads that share rows.
__device__ inline float row_max(float value) {
  for (int step = kAcross / 2; step > 0; step /= 2) value = fmaxf(value, __shfl_xor_sync(kAllLanes, value, step));
  return value;
}
__device__ inline float row_sum(float value) {
  for (int step = kAcross / 2; step > 0; step /= 2) value += __shfl_xor_sync(kAllLanes, value, step);
  return value;
}

constexpr const char* kSharedMemory = "a card with more shared memory for heads this wide";

// Which tile fits the head and the card: rows, and columns of a thread. Calls f(tile, columns) with the largest whose
// `matrices` tiles of rows and `squares` of weights fit in a block's shared memory; false when none does.
template <int N>
struct Number {
  static constexpr int value = N;
};
template <int kTile>
size_t attention_shared(int dim, int matrices, int squares) {
  return static_cast<size_t>(matrices * kTile * padded_dim(dim) + squares * kTile * (kTile + 1)) * sizeof(float);
}
template <class F>
bool with_attention_tile(int dim, int matrices, int squares, size_t limit, F f) {
  const auto fits = [&](auto tile) { return attention_shared<decltype(tile)::value>(dim, matrices, squares) <= limit; };
  if (dim <= 32 && fits(Number<64>())) return f(Number<64>(), Number<2>()), true;
  if (dim <= 64 && fits(Number<64>())) return f(Number<64>(), Number<4>()), true;
  if (dim <= 128 && fits(Number<32>())) return f(Number<32>(), Number<8>()), true;
  if (dim <= 256 && fits(Number<16>())) return f(Number<16>(), Number<16>()), true;
  return false;
}

}  // namespace cuda
}  // namespace seqrisk
