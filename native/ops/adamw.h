// adamw: one step of AdamW with global-norm clipping over a list of parameters (Loshchilov & Hutter 2019, algorithm 2):
//   norm = sqrt(Σ gradient²) over all tensors; g = gradient · min(1, max_norm / norm)
//   m = β1·m + (1 − β1)·g;  v = β2·v + (1 − β2)·g²
//   value = value·(1 − lr·weight_decay) − lr · m/(1 − β1^step) / (sqrt(v/(1 − β2^step)) + eps)
// When the norm is not finite nothing but `norm` is written.
// Bytes: 4 an element for the norm, then 28 (32 when gradients are set to zero). Memory bound.
#pragma once

#include <cstddef>
#include <cstdint>

namespace seqrisk {

struct AdamwTensor {
  float* value;
  float* gradient;  // set to zero when zero_gradients
  float* m;
  float* v;
  int64_t size;
  int64_t first_task;  // tasks of the tensors before this one
  bool decay;          // whether weight_decay applies
};

struct AdamwUpdate {
  const AdamwTensor* tensors;  // (count) in host memory
  int64_t count;
  int64_t tasks;    // of all tensors
  float* norm;      // (1)
  double* scratch;  // one sum of squares per task
  float lr;
  float beta1;
  float beta2;
  float eps;
  float weight_decay;
  float max_norm;  // infinite: no clipping
  int64_t step;    // from 1
  bool zero_gradients;
};

// Elements of one task: fixed, so that the sums do not depend on the number of workers.
constexpr int64_t kAdamwElementsPerTask = 16384;

inline int64_t adamw_tasks(int64_t size) {
  return (size + kAdamwElementsPerTask - 1) / kAdamwElementsPerTask;
}

inline size_t adamw_update_scratch(int64_t tasks) {
  return static_cast<size_t>(tasks) * sizeof(double);
}

}  // namespace seqrisk
