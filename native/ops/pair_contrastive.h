// pair_contrastive: scores[i,j] = u_i·v_j for pairs of two pieces each; pair i belongs to an entity. With
// s = scores · inverse_temperature, and (i, j) allowed when i = j or the entities differ:
//   softmax  loss = Σ_i (ln Σ_j e^s[i,j] − s[i,i] + ln Σ_j e^s[j,i] − s[i,i]) / 2·pairs, sums over allowed pairs
//            (Logeswaran & Lee 2018, eq. 2, in both directions)
//   binary   loss = ½ · mean_i softplus(−s[i,i]) + ½ · mean over allowed i ≠ j of softplus(s[i,j])
// 0 for no pairs; without allowed i ≠ j the second mean is 0. Bytes: forward 3·pairs²·4, backward 2·pairs²·4.
#pragma once

#include <cstddef>
#include <cstdint>

namespace seqrisk {

struct PairContrastiveForward {
  const float* scores;    // (pairs, pairs)
  const int32_t* entity;  // (pairs)
  float* loss;            // (1)
  float* correct;         // (1) rows whose own pair scores higher than every other allowed one
  // Kept for the backward. softmax: maximum and Σ e^(s − maximum) of rows, then of columns.
  float* stats;     // (4, pairs)
  float* count;     // (1) allowed i ≠ j
  double* scratch;  // pair_contrastive_forward_scratch() bytes
  int64_t pairs;
  float inverse_temperature;
  bool is_binary;
};

struct PairContrastiveBackward {
  const float* scores;
  const int32_t* entity;
  const float* stats;
  const float* count;
  const float* dout;  // (1)
  float* dscores;     // (pairs, pairs) assigned, or added to when accumulate_dscores
  int64_t pairs;
  float inverse_temperature;
  bool is_binary;
  bool accumulate_dscores;
};

// Rows and columns of one task.
constexpr int64_t kPairContrastiveRowsPerTask = 16;
constexpr int64_t kPairContrastiveColumnsPerTask = 64;

inline int64_t pair_contrastive_row_tasks(int64_t pairs) {
  return (pairs + kPairContrastiveRowsPerTask - 1) / kPairContrastiveRowsPerTask;
}
inline int64_t pair_contrastive_column_tasks(int64_t pairs) {
  return (pairs + kPairContrastiveColumnsPerTask - 1) / kPairContrastiveColumnsPerTask;
}

// Per row task: the sums of loss on the diagonal, of loss beside it, of correct rows and of allowed i ≠ j. Per column
// task: the sum of loss.
inline size_t pair_contrastive_forward_scratch(int64_t pairs) {
  const int64_t sums = 4 * pair_contrastive_row_tasks(pairs) + pair_contrastive_column_tasks(pairs);
  return static_cast<size_t>(sums) * sizeof(double);
}

}  // namespace seqrisk
