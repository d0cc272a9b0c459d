// How the attention ops cut a packed batch into tasks: by ranges of its events. A task does the tiles whose first event
// lies in its range. Tiles are cut from the start of their sequence or block, so that a sequence's numbers do not
// depend on where it stands in the batch.
#pragma once

#include "kernels/cpu/variant.h"
#include "ops/attention.h"
#include "ops/packing.h"
#include "ops/workers.h"

namespace seqrisk::SEQRISK_VARIANT {

constexpr int64_t kEventsPerTask = 64;

inline int64_t at_most(int64_t a, int64_t limit) {
  return a < limit ? a : limit;
}
inline int64_t ceil_div(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}

struct EventRange {
  int64_t begin;
  int64_t end;
  int64_t size() const { return end - begin; }
};

// How sequences are cut in blocks.
struct BlockCut {
  int64_t block;
  int64_t missing;  // events by which the first block of a sequence is shorter
};
constexpr BlockCut kWholeSequences = {.block = int64_t{1} << 31, .missing = 0};

struct BlockTile {
  int64_t sequence;
  EventRange block;
  EventRange events;
};

// Calls f(BlockTile) for every tile of up to `tile` events of a block whose first event lies in the range.
template <class F>
HWY_INLINE void for_tiles(const Packing& packing, BlockCut cut, int64_t tile, EventRange range, F f) {
  const int64_t end = at_most(range.end, packing.events);
  if (range.begin >= end) return;
  int64_t sequence = sequence_of(packing, range.begin);
  for (int64_t t = range.begin; t < end;) {
    while (packing.offsets[sequence + 1] <= t) ++sequence;
    const int64_t first = packing.offsets[sequence];
    const int64_t cut_before = t - (t - first + cut.missing) % cut.block;
    const EventRange block = {cut_before < first ? first : cut_before,
                              at_most(cut_before + cut.block, packing.offsets[sequence + 1])};
    t = block.begin + ceil_div(t - block.begin, tile) * tile;
    for (; t < block.end && t < end; t += tile) f(BlockTile{sequence, block, {t, at_most(t + tile, block.end)}});
    if (t >= block.end) t = block.end;
  }
}

// Calls f(range of events, first head, last head + 1, worker) for all tasks. Where blocks are long, each head of a
// range has work enough for a task of its own.
template <class F>
HWY_INLINE void run_event_tasks(const Packing& packing, int64_t heads, bool is_long, Workers& workers, F f) {
  const int64_t groups = is_long ? heads : 1;
  const int64_t heads_per_group = heads / groups;
  workers.run(ceil_div(packing.events, kEventsPerTask) * groups, [&](int64_t task, int worker) {
    const int64_t begin = task / groups * kEventsPerTask;
    const int64_t head = task % groups * heads_per_group;
    f(EventRange{begin, begin + kEventsPerTask}, head, head + heads_per_group, worker);
  });
}

}  // namespace seqrisk::SEQRISK_VARIANT
