// What the attention ops share: softmax(scale · q·kᵀ) · v for each head, scale = 1/√head_dim.
#pragma once

#include <cstddef>
#include <cstdint>

namespace seqrisk {

// Kernels work on tiles of so many queries times so many keys; nothing larger than a tile is ever held in memory.
constexpr int64_t kAttentionTile = 64;
constexpr int64_t kAttentionMaxHeadDim = 256;

// Scratch for one worker: packed queries, keys, values and output gradients of a tile, scores and their gradients.
inline int64_t attention_scratch_floats(int64_t head_dim) {
  constexpr int64_t kWidestPanel = 32;  // columns that packing rounds up to
  const int64_t padded = (head_dim + kWidestPanel - 1) / kWidestPanel * kWidestPanel;
  return kAttentionTile * (5 * padded + 2 * kAttentionTile);
}
inline size_t attention_scratch(int64_t head_dim) {
  return static_cast<size_t>(attention_scratch_floats(head_dim)) * sizeof(float);
}

}  // namespace seqrisk
