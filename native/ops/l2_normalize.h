// l2_normalize: out[r] = x[r] / max(‖x[r]‖, eps) over the last axis.
// Bytes: forward 2·rows·width·4, backward 3·rows·width·4. Memory bound.
#pragma once

#include <cstdint>

namespace seqrisk {

struct L2NormalizeForward {
  const float* x;  // (rows, width)
  float* out;      // (rows, width)
  float* scale;    // (rows) 1 / max(‖x‖, eps), kept for the backward
  int64_t rows;
  int64_t width;
  float eps;
};

// dx = scale · (dout − out·⟨out, dout⟩); below eps the norm is constant, and dx = scale · dout.
struct L2NormalizeBackward {
  const float* out;
  const float* scale;
  const float* dout;  // (rows, width)
  float* dx;          // (rows, width) assigned, or added to when accumulate_dx
  int64_t rows;
  int64_t width;
  float eps;
  bool accumulate_dx;
};

constexpr int64_t kL2NormalizeRowsPerTask = 256;

}  // namespace seqrisk
