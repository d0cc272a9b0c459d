// logistic: loss and gradient of many logistic regressions over one matrix, in one pass over its memory.
//   binary (outputs = 1):  loss[a] = Σ_r log(1 + e^z) − t·z,             z = x[r]·weight[a]
//   softmax (outputs > 1): loss[a] = Σ_r log Σ_k e^{z_k} − z_t,          z_k = x[r]·weight[a,k]
//   gradient[a,k] = Σ_r (p_k − [t = k])·x[r]
// over the rows of problem p = problem[a] with t = target[p, r] ≥ 0. An intercept is a column of ones in x.
// Bytes: rows·width·4. Operations: 4·rows·width·active·outputs. Bound by memory for one problem, by arithmetic for
// many.
#pragma once

#include <cstddef>
#include <cstdint>

#include "ops/workers.h"

namespace seqrisk {

struct LogisticGradient {
  const float* x;          // (rows, width)
  const int32_t* target;   // (problems, rows): the class, or −1 where the row is not part of the problem
  const int32_t* problem;  // (active): which problems, in [0, problems)
  const float* weight;     // (active, outputs, width)
  float* loss;             // (active, 2): a float64 as the sum of two float32, the large one first
  float* gradient;         // (active, outputs, width)
  float* scores;           // (active, outputs, rows): the z of every row, or null
  std::byte* scratch;      // logistic_gradient_scratch() bytes
  Fault* fault;
  int64_t rows;
  int64_t width;
  int64_t problems;
  int64_t active;
  int64_t outputs;
};

// Rows whose scores are worked on together: a tile of x stays in the nearest caches between scores and gradient.
constexpr int64_t kLogisticTile = 32;
// Partial sums of the gradient: few enough to be cheap, enough for many threads.
constexpr int64_t kLogisticMostTasks = 64;

// Rows of one partial sum: fixed by the problem, so that the sums do not depend on the number of workers.
inline int64_t logistic_rows_per_task(int64_t rows) {
  const int64_t tiles = (rows + kLogisticTile - 1) / kLogisticTile;
  const int64_t tiles_per_task = (tiles + kLogisticMostTasks - 1) / kLogisticMostTasks;
  return (tiles_per_task < 8 ? 8 : tiles_per_task) * kLogisticTile;
}

inline int64_t logistic_tasks(int64_t rows) {
  const int64_t per_task = logistic_rows_per_task(rows);
  return (rows + per_task - 1) / per_task;
}

// Per task: the losses in float64, then gradient and scores of a tile in float32.
inline size_t logistic_gradient_scratch(int64_t rows, int64_t width, int64_t active, int64_t outputs) {
  const size_t lines = static_cast<size_t>(active) * static_cast<size_t>(outputs);
  const size_t floats = lines * (static_cast<size_t>(width) + kLogisticTile);
  return static_cast<size_t>(logistic_tasks(rows)) *
         (static_cast<size_t>(active) * sizeof(double) + (floats + floats % 2) * sizeof(float));
}

}  // namespace seqrisk
