// Memory that a kernel is about to reach. A tile of rows is worked off block by block of columns, an order that the
// processor's own prefetching does not follow: lines are asked for in the order in which they lie, some per block.
#pragma once

#include <hwy/cache_control.h>

#include "kernels/cpu/variant.h"

namespace seqrisk::SEQRISK_VARIANT {

constexpr int64_t kLineFloats = 16;

// Asks for the lines of [from + begin, from + end), unless that runs past the array of `floats`. Lines that will be
// written are asked for as well, or the store would wait for them.
HWY_INLINE void fetch_ahead(const float* from, int64_t floats, int64_t begin, int64_t end) {
  if (end > floats) return;
  for (int64_t i = begin; i < end; i += kLineFloats) hwy::Prefetch(from + i);
}

// Arrays from this size on have left the caches when their reader comes: written past the caches they cost one pass
// over memory instead of two. Smaller ones are better found in the last cache (64 MB: between 32 MB, where reader and
// writer together took 1.12 times as long past the caches, and 262 MB, where they took 0.9 times).
constexpr int64_t kStreamedFloats = 1 << 24;

// Whether to write an array past the caches: only whole lines may be.
inline bool is_streamed(const float* to, int64_t rows, int64_t columns) {
  return hn::MaxLanes(hn::ScalableTag<float>()) == kLineFloats && rows * columns >= kStreamedFloats &&
         columns % kLineFloats == 0 && reinterpret_cast<uintptr_t>(to) % (kLineFloats * sizeof(float)) == 0;
}

}  // namespace seqrisk::SEQRISK_VARIANT
