// Attention of the events of a sequence on one another, shared by block_attention and full_attention (one block per
// sequence).
//
// A task is a range of events of the packed batch: it does the tiles whose first event lies there. Tiles are cut from
// the start of their block, so a sequence's numbers do not depend on where it stands in the batch.
#pragma once

#include "kernels/cpu/attention-inl.h"
#include "ops/packing.h"
#include "ops/workers.h"

namespace seqrisk::SEQRISK_VARIANT {

// How sequences are cut in blocks.
struct BlockCut {
  int64_t block;
  int64_t missing;  // events by which the first block is shorter
};

struct SelfAttention {
  const float* qkv;
  float* scratch;
  Packing packing;
  BlockCut cut;
  int64_t width;
  int64_t heads;

  int64_t dim() const { return width / heads; }
  int64_t longest() const { return at_most(cut.block, packing.max_length); }
  float scale() const { return 1.0f / sqrtf(static_cast<float>(dim())); }
  float* memory(int worker) const {
    return scratch + static_cast<size_t>(worker) * (attention_scratch(dim()) / sizeof(float));
  }
  AttentionTile tile(int64_t head, int64_t query, int64_t queries, int64_t key, int64_t keys) const {
    const int64_t stride = 3 * width;
    const float* at = qkv + head * dim();
    return {.q = {at + query * stride, stride},
            .queries = queries,
            .k = {at + width + key * stride, stride},
            .v = {at + 2 * width + key * stride, stride},
            .keys = keys,
            .dim = dim(),
            .scale = scale()};
  }
};

struct EventRange {
  int64_t begin;
  int64_t end;
  int64_t size() const { return end - begin; }
};

// Calls f(block, tile) for every tile of up to `tile` events of a block whose first event lies in [begin, end).
template <class F>
HWY_INLINE void for_tiles(const Packing& packing, BlockCut cut, int64_t tile, int64_t begin, int64_t end, F f) {
  end = at_most(end, packing.events);
  if (begin >= end) return;
  int64_t sequence = sequence_of(packing, begin);
  for (int64_t t = begin; t < end;) {
    while (packing.offsets[sequence + 1] <= t) ++sequence;
    const int64_t first = packing.offsets[sequence];
    const int64_t cut_before = t - (t - first + cut.missing) % cut.block;
    const EventRange block = {cut_before < first ? first : cut_before,
                              at_most(cut_before + cut.block, packing.offsets[sequence + 1])};
    t = block.begin + (t - block.begin + tile - 1) / tile * tile;
    for (; t < block.end && t < end; t += tile) f(block, EventRange{t, at_most(t + tile, block.end)});
    if (t >= block.end) t = block.end;
  }
}

constexpr int64_t kEventsPerTask = 64;
// In a backward, the part of a block whose keys belong to one task at a time.
constexpr int64_t kAttentionSpan = 512;

// Long blocks have work enough in each head to share it out.
inline int64_t head_groups(const SelfAttention& a) {
  return a.longest() > kAttentionSpan ? a.heads : 1;
}

// Calls f(task's first event, first head, last head + 1, worker) for all tasks.
template <class F>
HWY_INLINE void run_self_attention(const SelfAttention& a, Workers& workers, F f) {
  const int64_t groups = head_groups(a);
  const int64_t heads = a.heads / groups;
  const int64_t ranges = (a.packing.events + kEventsPerTask - 1) / kEventsPerTask;
  workers.run(ranges * groups, [&](int64_t task, int worker) {
    const int64_t head = task % groups * heads;
    f(task / groups * kEventsPerTask, head, head + heads, worker);
  });
}

inline void self_attention_forward(const SelfAttention& a, float* out, float* lse, Workers& workers) {
  run_self_attention(a, workers, [&](int64_t begin, int64_t head0, int64_t head1, int worker) {
    for_tiles(a.packing, a.cut, kAttentionTile, begin, begin + kEventsPerTask, [&](EventRange block, EventRange tile) {
      for (int64_t head = head0; head < head1; ++head) {
        attention_forward(a.tile(head, tile.begin, tile.size(), block.begin, block.size()),
                          {out + tile.begin * a.width + head * a.dim(), a.width},
                          {lse ? lse + tile.begin * a.heads + head : nullptr, a.heads}, a.memory(worker));
      }
    });
  });
}

// Spans of a block take turns: in phase p, the keys of span j meet the queries of span (j + p) mod spans. So no two
// tasks of a phase write to the same row, and every row is added to in an order that its block alone decides.
inline void self_attention_backward(const SelfAttention& a, const float* out, const float* lse, const float* dout,
                                    float* dqkv, bool accumulate, Workers& workers) {
  const int64_t phases = (a.longest() + kAttentionSpan - 1) / kAttentionSpan;
  const int64_t stride = 3 * a.width;
  for (int64_t phase = 0; phase < phases; ++phase) {
    const auto queries_on_keys = [&](EventRange queries, EventRange keys, int64_t head, float* memory) {
      const int64_t column = head * a.dim();
      float* dq = dqkv + column;
      float* dk = dq + a.width + keys.begin * stride;
      for (int64_t t = queries.begin; t < queries.end; t += kAttentionTile) {
        const bool is_first = phase == 0 && !accumulate;
        attention_backward(a.tile(head, t, at_most(queries.end - t, kAttentionTile), keys.begin, keys.size()),
                           {{out + t * a.width + column, a.width},
                            {lse + t * a.heads + head, a.heads},
                            {dout + t * a.width + column, a.width}},
                           {.dq = {dq + t * stride, stride},
                            .dk = {dk, stride},
                            .dv = {dk + a.width, stride},
                            .start_dq = is_first ? GemmStart::kZero : GemmStart::kAdd,
                            .start_dkv = is_first && t == queries.begin ? GemmStart::kZero : GemmStart::kAdd},
                           memory);
      }
    };
    run_self_attention(a, workers, [&](int64_t begin, int64_t head0, int64_t head1, int worker) {
      for_tiles(a.packing, a.cut, kAttentionSpan, begin, begin + kEventsPerTask,
                [&](EventRange block, EventRange span) {
                  const int64_t spans = (block.size() + kAttentionSpan - 1) / kAttentionSpan;
                  if (phase >= spans) return;
                  const int64_t turn = ((span.begin - block.begin) / kAttentionSpan + phase) % spans;
                  const int64_t query = block.begin + turn * kAttentionSpan;
                  const EventRange queries = {query, at_most(query + kAttentionSpan, block.end)};
                  for (int64_t head = head0; head < head1; ++head)
                    queries_on_keys(queries, span, head, a.memory(worker));
                });
    });
  }
}

}  // namespace seqrisk::SEQRISK_VARIANT
