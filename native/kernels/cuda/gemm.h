// The matrix product in float32: c[m, n] = Σ_k a(m, k)·b(n, k), with what stands before and after it.
#pragma once

#include "kernels/cuda/launch.h"
#include "ops/linear.h"

namespace seqrisk {
namespace cuda {

// An operand: rows of k side by side (k adjacent), or for every k its rows side by side.
struct GemmOperand {
  const float* values;
  int64_t stride;  // from row to row, or from k to k
  bool k_adjacent;
};

struct Gemm {
  GemmOperand a;  // (m, k)
  GemmOperand b;  // (n, k)
  int64_t m;
  int64_t n;
  int64_t k;
  const float* bias;      // (n) where the sums start, or null: 0
  const float* residual;  // (m, n) added last, or null
  float* out;             // (m, n)
  float* saved;           // (m, n) before the activation, or null
  int64_t residual_stride;
  int64_t out_stride;
  int64_t saved_stride;
  Activation activation;
  bool accumulate;  // out += instead of =
  // Sums over k in `chunks` parts of chunk_k, a multiple of 32: part p goes to out + p · chunk_out, and nothing but the
  // sum is made of it.
  int64_t chunks;
  int64_t chunk_k;
  int64_t chunk_out;
};

// Every element is one chain of fused multiply-adds over ascending k that starts at the bias: the CPU's bits.
void gemm_float32(const Gemm& problem, Launch& launch);

}  // namespace cuda
}  // namespace seqrisk
