// softmax_cross_entropy: loss = Σ_r weight[r]·(ln Σ_c e^logits[r,c] − logits[r, targets[r]]) / Σ_r weight[r], over the
// rows with a target ≥ 0; 0 when their weights sum to 0. A row of weight 0 counts for nothing, whatever its logits.
// Bytes: forward rows·classes·4, backward 2·rows·classes·4; one exponential an element each.
#pragma once

#include <cstddef>
#include <cstdint>

#include "ops/workers.h"

namespace seqrisk {

struct SoftmaxCrossEntropyForward {
  const float* logits;     // (rows, classes)
  const int32_t* targets;  // (rows) in [-1, classes); -1 = the row is left out
  const float* weights;    // (rows), or null: all 1
  float* loss;             // (1)
  float* correct;          // (1) rows with a target ≥ 0 that is the first of their largest logits
  float* row_max;          // (rows) kept for the backward, or null
  float* row_sum;          // (rows) Σ_c e^(logits − row_max), kept for the backward, or null
  float* total;            // (1) Σ weights, kept for the backward, or null
  double* scratch;         // softmax_cross_entropy_forward_scratch() bytes
  Fault* fault;
  int64_t rows;
  int64_t classes;
};

// dlogits = dout · weight/total · (softmax − onehot). The row's maximum and sum are kept apart: their logarithm would
// lose the digits behind a large maximum.
struct SoftmaxCrossEntropyBackward {
  const float* logits;
  const int32_t* targets;
  const float* weights;  // or null
  const float* row_max;
  const float* row_sum;
  const float* total;
  const float* dout;  // (1)
  float* dlogits;     // (rows, classes) assigned, or added to when accumulate_dlogits
  int64_t rows;
  int64_t classes;
  bool accumulate_dlogits;
};

// Rows of one task: about 64 KB of logits, so that both passes over a row find it in the cache.
inline int64_t softmax_cross_entropy_rows_per_task(int64_t classes) {
  return classes < 16384 ? 16384 / (classes > 0 ? classes : 1) : 1;
}

inline int64_t softmax_cross_entropy_tasks(int64_t rows, int64_t classes) {
  const int64_t per_task = softmax_cross_entropy_rows_per_task(classes);
  return (rows + per_task - 1) / per_task;
}

// Per task: the sums of loss, of weight and of correct rows.
inline size_t softmax_cross_entropy_forward_scratch(int64_t rows, int64_t classes) {
  return static_cast<size_t>(softmax_cross_entropy_tasks(rows, classes)) * 3 * sizeof(double);
}

}  // namespace seqrisk
