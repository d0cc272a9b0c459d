// full_attention: softmax attention over whole sequences, without an array of length² (Dao et al. 2022).
// Operations: forward 4·Σ length²·width, backward 10·Σ length²·width. Bytes: forward 4·events·width·4 and the keys and
// values once more for every kAttentionTile queries.
#pragma once

#include "ops/attention.h"
#include "ops/packing.h"

namespace seqrisk {

struct FullAttentionForward {
  const float* qkv;  // (events, 3·width): queries, keys, values; head h has columns [h·width/heads, (h+1)·width/heads)
  float* out;        // (events, width)
  float* lse;        // (events, heads) log of the sum of exponentials, kept for the backward, or null
  float* scratch;    // attention_scratch() bytes for each worker
  Packing packing;
  int64_t width;
  int64_t heads;
};

struct FullAttentionBackward {
  const float* qkv;
  const float* out;
  const float* lse;
  const float* dout;  // (events, width)
  float* dqkv;        // (events, 3·width) assigned, or added to when accumulate_dqkv
  float* scratch;     // attention_scratch() bytes for each worker
  Packing packing;
  int64_t width;
  int64_t heads;
  bool accumulate_dqkv;
};

}  // namespace seqrisk
