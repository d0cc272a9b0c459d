// What becomes of the sums of a matrix product.
#pragma once

#include "kernels/cuda/activation-inl.cuh"
#include "kernels/cuda/gemm.h"

namespace seqrisk {
namespace cuda {

// N times V elements of a row, `step` columns apart: each V all inside or all outside of out. `wide` problems alone may
// have V > 1. Everything is read before anything is written: else every read would wait for the write before it.
template <int V, int N>
__device__ inline void finish_row(const Gemm& g, int64_t row, int64_t column, int step, Floats<V> (&sums)[N],
                                  int64_t part) {
  if (row >= g.m) return;
  float* to = g.out + part * g.chunk_out + row * g.out_stride + column;
  Floats<V> more[N] = {};
  if (g.residual) {
#pragma unroll
    for (int j = 0; j < N; ++j) {
      if (column + j * step < g.n) more[j] = load<V>(g.residual + row * g.residual_stride + column + j * step);
    }
  }
  if (g.accumulate) {
#pragma unroll
    for (int j = 0; j < N; ++j) {
      if (column + j * step >= g.n) continue;
      const Floats<V> before = load<V>(to + j * step);
      for (int v = 0; v < V; ++v) more[j].at[v] += before.at[v];
    }
  }
#pragma unroll
  for (int j = 0; j < N; ++j) {
    if (column + j * step >= g.n) continue;
    if (g.saved) store<V>(g.saved + row * g.saved_stride + column + j * step, sums[j]);
    Floats<V> result;
    for (int v = 0; v < V; ++v) result.at[v] = activated(sums[j].at[v], g.activation) + more[j].at[v];
    store<V>(to + j * step, result);
  }
}

// Whether operands can be read, and results written, four at a time.
inline bool is_wide_operand(const GemmOperand& operand, int64_t rows, int64_t k) {
  return is_wide(operand.stride, operand.values) && is_wide(operand.k_adjacent ? k : rows);
}
inline bool is_wide_problem(const Gemm& g) {
  return is_wide_operand(g.a, g.m, g.k) && is_wide_operand(g.b, g.n, g.k) && is_wide(g.n, g.out, g.saved, g.residual) &&
         is_wide(g.out_stride) && is_wide(g.chunk_out) && is_wide(g.saved_stride) && is_wide(g.residual_stride);
}

}  // namespace cuda
}  // namespace seqrisk
