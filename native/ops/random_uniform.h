// random_uniform: out[i] uniform over (−bound, bound), from word i mod 4 of Philox block ⌊i/4⌋ of the seed's stream.
// out[i] = bound · (2·(⌊word/2⁹⌋ + ½)/2²³ − 1): exact steps of 2⁻²² times bound, the same bits on every device.
// Bytes: count·4. About 60 integer operations per element.
#pragma once

#include <cstdint>

#include "ops/philox.h"

namespace seqrisk {

struct RandomUniform {
  float* out;  // (count)
  int64_t count;
  float bound;
  uint64_t seed;
  uint32_t stream;
};

}  // namespace seqrisk
