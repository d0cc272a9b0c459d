// add: out = a + b. Bytes: 3·count·4. Memory bound. Its gradients are dout itself.
#pragma once

#include <cstdint>

namespace seqrisk {

struct AddForward {
  const float* a;  // (count)
  const float* b;  // (count)
  float* out;      // (count); may be a or b
  int64_t count;
};

}  // namespace seqrisk
