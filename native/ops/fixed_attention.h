// fixed_attention: attention through a fixed number of memory slots per sequence, O(events · slots) (Britz et al.
// 2017).
//   write: memory_j = Σ_t softmax_t(queries_j·k_t / √d) v_t, the events of a sequence into its slots
//   read:  out_t = Σ_j softmax_j(q_t·k_j / √d) v_j, from the slots back to the events
// Operations each: forward 4·events·slots·width, backward 10·events·slots·width.
#pragma once

#include "ops/attention.h"
#include "ops/packing.h"
#include "ops/storage.h"

namespace seqrisk {

// Where sums run over the events of a sequence, these many are summed by one task; the sums are added in order.
constexpr int64_t kFixedAttentionChunk = 2048;

struct FixedAttentionWriteForward {
  const float* queries;  // (slots, width), the same for all sequences
  const float* kv;       // (events, 2·width) [stored]: keys, values
  float* memory;         // (sequences·slots, width) [stored], zeros for a sequence without events
  float* lse;            // (sequences·slots, heads) log of the sum of exponentials, kept for the backward, or null
  float* scratch;        // attention_scratch() bytes for each worker
  float* partials;       // fixed_attention_partials(…, width + heads) bytes
  Packing packing;
  int64_t width;
  int64_t heads;
  int64_t slots;
  Storage stored;
};

struct FixedAttentionWriteBackward {
  const float* queries;
  const float* kv;      // [stored]
  const float* memory;  // [stored]
  const float* lse;
  const float* dmemory;  // (sequences·slots, width) [stored]
  float* dqueries;       // (slots, width) added to; null skips it
  float* dkv;            // (events, 2·width) [stored] assigned, or added to when accumulate_dkv; null skips it
  float* scratch;        // attention_scratch() bytes for each worker
  float* partials;       // fixed_attention_query_partials() bytes
  Packing packing;
  int64_t width;
  int64_t heads;
  int64_t slots;
  bool accumulate_dkv;
  Storage stored;
};

struct FixedAttentionReadForward {
  const float* q;   // (events, width) [stored]
  const float* kv;  // (sequences·slots, 2·width) [stored]: keys, values of the slots
  float* out;       // (events, width) [stored]
  float* lse;       // (events, heads) log of the sum of exponentials, kept for the backward, or null
  float* scratch;   // attention_scratch() bytes for each worker
  Packing packing;
  int64_t width;
  int64_t heads;
  int64_t slots;
  Storage stored;
};

struct FixedAttentionReadBackward {
  const float* q;    // [stored]
  const float* kv;   // [stored]
  const float* out;  // [stored]
  const float* lse;
  const float* dout;  // (events, width) [stored]
  float* dq;          // (events, width) [stored] assigned, or added to when accumulate_dq; null skips it
  float* dkv;         // (sequences·slots, 2·width) [stored] assigned, or added to when accumulate_dkv; null skips it
  float* scratch;     // attention_scratch() bytes for each worker
  float* partials;    // fixed_attention_partials(…, 2·width) bytes
  Packing packing;
  int64_t width;
  int64_t heads;
  int64_t slots;
  bool accumulate_dq;
  bool accumulate_dkv;
  Storage stored;
};

// Partial sums of sequences with more than one chunk. At most two of their chunks start in any kFixedAttentionChunk
// events, of which one is a sequence's first: this is the place of its partial sum.
inline int64_t fixed_attention_partial(int64_t chunk_begin, int64_t sequence_begin) {
  return 2 * (chunk_begin / kFixedAttentionChunk) + (chunk_begin == sequence_begin ? 1 : 0);
}
inline size_t fixed_attention_partials(const Packing& packing, int64_t slots, int64_t columns) {
  if (packing.max_length <= kFixedAttentionChunk) return 0;
  const int64_t partials = 2 * (packing.events / kFixedAttentionChunk + 1);
  return static_cast<size_t>(partials * slots * columns) * sizeof(float);
}

// Gradients of the queries: a partial sum for every kFixedAttentionChunk events of the batch.
inline size_t fixed_attention_query_partials(const Packing& packing, int64_t slots, int64_t width) {
  const int64_t partials = (packing.events + kFixedAttentionChunk - 1) / kFixedAttentionChunk;
  return static_cast<size_t>(partials * slots * width) * sizeof(float);
}

}  // namespace seqrisk
