// What sums of a bfloat16 product start at, and what becomes of them. A warp has strips of 16 rows and 8 · kBlocks
// columns, held as mma.sync and wgmma hold them: lane l has the elements (l / 4, 2·(l mod 4) + 0, 1) of each 16 × 8,
// and those eight rows below.
#pragma once

#include "kernels/cuda/gemm_bfloat16.h"
#include "kernels/cuda/matrix-inl.cuh"

namespace seqrisk {
namespace cuda {

template <int kBlocks>
using Strip = float[kBlocks][4];

// The residual, for sums to start at: all of it is on its way at once, in registers that are free until then. `wide`:
// rows of out and residual are read and written in pairs, and written in pieces of 16 bytes where they are bfloat16.
template <class Out, int kBlocks>
__device__ inline void load_residual(const Bfloat16Gemm& g, bool wide, int64_t first_row, int64_t first_column,
                                     Strip<kBlocks>& values) {
  constexpr bool kRounded = sizeof(Out) == sizeof(Bfloat16);
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int64_t own = first_column + lane % 4 * 2;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int64_t row = first_row + lane / 4 + half * 8;
    const Out* from = static_cast<const Out*>(g.residual) + row * g.residual_stride + own;
#pragma unroll
    for (int j = 0; j < kBlocks; ++j) {
      const int64_t column = own + j * 8;
      const bool inside = row < g.m && column < g.n;
      load_pair(from + j * 8, inside && wide, inside && !wide, inside && !wide && column + 1 < g.n, values[j][2 * half],
                values[j][2 * half + 1]);
    }
  }
  if constexpr (kRounded) {
#pragma unroll
    for (int j = 0; j < kBlocks; ++j) {
      for (int half = 0; half < 2; ++half) {
        const uint32_t bits = __float_as_uint(values[j][2 * half]) | __float_as_uint(values[j][2 * half + 1]) << 16;
        values[j][2 * half] = __uint_as_float(bits << 16);
        values[j][2 * half + 1] = __uint_as_float(bits & 0xffff0000u);
      }
    }
  }
}

template <int kBlocks>
__device__ inline void add_bias(const Bfloat16Gemm& g, int64_t first_column, Strip<kBlocks>& values) {
  const int64_t own = first_column + static_cast<int>(threadIdx.x) % kWarp % 4 * 2;
#pragma unroll
  for (int j = 0; j < kBlocks; ++j) {
    for (int c = 0; c < 2; ++c) {
      const int64_t column = own + j * 8 + c;
      const float bias = g.bias && column < g.n ? g.bias[column] : 0.0f;
      values[j][c] += bias;
      values[j][2 + c] += bias;
    }
  }
}

// Sums start at the residual, or at 0, and at the bias.
template <class Out, bool kResidual, int kBlocks>
__device__ inline void start_strip(const Bfloat16Gemm& g, bool wide, int64_t first_row, int64_t first_column,
                                   Strip<kBlocks>& values) {
  if constexpr (kResidual) {
    load_residual<Out>(g, wide, first_row, first_column, values);
  } else {
#pragma unroll
    for (int j = 0; j < kBlocks; ++j) {
      for (float& value : values[j]) value = 0.0f;
    }
  }
  add_bias(g, first_column, values);
}

template <int kBlocks>
__device__ inline void clamp_strip(Strip<kBlocks>& values) {
#pragma unroll
  for (int j = 0; j < kBlocks; ++j) {
    for (float& value : values[j]) value = value < 0.0f ? 0.0f : value;  // NaN stays
  }
}

template <class Out, int kBlocks>
__device__ inline void finish_strip(const Bfloat16Gemm& g, bool wide, int64_t first_row, int64_t first_column,
                                    Strip<kBlocks>& values, int64_t part) {
  constexpr bool kRounds = sizeof(Out) == sizeof(Bfloat16);
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  Out* out = static_cast<Out*>(g.out) + part * g.chunk_out;
  // Calls f(pair, row, column) for the thread's pairs of neighbours that are inside.
  const auto each_pair = [&](auto f) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int64_t row = first_row + lane / 4 + half * 8;
#pragma unroll
      for (int j = 0; j < kBlocks; ++j) {
        const int64_t column = first_column + j * 8 + lane % 4 * 2;
        if (row < g.m && column < g.n) f(values[j][2 * half], values[j][2 * half + 1], row, column);
      }
    }
  };
  if (g.relu) clamp_strip(values);
  if (!wide) {
    each_pair([&](float left, float right, int64_t row, int64_t column) {
      Out* to = out + row * g.out_stride + column;
      store<1>(to, {{left}});
      if (column + 1 < g.n) store<1>(to + 1, {{right}});
    });
  } else if constexpr (kRounds) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int64_t row = first_row + lane / 4 + half * 8;
#pragma unroll
      for (int j = 0; j < kBlocks; j += 4) {
        uint32_t words[4];
        for (int w = 0; w < 4; ++w) words[w] = pack_bfloat16(values[j + w][2 * half], values[j + w][2 * half + 1]);
        exchange_in_quad(words);
        const int64_t column = first_column + (j + lane % 4) * 8;
        if (row >= g.m || column >= g.n) continue;
        *reinterpret_cast<uint4*>(out + row * g.out_stride + column) =
            make_uint4(words[0], words[1], words[2], words[3]);
      }
    }
  } else {
    each_pair([&](float left, float right, int64_t row, int64_t column) {
      store<2>(out + row * g.out_stride + column, {{left, right}});
    });
  }
}

// Whether all of out and residual can be read and written so.
inline bool is_wide_result(const void* values, int64_t stride, Storage stored) {
  const int64_t piece = stored == Storage::bfloat16 ? kBfloat16Piece : 2;
  return !values || (reinterpret_cast<uintptr_t>(values) % 16 == 0 && stride % piece == 0);
}
inline bool has_wide_result(const Bfloat16Gemm& g) {
  return g.n % (g.out_stored == Storage::bfloat16 ? kBfloat16Piece : 2) == 0 && g.chunk_out % 2 == 0 &&
         is_wide_result(g.out, g.out_stride, g.out_stored) &&
         is_wide_result(g.residual, g.residual_stride, g.out_stored);
}

}  // namespace cuda
}  // namespace seqrisk
