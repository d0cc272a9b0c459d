// Tiles of attention for tensor cores: bringing them into shared memory, the products between them, and writing rows of
// results. A block of four warps has a tile of 64 rows, a warp 16 of them.
#pragma once

#include "kernels/cuda/matrix-inl.cuh"

namespace seqrisk {
namespace cuda {
namespace matrix_tiles {

constexpr int kTile = 64;
constexpr int kThreads = 128;
constexpr int kBlocks = kTile / 8;  // 16 × 8 results across a tile

// Columns behind the head's are zeros: D is its width rounded up.
template <int D>
constexpr int kStride = D + kMatrixPad;

// A tile in shared memory and where it comes from: rows of a head in memory.
struct TileSource {
  Bfloat16* shared;
  const Bfloat16* from;
  int64_t stride;
  int rows;
};

// Whether rows are read and written in pieces of eight elements.
__device__ inline bool has_pieces(const Bfloat16* rows, int64_t stride, int dim) {
  return dim % 8 == 0 && stride % 8 == 0 && reinterpret_cast<uintptr_t>(rows) % 16 == 0;
}

// Brings N tiles. They are there behind the block's next barrier.
template <int D, int N>
__device__ void load_tiles(const TileSource (&tiles)[N], int dim) {
  constexpr int kAcross = D / 8;
#pragma unroll
  for (int n = 0; n < N; ++n) {
    const TileSource& tile = tiles[n];
    const bool pieces = has_pieces(tile.from, tile.stride, dim);
#pragma unroll
    for (int i = static_cast<int>(threadIdx.x); i < kTile * kAcross; i += kThreads) {
      const int row = i / kAcross;
      const int column = i % kAcross * 8;
      Bfloat16* to = tile.shared + row * kStride<D> + column;
      const bool inside = row < tile.rows && column < dim;
      const Bfloat16* from = tile.from + (inside ? row * tile.stride + column : 0);
      if (pieces) {
        copy_async(to, from, inside);
      } else {
        for (int v = 0; v < 8; ++v) to[v] = inside && column + v < dim ? from[v] : Bfloat16(0.0f);
      }
    }
  }
  close_async_group();
  wait_async_groups<0>();
}

// products = left rows [row, row + 16) · right rows [0, 64)
template <int D>
__device__ void row_products(const Bfloat16* left, const Bfloat16* right, int row, float (&products)[kBlocks][4]) {
#pragma unroll
  for (int j = 0; j < kBlocks; ++j) {
    for (int e = 0; e < 4; ++e) products[j][e] = 0.0f;
  }
#pragma unroll
  for (int k = 0; k < D; k += 16) {
    uint32_t a[4];
    load_left<true>(a, left, kStride<D>, row, k);
#pragma unroll
    for (int j = 0; j < kBlocks / 2; ++j) {
      uint32_t b[4];
      load_right<true>(b, right, kStride<D>, j * 16, k);
      multiply_add(products[2 * j], a, b[0], b[1]);
      multiply_add(products[2 * j + 1], a, b[2], b[3]);
    }
  }
}

// sums += weights (16 × 64, in registers) · rows [0, 64)
template <int D>
__device__ void add_weighted(const float (&weights)[kBlocks][4], const Bfloat16* rows, float (&sums)[D / 8][4]) {
#pragma unroll
  for (int k = 0; k < kTile / 16; ++k) {
    uint32_t a[4];
    as_left(a, weights[2 * k], weights[2 * k + 1]);
#pragma unroll
    for (int c = 0; c < D / 16; ++c) {
      uint32_t b[4];
      load_right<false>(b, rows, kStride<D>, c * 16, k * 16);
      multiply_add(sums[2 * c], a, b[0], b[1]);
      multiply_add(sums[2 * c + 1], a, b[2], b[3]);
    }
  }
}

// Calls f(element, row in the warp's 16, column) for the lane's elements of a 16 × 8·N result.
template <int N, class F>
__device__ void each_element(float (&values)[N][4], F f) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
#pragma unroll
  for (int j = 0; j < N; ++j) {
#pragma unroll
    for (int e = 0; e < 4; ++e) f(values[j][e], lane / 4 + e / 2 * 8, j * 8 + lane % 4 * 2 + e % 2);
  }
}

// to[row, column] = sums, or += them, for rows of the tile. Everything is read before anything is written: else every
// read would wait for the write before it.
template <int D>
__device__ void put_rows(float* to, int64_t stride, int first, int rows, int dim, bool accumulate,
                         float (&sums)[D / 8][4]) {
  const auto inside = [&](int row, int column) { return first + row < rows && column < dim; };
  if (accumulate) {
    each_element(sums, [&](float& value, int row, int column) {
      if (inside(row, column)) value += to[(first + row) * stride + column];
    });
  }
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const bool pairs = dim % 2 == 0 && stride % 2 == 0 && reinterpret_cast<uintptr_t>(to) % 8 == 0;
#pragma unroll
  for (int j = 0; j < D / 8; ++j) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = lane / 4 + half * 8;
      const int column = j * 8 + lane % 4 * 2;
      if (!inside(row, column)) continue;
      float* at = to + (first + row) * stride + column;
      if (pairs) {
        store<2>(at, {{sums[j][2 * half], sums[j][2 * half + 1]}});
      } else {
        at[0] = sums[j][2 * half];
        if (column + 1 < dim) at[1] = sums[j][2 * half + 1];
      }
    }
  }
}

// The same, rounded. The four lanes that share a row exchange what they have, so that each writes 16 bytes.
template <int D>
__device__ void put_rows(Bfloat16* to, int64_t stride, int first, int rows, int dim, bool accumulate,
                         float (&sums)[D / 8][4]) {
  const auto inside = [&](int row, int column) { return first + row < rows && column < dim; };
  const bool pieces = has_pieces(to, stride, dim);
  if (accumulate && pieces) {
    const int column = static_cast<int>(threadIdx.x) % 4 * 2;
    const int row = static_cast<int>(threadIdx.x) % kWarp / 4;
#pragma unroll
    for (int j = 0; j < D / 8; ++j) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        if (!inside(row + half * 8, j * 8 + column)) continue;
        const Floats<2> before = load<2>(to + (first + row + half * 8) * stride + j * 8 + column);
        for (int v = 0; v < 2; ++v) sums[j][2 * half + v] += before.at[v];
      }
    }
  } else if (accumulate) {
    each_element(sums, [&](float& value, int row, int column) {
      if (inside(row, column)) value += load<1>(to + (first + row) * stride + column).at[0];
    });
  }
  if (!pieces) {
    each_element(sums, [&](float value, int row, int column) {
      if (inside(row, column)) store<1>(to + (first + row) * stride + column, {{value}});
    });
    return;
  }
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
#pragma unroll
    for (int j = 0; j < D / 8; j += 4) {
      uint32_t words[4];
      for (int w = 0; w < 4; ++w) words[w] = pack_bfloat16(sums[j + w][2 * half], sums[j + w][2 * half + 1]);
      exchange_in_quad(words);
      const int row = lane / 4 + half * 8;
      const int column = (j + lane % 4) * 8;
      if (!inside(row, column)) continue;
      *reinterpret_cast<uint4*>(to + (first + row) * stride + column) =
          make_uint4(words[0], words[1], words[2], words[3]);
    }
  }
}

// Over the four lanes that share rows.
__device__ inline float row_max(float value) {
  value = fmaxf(value, __shfl_xor_sync(kAllLanes, value, 2));
  return fmaxf(value, __shfl_xor_sync(kAllLanes, value, 1));
}
__device__ inline float row_sum(float value) {
  value += __shfl_xor_sync(kAllLanes, value, 2);
  return value + __shfl_xor_sync(kAllLanes, value, 1);
}

}  // namespace matrix_tiles
}  // namespace cuda
}  // namespace seqrisk
