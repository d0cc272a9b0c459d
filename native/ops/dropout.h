// dropout: out[i] = kept(offset + i) ? x[i] / (1 − rate) : 0. The fate of an element depends on (seed, offset + i)
// alone: kept(e) if word e mod 4 of Philox block ⌊e/4⌋ of stream kDropoutStream is at least rate·2³².
// The backward is the same map. Bytes: 2·count·4, with accumulate 3·count·4. Memory bound (about 3 operations on
// integers per element and round).
#pragma once

#include <cstdint>

#include "ops/philox.h"
#include "ops/storage.h"

namespace seqrisk {

// "drop": no other use of the same seed shares its numbers.
constexpr uint32_t kDropoutStream = 0x64726f70;

struct DropoutForward {
  const float* x;  // (count) [stored]; the backward's dout
  float* out;      // (count) [stored] assigned, or added to when accumulate; the backward's dx
  int64_t count;
  float rate;  // in [0, 1)
  uint64_t seed;
  uint64_t offset;
  bool accumulate;
  Storage stored;
};

}  // namespace seqrisk
