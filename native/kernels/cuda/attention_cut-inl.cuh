// How attention is cut into tiles of rows. Tiles are cut from the start of their sequence or block, so that a
// sequence's numbers do not depend on where it stands in the batch; their numbers leave gaps, so that none is counted
// beforehand.
#pragma once

#include "kernels/cuda/device-inl.cuh"

namespace seqrisk {
namespace cuda {

// Events whose share of the gradient of common queries one block sums.
constexpr int64_t kQueryChunk = 2048;

// A tile of rows of one side, and the rows of the other side that they meet.
struct AttentionTile {
  int64_t first = 0;  // row
  int rows = 0;       // 0: nothing to do
  int64_t other_first = 0;
  int64_t others = 0;
  int64_t sequence = 0;
};

enum class Meeting : int32_t {
  blocks,           // events meet the events of their block
  sequences,        // events meet the events of their sequence
  events_to_slots,  // events meet the slots of their sequence
  slots_to_events,  // and the other way round
};

struct AttentionCut {
  Packing packing;
  Meeting meeting;
  int64_t block;    // of blocks
  int64_t missing;  // events by which the first block of a sequence is shorter
  int64_t slots;
  int tile;

  int64_t tiles_of_block() const {
    const int64_t longest = block < packing.max_length ? block : packing.max_length;
    return ceil_div(longest, tile);
  }
  // Whether all events that meet each other lie in one tile.
  bool is_one_tile() const {
    if (meeting == Meeting::sequences) return packing.max_length <= tile;
    return meeting == Meeting::blocks && (block < packing.max_length ? block : packing.max_length) <= tile;
  }
  // Of kQueryChunk events.
  int64_t chunks() const { return ceil_div(packing.events, kQueryChunk); }

  int64_t tiles() const {
    switch (meeting) {
      case Meeting::blocks:
        return (packing.events / block + 2 * packing.sequences) * tiles_of_block();
      case Meeting::slots_to_events:
        return packing.sequences * ceil_div(slots, tile);
      default:
        return packing.events / tile + packing.sequences;
    }
  }

  // The last sequence whose numbers start at `number` or before; those of s start at offsets[s] / size + gap·s. All
  // lanes of the warp are here, and each looks at one of 32 places: every look waits for memory.
  __device__ int64_t sequence_at(int64_t number, int64_t size, int64_t gap) const {
    const int lane = static_cast<int>(threadIdx.x) % kWarp;
    int64_t low = 0;
    int64_t left = packing.sequences;
    while (left > 1) {
      const int64_t step = ceil_div(left, kWarp);
      const int64_t at = low + lane * step;
      // ⌊offset / size⌋ ≤ n if and only if offset < (n + 1)·size: no division.
      const bool starts = lane == 0 || (lane * step < left && packing.offsets[at] < (number - gap * at + 1) * size);
      const int64_t skipped = (__popc(__ballot_sync(kAllLanes, starts)) - 1) * step;
      low += skipped;
      left = left - skipped < step ? left - skipped : step;
    }
    return low;
  }

  __device__ AttentionTile at(int64_t number, int64_t tiles_per_block) const {
    AttentionTile found;
    if (meeting == Meeting::slots_to_events) {
      const int64_t per_sequence = ceil_div(slots, tile);
      found.sequence = number / per_sequence;
      const int64_t slot = number % per_sequence * tile;
      const int64_t left = slots - slot;
      found.first = found.sequence * slots + slot;
      found.rows = static_cast<int>(left < tile ? left : tile);
      found.other_first = packing.offsets[found.sequence];
      found.others = packing.offsets[found.sequence + 1] - found.other_first;
      return found;
    }
    int64_t begin, end, first;
    if (meeting == Meeting::blocks) {
      // Most blocks are one tile: no division then.
      const bool one = tiles_per_block == 1;
      const int64_t index = one ? number : number / tiles_per_block;
      found.sequence = sequence_at(index, block, 2);
      begin = packing.offsets[found.sequence];
      end = packing.offsets[found.sequence + 1];
      const int64_t cut = (index - begin / block - 2 * found.sequence) * block - missing;  // from the sequence's start
      const int64_t own_end = begin + cut + block;
      begin = cut > 0 ? begin + cut : begin;
      end = own_end < end ? own_end : end;
      first = begin + (one ? 0 : (number - index * tiles_per_block) * tile);
    } else {
      found.sequence = sequence_at(number, tile, 1);
      begin = packing.offsets[found.sequence];
      end = packing.offsets[found.sequence + 1];
      first = begin + (number - begin / tile - found.sequence) * tile;
    }
    if (first >= end) return found;
    found.first = first;
    found.rows = static_cast<int>(end - first < tile ? end - first : tile);
    found.other_first = begin;
    found.others = end - begin;
    if (meeting == Meeting::events_to_slots) {
      found.other_first = found.sequence * slots;
      found.others = slots;
    }
    return found;
  }
};

}  // namespace cuda
}  // namespace seqrisk
