// Matrix products of bfloat16 operands on tensor cores: c[m, n] = Σ_k a(m, k)·b(n, k), summed in float32.
#pragma once

#include "kernels/cuda/device-inl.cuh"

namespace seqrisk {
namespace cuda {

// Rows, of which 16 bytes are read at once: `values` and `stride` are multiples of that, and what lies between a row's
// end and the next multiple of 8 is zeros, or belongs to nothing that is summed.
struct Bfloat16Rows {
  const Bfloat16* values;
  int64_t stride;
};

constexpr int64_t kBfloat16Piece = 8;  // elements read at once

inline bool is_bfloat16_rows(const void* values, int64_t width, int64_t stride) {
  return reinterpret_cast<uintptr_t>(values) % 16 == 0 && width % kBfloat16Piece == 0 && stride % kBfloat16Piece == 0;
}

enum class GemmForm {
  rows_by_rows,        // a is (m, k) and b (n, k), as in x · weightᵀ
  rows_by_columns,     // a is (m, k) and b (k, n), as in g · weight
  columns_by_columns,  // a is (k, m) and b (k, n), as in gᵀ · x
};

struct Bfloat16Gemm {
  Bfloat16Rows a;
  Bfloat16Rows b;
  int64_t m;
  int64_t n;
  int64_t k;
  const float* bias;             // (n) where the sums start, or null: 0
  const Bfloat16* rounded_bias;  // the same for cuBLASLt, of a device that has it
  const void* residual;          // (m, n), stored as out, where they start too, or null; may be out
  void* out;                     // (m, n)
  int64_t residual_stride;
  int64_t out_stride;
  Storage out_stored;
  bool relu;  // of the sums; not with a residual
  // columns_by_columns alone, into float32: sums over k in `chunks` parts of chunk_k, a multiple of 64: part p goes to
  // out + p · chunk_out, and Σ_k a(m, k) of each row to row_sums + p · chunk_out, unless that is null.
  int64_t chunks;
  int64_t chunk_k;
  int64_t chunk_out;
  float* row_sums;
};

// An element's terms are summed over ascending k, whatever the number of rows: its bits depend on no other row.
void gemm_bfloat16(GemmForm form, const Bfloat16Gemm& problem, Launch& launch);

}  // namespace cuda
}  // namespace seqrisk
