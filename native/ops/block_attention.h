// block_attention: softmax attention inside blocks of a sequence. Sequences are cut every `block` events, the last
// block may be shorter; with shift the first block is ⌊block/2⌋ long, so that information crosses the other cuts.
// Operations: forward 4·Σ blocklength²·width, backward 10·Σ blocklength²·width. Bytes: forward 4·events·width·4,
// backward 8·events·width·4.
#pragma once

#include "ops/attention.h"
#include "ops/packing.h"
#include "ops/storage.h"

namespace seqrisk {

struct BlockAttentionForward {
  const float*
      qkv;  // (events, 3·width) [stored]: queries, keys, values; head h has columns [h·width/heads, (h+1)·width/heads)
  float* out;      // (events, width) [stored]
  float* lse;      // (events, heads) log of the sum of exponentials, kept for the backward, or null
  float* scratch;  // attention_scratch() bytes for each worker
  Packing packing;
  int64_t width;
  int64_t heads;
  int64_t block;
  bool shift;
  Storage stored;
};

struct BlockAttentionBackward {
  const float* qkv;  // [stored]
  const float* out;  // [stored]
  const float* lse;
  const float* dout;  // (events, width) [stored]
  float* dqkv;        // (events, 3·width) [stored] assigned, or added to when accumulate_dqkv
  float* scratch;     // attention_scratch() bytes for each worker
  Packing packing;
  int64_t width;
  int64_t heads;
  int64_t block;
  bool shift;
  bool accumulate_dqkv;
  Storage stored;
};

}  // namespace seqrisk
