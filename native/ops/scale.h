// scale: out = factor·x, or out += factor·x. Bytes: 2·count·4, with accumulate 3·count·4. Memory bound.
#pragma once

#include <cstdint>

namespace seqrisk {

struct ScaleForward {
  const float* x;  // (count)
  float* out;      // (count) assigned, or added to when accumulate; may be x
  int64_t count;
  float factor;
  bool accumulate;
};

}  // namespace seqrisk
