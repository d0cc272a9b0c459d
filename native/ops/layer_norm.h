// layer_norm: out[t] = (x[t] − mean(x[t])) · rstd(x[t]) ⊙ weight + bias, over the last axis (Ba et al. 2016).
// Bytes: forward 2·rows·width·4, backward 3·rows·width·4. Memory bound.
#pragma once

#include <cstddef>
#include <cstdint>

#include "ops/storage.h"

namespace seqrisk {

struct LayerNormForward {
  const float* x;       // (rows, width) [stored as x]
  const float* weight;  // (width)
  const float* bias;    // (width)
  float* out;           // (rows, width) [stored as out]
  float* mean;          // (rows) kept for the backward, or null
  float* rstd;          // (rows) 1/sqrt(variance + eps), kept for the backward, or null
  int64_t rows;
  int64_t width;
  float eps;
  Storage x_stored;
  Storage out_stored;
};

struct LayerNormBackward {
  const float* x;  // [stored as x]
  const float* weight;
  const float* mean;
  const float* rstd;
  const float* dout;  // (rows, width) [stored as out]
  float* dx;          // (rows, width) [stored as dx] assigned, or added to when accumulate_dx; null skips it
  float* dweight;     // (width) added to
  float* dbias;       // (width) added to
  float* scratch;     // layer_norm_backward_scratch() bytes
  int64_t rows;
  int64_t width;
  bool accumulate_dx;
  Storage x_stored;
  Storage out_stored;
  Storage dx_stored;
};

// Rows per partial sum of dweight and dbias: fixed, so that the sums do not depend on the number of workers.
constexpr int64_t kLayerNormRowsPerTask = 256;

inline size_t layer_norm_backward_scratch(int64_t rows, int64_t width) {
  const int64_t tasks = (rows + kLayerNormRowsPerTask - 1) / kLayerNormRowsPerTask;
  return static_cast<size_t>(tasks) * static_cast<size_t>(width) * 2 * sizeof(float);
}

}  // namespace seqrisk
