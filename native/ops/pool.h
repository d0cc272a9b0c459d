// pool: one row per sequence out of the rows of its events: their mean, their maximum per column (the first of equal
// ones; a NaN wins), or the last. Zeros for an empty sequence.
// Bytes: forward events·width·4 read (last: sequences), backward events·width·4 written. Memory bound.
#pragma once

#include <cstddef>
#include <cstdint>

#include "ops/packing.h"
#include "ops/storage.h"

namespace seqrisk {

enum class PoolMode : int32_t { mean = 0, max = 1, last = 2 };

struct PoolForward {
  PoolMode mode;
  const float* x;  // (events, width)
  Packing packing;
  float* out;       // (sequences, width)
  int32_t* argmax;  // (sequences, width) max: the event taken, counted from the start of its sequence; or null
  int64_t width;
};

struct PoolBackward {
  PoolMode mode;
  Packing packing;
  const int32_t* argmax;  // (sequences, width) for max, else null
  const float* dout;      // (sequences, width)
  float* dx;              // (events, width) [stored as dx] assigned, or added to when accumulate_dx
  int64_t width;
  bool accumulate_dx;
  Storage dx_stored;
};

}  // namespace seqrisk
