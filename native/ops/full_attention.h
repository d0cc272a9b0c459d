// full_attention: softmax attention over whole sequences, without an array of length² (Dao et al. 2022).
// Operations: forward 4·Σ length²·width, backward 10·Σ length²·width. Bytes: forward 4·events·width·4 and the keys and
// values once more for every kAttentionTile queries.
#pragma once

#include "ops/attention.h"
#include "ops/packing.h"
#include "ops/storage.h"

namespace seqrisk {

struct FullAttentionForward {
  const float*
      qkv;  // (events, 3·width) [stored]: queries, keys, values; head h has columns [h·width/heads, (h+1)·width/heads)
  float* out;      // (events, width) [stored]
  float* lse;      // (events, heads) log of the sum of exponentials, kept for the backward, or null
  float* scratch;  // attention_scratch() bytes for each worker
  Packing packing;
  int64_t width;
  int64_t heads;
  Storage stored;
};

struct FullAttentionBackward {
  const float* qkv;  // [stored]
  const float* out;  // [stored]
  const float* lse;
  const float* dout;  // (events, width) [stored]
  float* dqkv;        // (events, 3·width) [stored] assigned, or added to when accumulate_dqkv
  float* scratch;     // attention_scratch() bytes for each worker
  Packing packing;
  int64_t width;
  int64_t heads;
  bool accumulate_dqkv;
  Storage stored;
};

}  // namespace seqrisk
