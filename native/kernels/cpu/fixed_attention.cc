// fixed_attention on the CPU: tiles of attention-inl.h; sums over a sequence's events in chunks that are added in
// order.
#include "ops/fixed_attention.h"

#include "kernels/cpu/attention-inl.h"

namespace seqrisk::SEQRISK_VARIANT {
namespace {

constexpr int64_t kSequencesPerTask = 64;

// Long enough for tasks of one head each.
bool is_long(const Packing& packing) {
  return packing.max_length > kAttentionTile;
}

EventRange sequence_range(const Packing& packing, int64_t sequence) {
  return {packing.offsets[sequence], packing.offsets[sequence + 1]};
}

// Calls f(sequence, its events, head) for every sequence that is empty or has more than one chunk, and every head.
template <class F>
void for_unfinished(const Packing& packing, int64_t heads, Workers& workers, F f) {
  workers.run(ceil_div(packing.sequences, kSequencesPerTask) * heads, [&](int64_t task, int) {
    const int64_t first = task / heads * kSequencesPerTask;
    for (int64_t s = first; s < at_most(first + kSequencesPerTask, packing.sequences); ++s) {
      const EventRange events = sequence_range(packing, s);
      if (events.size() == 0 || events.size() > kFixedAttentionChunk) f(s, events, task % heads);
    }
  });
}

void fill_row(float* row, int64_t n, float value) {
  for (int64_t i = 0; i < n; ++i) row[i] = value;
}

// to += factor · from
void add_row(float* to, const float* from, float factor, int64_t n) {
  const GemmTag d;
  const GemmVec factor_v = hn::Set(d, factor);
  int64_t i = 0;
  for (; i + kGemmLanes <= n; i += kGemmLanes) {
    hn::StoreU(hn::MulAdd(factor_v, hn::LoadU(d, from + i), hn::LoadU(d, to + i)), d, to + i);
  }
  if (i < n)
    store_first(hn::MulAdd(factor_v, load_first(d, from + i, n - i), load_first(d, to + i, n - i)), d, to + i, n - i);
}

float exp_of(float x) {
  const GemmTag d;
  return hn::GetLane(exp_nonpositive(hn::Set(d, x)));
}

float log_of(float x) {
  const GemmTag d;
  return hn::GetLane(log_positive(hn::Set(d, x)));
}

struct Write {
  explicit Write(const FixedAttentionWriteForward& a) : a(a), dim(a.width / a.heads) {}

  const FixedAttentionWriteForward& a;
  int64_t dim;

  float* partial(int64_t chunk_begin, int64_t sequence_begin) const {
    return a.partials + fixed_attention_partial(chunk_begin, sequence_begin) * a.slots * (a.width + a.heads);
  }

  // One chunk of a sequence's events into its slots, or into a partial sum: (slots, width), then lse (slots, heads).
  void chunk(const BlockTile& tile, int64_t head, float* memory) const {
    float* out = a.memory + tile.sequence * a.slots * a.width;
    float* lse = a.lse ? a.lse + tile.sequence * a.slots * a.heads : nullptr;
    if (tile.block.size() > kFixedAttentionChunk) {
      out = partial(tile.events.begin, tile.block.begin);
      lse = out + a.slots * a.width;
    }
    const int64_t stride = 2 * a.width;
    const float* k = a.kv + tile.events.begin * stride + head * dim;
    for (int64_t slot = 0; slot < a.slots; slot += kAttentionTile) {
      attention_forward({.q = {a.queries + slot * a.width + head * dim, a.width},
                         .queries = at_most(a.slots - slot, kAttentionTile),
                         .k = {k, stride},
                         .v = {k + a.width, stride},
                         .keys = tile.events.size(),
                         .dim = dim,
                         .scale = attention_scale(dim)},
                        {out + slot * a.width + head * dim, a.width},
                        {lse ? lse + slot * a.heads + head : nullptr, a.heads}, memory);
    }
  }

  // Chunk c counts by its share of the exponentials, exp(lse_c − lse).
  void merge(int64_t sequence, EventRange events, int64_t head) const {
    for (int64_t slot = 0; slot < a.slots; ++slot) {
      const int64_t row = sequence * a.slots + slot;
      float* out = a.memory + row * a.width + head * dim;
      const auto lse_of = [&](int64_t begin) {
        return partial(begin, events.begin)[a.slots * a.width + slot * a.heads + head];
      };
      fill_row(out, dim, 0.0f);
      if (events.size() == 0) {
        if (a.lse) a.lse[row * a.heads + head] = -FLT_MAX;
        continue;
      }
      float top = -FLT_MAX;
      for (int64_t t = events.begin; t < events.end; t += kFixedAttentionChunk) {
        const float lse = lse_of(t);
        top = lse > top ? lse : top;
      }
      float sum = 0.0f;
      for (int64_t t = events.begin; t < events.end; t += kFixedAttentionChunk) sum += exp_of(lse_of(t) - top);
      const float lse = top + log_of(sum);
      for (int64_t t = events.begin; t < events.end; t += kFixedAttentionChunk) {
        add_row(out, partial(t, events.begin) + slot * a.width + head * dim, exp_of(lse_of(t) - top) / sum, dim);
      }
      if (a.lse) a.lse[row * a.heads + head] = lse;
    }
  }
};

}  // namespace

void fixed_attention_write_forward(const FixedAttentionWriteForward& a, Workers& workers) {
  const Write write(a);
  run_event_tasks(a.packing, a.heads, is_long(a.packing), workers,
                  [&](EventRange range, int64_t head0, int64_t head1, int worker) {
                    float* memory = a.scratch + worker * attention_scratch_floats(write.dim);
                    for_tiles(a.packing, kWholeSequences, kFixedAttentionChunk, range, [&](const BlockTile& tile) {
                      for (int64_t head = head0; head < head1; ++head) write.chunk(tile, head, memory);
                    });
                  });
  for_unfinished(a.packing, a.heads, workers,
                 [&](int64_t sequence, EventRange events, int64_t head) { write.merge(sequence, events, head); });
}

void fixed_attention_write_backward(const FixedAttentionWriteBackward& a, Workers& workers) {
  const int64_t dim = a.width / a.heads;
  const int64_t stride = 2 * a.width;
  const int64_t ranges = ceil_div(a.packing.events, kFixedAttentionChunk);
  const int64_t partial_floats = a.slots * a.width;
  const auto chunk = [&](const BlockTile& tile, int64_t head, float* partial, float* memory) {
    const float* k = a.kv + tile.events.begin * stride + head * dim;
    float* dk = a.dkv ? a.dkv + tile.events.begin * stride + head * dim : nullptr;
    for (int64_t slot = 0; slot < a.slots; slot += kAttentionTile) {
      const int64_t row = tile.sequence * a.slots + slot;
      const int64_t at = slot * a.width + head * dim;
      attention_backward({.q = {a.queries + at, a.width},
                          .queries = at_most(a.slots - slot, kAttentionTile),
                          .k = {k, stride},
                          .v = {k + a.width, stride},
                          .keys = tile.events.size(),
                          .dim = dim,
                          .scale = attention_scale(dim)},
                         {.out = {a.memory + row * a.width + head * dim, a.width},
                          .lse = {a.lse + row * a.heads + head, a.heads},
                          .dout = {a.dmemory + row * a.width + head * dim, a.width}},
                         {.dq = {partial ? partial + at : nullptr, a.width},
                          .dk = {dk, stride},
                          .dv = {dk ? dk + a.width : nullptr, stride},
                          .start_dq = GemmStart::kAdd,
                          .start_dkv = slot == 0 && !a.accumulate_dkv ? GemmStart::kZero : GemmStart::kAdd},
                         memory);
    }
  };
  workers.run(ranges * a.heads, [&](int64_t task, int worker) {
    const int64_t begin = task / a.heads * kFixedAttentionChunk;
    const int64_t head = task % a.heads;
    float* partial = a.dqueries ? a.partials + task / a.heads * partial_floats : nullptr;
    for (int64_t slot = 0; slot < a.slots && partial; ++slot)
      fill_row(partial + slot * a.width + head * dim, dim, 0.0f);
    for_tiles(
        a.packing, kWholeSequences, kFixedAttentionChunk, {begin, begin + kFixedAttentionChunk},
        [&](const BlockTile& tile) { chunk(tile, head, partial, a.scratch + worker * attention_scratch_floats(dim)); });
  });
  if (!a.dqueries) return;
  workers.run(a.slots, [&](int64_t slot, int) {
    for (int64_t range = 0; range < ranges; ++range) {
      add_row(a.dqueries + slot * a.width, a.partials + range * partial_floats + slot * a.width, 1.0f, a.width);
    }
  });
}

void fixed_attention_read_forward(const FixedAttentionReadForward& a, Workers& workers) {
  const int64_t dim = a.width / a.heads;
  const int64_t stride = 2 * a.width;
  run_event_tasks(a.packing, a.heads, false, workers, [&](EventRange range, int64_t head0, int64_t head1, int worker) {
    for_tiles(a.packing, kWholeSequences, kAttentionTile, range, [&](const BlockTile& tile) {
      for (int64_t head = head0; head < head1; ++head) {
        const float* k = a.kv + tile.sequence * a.slots * stride + head * dim;
        const int64_t at = tile.events.begin * a.width + head * dim;
        attention_forward({.q = {a.q + at, a.width},
                           .queries = tile.events.size(),
                           .k = {k, stride},
                           .v = {k + a.width, stride},
                           .keys = a.slots,
                           .dim = dim,
                           .scale = attention_scale(dim)},
                          {a.out + at, a.width},
                          {a.lse ? a.lse + tile.events.begin * a.heads + head : nullptr, a.heads},
                          a.scratch + worker * attention_scratch_floats(dim));
      }
    });
  });
}

void fixed_attention_read_backward(const FixedAttentionReadBackward& a, Workers& workers) {
  const int64_t dim = a.width / a.heads;
  const int64_t stride = 2 * a.width;
  const int64_t sequence_floats = a.slots * stride;
  const auto partial = [&](int64_t chunk_begin, int64_t sequence_begin) {
    return a.partials + fixed_attention_partial(chunk_begin, sequence_begin) * sequence_floats;
  };
  const auto chunk = [&](const BlockTile& tile, int64_t head, float* memory) {
    const float* k = a.kv + tile.sequence * sequence_floats + head * dim;
    const bool is_partial = tile.block.size() > kFixedAttentionChunk;
    float* dkv = !a.dkv       ? nullptr
                 : is_partial ? partial(tile.events.begin, tile.block.begin)
                              : a.dkv + tile.sequence * sequence_floats;
    float* dk = dkv ? dkv + head * dim : nullptr;
    for (int64_t t = tile.events.begin; t < tile.events.end; t += kAttentionTile) {
      const int64_t at = t * a.width + head * dim;
      const bool is_fresh = t == tile.events.begin && (is_partial || !a.accumulate_dkv);
      attention_backward(
          {.q = {a.q + at, a.width},
           .queries = at_most(tile.events.end - t, kAttentionTile),
           .k = {k, stride},
           .v = {k + a.width, stride},
           .keys = a.slots,
           .dim = dim,
           .scale = attention_scale(dim)},
          {.out = {a.out + at, a.width}, .lse = {a.lse + t * a.heads + head, a.heads}, .dout = {a.dout + at, a.width}},
          {.dq = {a.dq ? a.dq + at : nullptr, a.width},
           .dk = {dk, stride},
           .dv = {dk ? dk + a.width : nullptr, stride},
           .start_dq = a.accumulate_dq ? GemmStart::kAdd : GemmStart::kZero,
           .start_dkv = is_fresh ? GemmStart::kZero : GemmStart::kAdd},
          memory);
    }
  };
  run_event_tasks(a.packing, a.heads, is_long(a.packing), workers,
                  [&](EventRange range, int64_t head0, int64_t head1, int worker) {
                    for_tiles(a.packing, kWholeSequences, kFixedAttentionChunk, range, [&](const BlockTile& tile) {
                      for (int64_t head = head0; head < head1; ++head) {
                        chunk(tile, head, a.scratch + worker * attention_scratch_floats(dim));
                      }
                    });
                  });
  if (!a.dkv) return;
  for_unfinished(a.packing, a.heads, workers, [&](int64_t sequence, EventRange events, int64_t head) {
    for (int64_t row = 0; row < 2 * a.slots; ++row) {
      const int64_t at = row * a.width + head * dim;  // row 2·slot holds keys, 2·slot + 1 values
      float* to = a.dkv + sequence * sequence_floats + at;
      if (!a.accumulate_dkv) fill_row(to, dim, 0.0f);
      for (int64_t t = events.begin; t < events.end; t += kFixedAttentionChunk) {
        add_row(to, partial(t, events.begin) + at, 1.0f, dim);
      }
    }
  });
}

}  // namespace seqrisk::SEQRISK_VARIANT
