// unfold: the neighbours of every event side by side, out[t] = (x[t + r(0 − o)], …, x[t + r(width − 1 − o)]), with
// r = dilation, o = ⌊width/2⌋, or width − 1 when causal; zeros outside the event's own sequence. A linear map after it
// is a dense convolution. Bytes: (1 + width)·events·channels·4. Memory bound.
#pragma once

#include <cstdint>

#include "ops/packing.h"
#include "ops/storage.h"

namespace seqrisk {

constexpr int64_t kUnfoldMaxWidth = 255;

struct UnfoldForward {
  const float* x;  // (events, channels) [stored]
  float* out;      // (events, width · channels) [stored]
  Packing packing;
  int64_t channels;
  int64_t width;
  int64_t dilation;
  bool causal;
  Storage stored;
};

struct UnfoldBackward {
  const float* dout;  // (events, width · channels) [stored]
  float* dx;          // (events, channels) [stored] assigned, or added to when accumulate_dx
  Packing packing;
  int64_t channels;
  int64_t width;
  int64_t dilation;
  bool causal;
  bool accumulate_dx;
  Storage stored;
};

}  // namespace seqrisk
