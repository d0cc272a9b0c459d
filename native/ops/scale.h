// scale: out = factor·x, or out += factor·x. Bytes: 2·count·4, with accumulate 3·count·4. Memory bound.
#pragma once

#include <cstdint>

#include "ops/storage.h"

namespace seqrisk {

struct ScaleForward {
  const float* x;  // (count) [stored as x]
  float* out;      // (count) [stored as out] assigned, or added to when accumulate; may be x
  int64_t count;
  float factor;
  bool accumulate;
  Storage x_stored;
  Storage out_stored;
};

}  // namespace seqrisk
