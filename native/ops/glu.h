// glu: out = a ⊙ σ(z), where a is the first half of each row of x and z the second (Dauphin et al. 2017).
// Bytes: forward 3·rows·width·4, backward 5·rows·width·4. Memory bound.
#pragma once

#include <cstdint>

#include "ops/storage.h"

namespace seqrisk {

struct GluForward {
  const float* x;  // (rows, 2 · width) [stored]
  float* out;      // (rows, width) [stored]
  int64_t rows;
  int64_t width;
  Storage stored;
};

struct GluBackward {
  const float* x;     // (rows, 2 · width) [stored]
  const float* dout;  // (rows, width) [stored]
  float* dx;          // (rows, 2 · width) [stored] assigned, or added to when accumulate_dx
  int64_t rows;
  int64_t width;
  bool accumulate_dx;
  Storage stored;
};

}  // namespace seqrisk
