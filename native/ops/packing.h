// A packed batch: the events of all sequences one after the other, and where each sequence starts.
#pragma once

#include <cstdint>

namespace seqrisk {

// offsets holds sequences + 1 values, starts at 0, never falls and ends at events. Sequences may be empty.
struct Packing {
  const int32_t* offsets;
  int64_t sequences;
  int64_t events;
  int32_t max_length;
};

// The sequence that holds event t, 0 ≤ t < events (empty sequences hold none).
constexpr int64_t sequence_of(const Packing& packing, int64_t t) {
  int64_t low = 0;
  int64_t high = packing.sequences;
  while (high - low > 1) {
    const int64_t middle = low + (high - low) / 2;
    if (packing.offsets[middle] <= t) {
      low = middle;
    } else {
      high = middle;
    }
  }
  return low;
}

}  // namespace seqrisk
