// Tensor cores: 16 × 16 matrices of bfloat16 out of shared memory, and their products (mma.sync m16n8k16, compute
// capability 8.0 and later). Sums are float32. Lane l holds of a 16 × 8 result the elements (l / 4, 2·(l mod 4) + 0, 1)
// and those eight rows below.
#pragma once

#include "kernels/cuda/device-inl.cuh"
#include "kernels/cuda/instructions-inl.cuh"

namespace seqrisk {
namespace cuda {

// Of a row in shared memory: keeps the eight rows that are read at once in different banks.
constexpr int kMatrixPad = 8;

// The left operand of 16 rows and 16 k: stored as [row][k], or as [k][row].
template <bool kStoredByRow>
__device__ inline void load_left(uint32_t (&to)[4], const Bfloat16* shared, int stride, int row, int k) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  if constexpr (kStoredByRow) {
    load_matrices<false>(to, shared + (row + lane % 16) * stride + k + lane / 16 * 8);
  } else {
    load_matrices<true>(to, shared + (k + lane / 16 * 8 + lane % 8) * stride + row + lane / 8 % 2 * 8);
  }
}

// The right operand of 16 columns and 16 k, for two products: stored as [column][k], or as [k][column]. Elements 0 and
// 1 are for the first eight columns, 2 and 3 for the others.
template <bool kStoredByColumn>
__device__ inline void load_right(uint32_t (&to)[4], const Bfloat16* shared, int stride, int column, int k) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  if constexpr (kStoredByColumn) {
    load_matrices<false>(to, shared + (column + lane / 16 * 8 + lane % 8) * stride + k + lane / 8 % 2 * 8);
  } else {
    load_matrices<true>(to, shared + (k + lane % 16) * stride + column + lane / 16 * 8);
  }
}

// Four lanes next to each other have four words each: lane l gets word l of each, in the lanes' order.
__device__ inline void exchange_in_quad(uint32_t (&words)[4]) {
  const int lane = static_cast<int>(threadIdx.x);
#pragma unroll
  for (int bit = 1; bit < 4; bit *= 2) {
    const bool upper = (lane & bit) != 0;
#pragma unroll
    for (int w = 0; w < 4; ++w) {
      if (w & bit) continue;
      const uint32_t got = __shfl_xor_sync(kAllLanes, upper ? words[w] : words[w | bit], bit);
      if (upper) {
        words[w] = got;
      } else {
        words[w | bit] = got;
      }
    }
  }
}

// Two neighbouring 16 × 8 results as a left operand of 16 rows and 16 k.
__device__ inline void as_left(uint32_t (&to)[4], const float (&first)[4], const float (&second)[4]) {
  to[0] = pack_bfloat16(first[0], first[1]);
  to[1] = pack_bfloat16(first[2], first[3]);
  to[2] = pack_bfloat16(second[0], second[1]);
  to[3] = pack_bfloat16(second[2], second[3]);
}

}  // namespace cuda
}  // namespace seqrisk
