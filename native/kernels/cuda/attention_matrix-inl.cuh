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
__host__ __device__ inline bool has_pieces(const Bfloat16* rows, int64_t stride, int dim) {
  return dim % 8 == 0 && stride % 8 == 0 && reinterpret_cast<uintptr_t>(rows) % 16 == 0;
}

// Asks for a tile, by asynchronous copies where rows have pieces. It is there when these are, behind a barrier.
template <int D>
__device__ void load_tile(const TileSource& tile, int dim, bool pieces) {
  constexpr int kAcross = D / 8;
  constexpr int kStep = kThreads / kAcross;  // rows that the block asks for at once
  const int row = static_cast<int>(threadIdx.x) / kAcross;
  const int column = static_cast<int>(threadIdx.x) % kAcross * 8;
  const bool inside = column < dim;
  Bfloat16* to = tile.shared + row * kStride<D> + column;
  const Bfloat16* from = tile.from + (inside ? row * tile.stride + column : 0);
  if (pieces && tile.rows == kTile) {
#pragma unroll
    for (int i = 0; i < kTile; i += kStep) copy_async(to + i * kStride<D>, from + i * tile.stride, inside);
  } else if (pieces) {
#pragma unroll
    for (int i = 0; i < kTile; i += kStep) {
      const bool there = inside && row + i < tile.rows;
      copy_async(to + i * kStride<D>, there ? from + i * tile.stride : tile.from, there);
    }
  } else {
#pragma unroll 1
    for (int i = 0; i < kTile; i += kStep) {
      for (int v = 0; v < 8; ++v) {
        const bool there = column + v < dim && row + i < tile.rows;
        to[i * kStride<D> + v] = there ? from[i * tile.stride + v] : Bfloat16(0.0f);
      }
    }
  }
}

// What the thread asked for is there. Others' copies are, and everyone is done with what stood before, behind a
// barrier.
__device__ inline void wait_for_tiles() {
  close_async_group();
  wait_async_groups<0>();
  __syncthreads();
}

// A warp's 16 rows as left operands of products along the head's columns.
template <int D>
struct LeftRows {
  uint32_t at[D / 16][4];

  __device__ void load(const Bfloat16* rows, int first) {
#pragma unroll
    for (int k = 0; k < D / 16; ++k) load_left<true>(at[k], rows, kStride<D>, first, k * 16);
  }
};

// products = left rows · right rows [0, 64)
template <int D>
__device__ void row_products(const LeftRows<D>& left, const Bfloat16* right, float (&products)[kBlocks][4]) {
#pragma unroll
  for (int j = 0; j < kBlocks; ++j) {
    for (int e = 0; e < 4; ++e) products[j][e] = 0.0f;
  }
#pragma unroll
  for (int k = 0; k < D / 16; ++k) {
#pragma unroll
    for (int j = 0; j < kBlocks / 2; ++j) {
      uint32_t b[4];
      load_right<true>(b, right, kStride<D>, j * 16, k * 16);
      multiply_add(products[2 * j], left.at[k], b[0], b[1]);
      multiply_add(products[2 * j + 1], left.at[k], b[2], b[3]);
    }
  }
}
// The same with left rows [first, first + 16) read as they are needed: registers are few where two products are held.
template <int D>
__device__ void row_products(const Bfloat16* left, int first, const Bfloat16* right, float (&products)[kBlocks][4]) {
#pragma unroll
  for (int j = 0; j < kBlocks; ++j) {
    for (int e = 0; e < 4; ++e) products[j][e] = 0.0f;
  }
#pragma unroll
  for (int k = 0; k < D; k += 16) {
    uint32_t a[4];
    load_left<true>(a, left, kStride<D>, first, k);
#pragma unroll
    for (int j = 0; j < kBlocks / 2; ++j) {
      uint32_t b[4];
      load_right<true>(b, right, kStride<D>, j * 16, k);
      multiply_add(products[2 * j], a, b[0], b[1]);
      multiply_add(products[2 * j + 1], a, b[2], b[3]);
    }
  }
}

// sums += columns [first, first + 16) of weights, transposed, · rows. Both have `count` rows and, up to a multiple of
// 16, such as add nothing; what is behind need not be there.
template <int D>
__device__ void add_weighted_transposed(const Bfloat16* weights, int first, const Bfloat16* rows, int count,
                                        float (&sums)[D / 8][4]) {
#pragma unroll
  for (int k = 0; k < kTile; k += 16) {
    if (k >= count) break;
    uint32_t a[4];
    load_left<false>(a, weights, kStride<kTile>, first, k);
#pragma unroll
    for (int c = 0; c < D / 16; ++c) {
      uint32_t b[4];
      load_right<false>(b, rows, kStride<D>, c * 16, k);
      multiply_add(sums[2 * c], a, b[0], b[1]);
      multiply_add(sums[2 * c + 1], a, b[2], b[3]);
    }
  }
}

// A warp's 16 × 64 weights, rounded, as rows [first, first + 16) in shared memory.
__device__ inline void put_weights(Bfloat16* to, int first, const float (&weights)[kBlocks][4]) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  Bfloat16* at = to + (first + lane / 4) * kStride<kTile> + lane % 4 * 2;
#pragma unroll
  for (int j = 0; j < kBlocks; ++j) {
    *reinterpret_cast<uint32_t*>(at + j * 8) = pack_bfloat16(weights[j][0], weights[j][1]);
    *reinterpret_cast<uint32_t*>(at + j * 8 + 8 * kStride<kTile>) = pack_bfloat16(weights[j][2], weights[j][3]);
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

// Calls f(element, half, column) for the lane's elements of a 16 × 8·N result: they are in row lane / 4 and, the second
// half, eight rows below. A row's number would do, but as an index into two registers it must be known to the compiler.
template <int N, class F>
__device__ void each_element(float (&values)[N][4], F f) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
#pragma unroll
  for (int j = 0; j < N; ++j) {
#pragma unroll
    for (int e = 0; e < 4; ++e) f(values[j][e], e / 2, j * 8 + lane % 4 * 2 + e % 2);
  }
}

// to[row, column] = sums, or += them, for rows of the tile. Everything is read before anything is written: else every
// read would wait for the write before it.
template <int D>
__device__ void put_rows(float* to, int64_t stride, int first, int rows, int dim, bool accumulate,
                         float (&sums)[D / 8][4]) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const auto inside = [&](int row, int column) { return first + row < rows && column < dim; };
  if (accumulate) {
    each_element(sums, [&](float& value, int half, int column) {
      const int row = lane / 4 + half * 8;
      if (inside(row, column)) value += to[(first + row) * stride + column];
    });
  }
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
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const auto inside = [&](int row, int column) { return first + row < rows && column < dim; };
  const bool pieces = has_pieces(to, stride, dim);
  if (accumulate && pieces) {
    const int column = lane % 4 * 2;
    const int row = lane / 4;
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
    each_element(sums, [&](float& value, int half, int column) {
      const int row = lane / 4 + half * 8;
      if (inside(row, column)) value += load<1>(to + (first + row) * stride + column).at[0];
    });
  }
  if (!pieces) {
    each_element(sums, [&](float value, int half, int column) {
      const int row = lane / 4 + half * 8;
      if (inside(row, column)) store<1>(to + (first + row) * stride + column, {{value}});
    });
    return;
  }
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

// 2^x for weights: what is below float32's normal numbers is 0, and no weight of 8 bits misses it.
__device__ inline float power_of_two(float x) {
  return fast_exp2(x);
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
