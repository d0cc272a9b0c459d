// gru: a gated recurrent unit over each sequence of a packed batch (Cho et al. 2014), its gates as in PyTorch:
//   r = σ(x_r + u_r),  z = σ(x_z + u_z),  n = tanh(x_n + r ⊙ u_n),  h[t] = (1 − z) ⊙ n + z ⊙ h[t − 1],
// with u = weight · h[t − 1] + bias, h = 0 before the first event, and x what the inputs are mapped to, in the order r,
// z, n. Multiply-adds: forward 3·width² an event, backward as many; what the weights' gradient takes is left to
// linear_backward. Every element of u is one chain of fused multiply-adds that starts at the bias and runs over
// ascending places of h.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "ops/linear.h"
#include "ops/packing.h"

namespace seqrisk {

struct GruForward {
  const float* x;       // (events, 3·width)
  const float* weight;  // (3·width, width)
  const float* bias;    // (3·width)
  float* out;           // (events, width) h
  float* gates;         // (events, 4·width) r, z, n and u_n, kept for the backward; or null
  float* scratch;       // gru_forward_scratch() bytes
  Packing packing;
  int64_t width;
};

// dhidden is the gradient of u: dweight += dhiddenᵀ · previous and dbias += Σ dhidden are those of a linear map.
struct GruBackward {
  const float* weight;
  const float* out;
  const float* gates;
  const float* dout;  // (events, width)
  float* dx;          // (events, 3·width) assigned, or added to when accumulate_dx
  float* dhidden;     // (events, 3·width) assigned
  float* previous;    // (events, width) assigned: h[t − 1], 0 at the first event of a sequence
  float* scratch;     // gru_backward_scratch() bytes
  Packing packing;
  int64_t width;
  bool accumulate_dx;
};

// Sequences that go through time together: at most as many as one tile of a product has rows, in any variant. Fewer
// where there would be too few tasks, but enough that reading the weights is worth it.
constexpr int64_t kGruMostRows = 16;
constexpr int64_t kGruLeastRows = 4;
constexpr int64_t kGruTasks = 16;

inline int64_t gru_group_rows(int64_t sequences, int64_t most) {
  const int64_t even = (sequences + kGruTasks - 1) / kGruTasks;
  return std::min(std::max(even, std::min(kGruLeastRows, most)), most);
}

// Two lists of sequences, to sort them by length.
inline int64_t gru_order_elems(int64_t sequences) {
  return (2 * sequences + 15) / 16 * 16;
}

// Order, packed weights, and per worker what the sequences of a group hold.
inline size_t gru_forward_scratch(int64_t sequences, int64_t width, int workers) {
  const int64_t packed = linear_padded(3 * width) * width;
  return static_cast<size_t>(gru_order_elems(sequences) + packed + workers * kGruMostRows * 3 * width) * sizeof(float);
}

inline size_t gru_backward_scratch(int64_t sequences, int64_t width, int workers) {
  const int64_t packed = linear_padded(width) * 3 * width;
  return static_cast<size_t>(gru_order_elems(sequences) + packed + workers * kGruMostRows * width) * sizeof(float);
}

}  // namespace seqrisk
