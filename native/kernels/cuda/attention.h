// Softmax attention of every op on CUDA, tile by tile with the softmax on line (Dao et al. 2022): nothing larger than a
// tile is held anywhere. float32 throughout.
#pragma once

#include "kernels/cuda/launch.h"
#include "ops/packing.h"

namespace seqrisk {
namespace cuda {

// Rows of a matrix; a head has head_dim columns from head · head_dim on.
template <class T>
struct AttentionRows {
  T* values;
  int64_t stride;
};

struct AttentionProblem {
  AttentionRows<const float> q;
  AttentionRows<const float> k;
  AttentionRows<const float> v;
  AttentionRows<float> out;
  float* lse;  // (rows of out, heads), or null
  Packing packing;
  int64_t heads;
  int64_t head_dim;
  int64_t slots;    // of fixed attention
  int64_t block;    // of block attention; 0: whole sequences
  int64_t missing;  // events by which the first block of a sequence is shorter
};

struct AttentionGradients {
  AttentionRows<const float> out;
  AttentionRows<const float> dout;
  const float* lse;
  AttentionRows<float> dq;  // null values: skipped
  AttentionRows<float> dk;
  AttentionRows<float> dv;
  bool accumulate_dq;
  bool accumulate_dkv;
};

// Events among the events of their block or sequence.
void self_attention(const AttentionProblem& problem, Launch& launch);
void self_attention_backward(const AttentionProblem& problem, const AttentionGradients& gradients, Launch& launch);

// Slots, the same queries for all sequences, over the events of each sequence; and events over their sequence's slots.
void write_attention(const AttentionProblem& problem, Launch& launch);
void write_attention_backward(const AttentionProblem& problem, const AttentionGradients& gradients, Launch& launch);
void read_attention(const AttentionProblem& problem, Launch& launch);
void read_attention_backward(const AttentionProblem& problem, const AttentionGradients& gradients, Launch& launch);

}  // namespace cuda
}  // namespace seqrisk
