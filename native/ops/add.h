// add: out = a + b. Bytes: 3·count·4. Memory bound. Its gradients are dout itself.
#pragma once

#include <cstdint>

#include "ops/storage.h"

namespace seqrisk {

struct AddForward {
  const float* a;  // (count) [stored as a]
  const float* b;  // (count) [stored as b]
  float* out;      // (count) [stored as a]; may be a or b
  int64_t count;
  Storage a_stored;
  Storage b_stored;
};

}  // namespace seqrisk
