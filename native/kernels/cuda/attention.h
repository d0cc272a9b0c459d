// Softmax attention of every op on CUDA, tile by tile with the softmax on line (Dao et al. 2022): nothing larger than a
// tile is held anywhere.
#pragma once

#include "kernels/cuda/device-inl.cuh"

namespace seqrisk {
namespace cuda {

// Rows of a matrix from one of its columns on; a head has head_dim columns from head · head_dim on.
template <class T>
struct AttentionRows {
  T* values;
  int64_t stride;
  int64_t first;

  // Where a row's column stands, for elements as they are stored.
  template <class Element>
  __device__ auto at(int64_t row, int64_t column) const {
    return stored_as<Element>(values) + row * stride + first + column;
  }
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
  Storage stored;   // of all rows, but for what lse is
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
void write_attention(AttentionProblem problem, Launch& launch);
void write_attention_backward(AttentionProblem problem, const AttentionGradients& gradients, Launch& launch);
void read_attention(const AttentionProblem& problem, Launch& launch);
void read_attention_backward(const AttentionProblem& problem, const AttentionGradients& gradients, Launch& launch);

}  // namespace cuda
}  // namespace seqrisk
