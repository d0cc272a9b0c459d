// gated_separable_conv: gated_dwconv, the pointwise product behind it, and a residual,
//   out = gated_dwconv(x) · weightᵀ + bias + residual
// (depthwise separable convolutions: Chollet 2017). It has the bits of the two kernels one after the other. As one
// kernel it does not read what stands between them again, and does not write it where nobody keeps it. Bytes of an
// event and channel: x's, residual's and out's, and what stands between where it is kept; of two kernels that twice.
// Operations: those of both.
#pragma once

#include "ops/gated_dwconv.h"
#include "ops/linear.h"

namespace seqrisk {

struct GatedSeparableConvForward {
  GatedDwconvForward convolution;
  LinearForward product;  // x is the convolution's out; with a residual, no activation, nothing saved, no gaps
  bool keeps_between;     // the convolution's out is read later, by the backward of both; else it may stay unwritten,
                          // but it is memory all the same: others take two kernels
};

}  // namespace seqrisk
