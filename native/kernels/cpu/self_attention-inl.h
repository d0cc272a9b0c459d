// Attention of the events of a block on one another, shared by block_attention and full_attention.
#pragma once

#include "kernels/cpu/attention-inl.h"

namespace seqrisk::SEQRISK_VARIANT {

struct SelfAttention {
  const float* qkv;
  float* scratch;
  Packing packing;
  BlockCut cut;
  int64_t width;
  int64_t heads;

  int64_t dim() const { return width / heads; }
  int64_t longest() const { return at_most(cut.block, packing.max_length); }
  float* memory(int worker) const { return scratch + worker * attention_scratch_floats(dim()); }
  AttentionTile tile(int64_t head, EventRange queries, EventRange keys) const {
    const int64_t stride = 3 * width;
    const float* at = qkv + head * dim();
    // Heads take turns, then the events behind.
    const int64_t next = head + 1 < heads ? dim() : queries.size() * stride - head * dim();
    return {.q = {at + queries.begin * stride, stride},
            .queries = queries.size(),
            .k = {at + width + keys.begin * stride, stride},
            .v = {at + 2 * width + keys.begin * stride, stride},
            .keys = keys.size(),
            .dim = dim(),
            .scale = attention_scale(dim()),
            .next_q = at + queries.begin * stride + next,
            .next_k = at + width + keys.begin * stride + next};
  }
};

// In a backward, the part of a block whose keys belong to one task at a time.
constexpr int64_t kAttentionSpan = 512;

inline void self_attention_forward(const SelfAttention& a, float* out, float* lse, Workers& workers) {
  const auto body = [&](EventRange range, int64_t head0, int64_t head1, int worker) {
    for_tiles(a.packing, a.cut, kAttentionTile, range, [&](const BlockTile& tile) {
      const int64_t t = tile.events.begin;
      for (int64_t head = head0; head < head1; ++head) {
        attention_forward(a.tile(head, tile.events, tile.block), {out + t * a.width + head * a.dim(), a.width},
                          {lse ? lse + t * a.heads + head : nullptr, a.heads}, a.memory(worker));
      }
    });
  };
  run_event_tasks(a.packing, a.heads, a.longest() > kAttentionSpan, workers, body);
}

// Spans of a block take turns: in phase p, the keys of span j meet the queries of span (j + p) mod spans. So no two
// tasks of a phase write to the same row, and every row is added to in an order that its block alone decides.
inline void self_attention_backward(const SelfAttention& a, const float* out, const float* lse, const float* dout,
                                    float* dqkv, bool accumulate, Workers& workers) {
  const int64_t stride = 3 * a.width;
  for (int64_t phase = 0; phase < ceil_div(a.longest(), kAttentionSpan); ++phase) {
    const auto queries_on_keys = [&](EventRange queries, EventRange keys, int64_t head, float* memory) {
      const int64_t column = head * a.dim();
      float* dk = dqkv + keys.begin * stride + a.width + column;
      for (int64_t t = queries.begin; t < queries.end; t += kAttentionTile) {
        const int64_t at = t * a.width + column;
        const bool is_fresh = phase == 0 && !accumulate;
        attention_backward(
            a.tile(head, {t, at_most(t + kAttentionTile, queries.end)}, keys),
            {.out = {out + at, a.width}, .lse = {lse + t * a.heads + head, a.heads}, .dout = {dout + at, a.width}},
            {.dq = {dqkv + t * stride + column, stride},
             .dk = {dk, stride},
             .dv = {dk + a.width, stride},
             .start_dq = is_fresh ? GemmStart::kZero : GemmStart::kAdd,
             .start_dkv = is_fresh && t == queries.begin ? GemmStart::kZero : GemmStart::kAdd},
            memory);
      }
    };
    const auto body = [&](EventRange range, int64_t head0, int64_t head1, int worker) {
      for_tiles(a.packing, a.cut, kAttentionSpan, range, [&](const BlockTile& tile) {
        const int64_t spans = ceil_div(tile.block.size(), kAttentionSpan);
        if (phase >= spans) return;
        const int64_t turn = ((tile.events.begin - tile.block.begin) / kAttentionSpan + phase) % spans;
        const int64_t query = tile.block.begin + turn * kAttentionSpan;
        const EventRange queries = {query, at_most(query + kAttentionSpan, tile.block.end)};
        for (int64_t head = head0; head < head1; ++head) queries_on_keys(queries, tile.events, head, a.memory(worker));
      });
    };
    run_event_tasks(a.packing, a.heads, a.longest() > kAttentionSpan, workers, body);
  }
}

}  // namespace seqrisk::SEQRISK_VARIANT
