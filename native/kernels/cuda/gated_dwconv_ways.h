// The ways of gated_dwconv that have sources of their own.
#pragma once

#include "kernels/cuda/launch.h"
#include "ops/gated_dwconv.h"

namespace seqrisk {
namespace cuda {

// Any filter; made for wide ones.
void gated_dwconv_forward_wide(const GatedDwconvForward& arguments, Launch& launch);
// Of narrow filters over channels that are read in pairs, in one pass through memory. False: of others, nothing done.
bool gated_dwconv_backward_near(const GatedDwconvBackward& arguments, Launch& launch);
// Of any.
void gated_dwconv_backward_wide(const GatedDwconvBackward& arguments, Launch& launch);

}  // namespace cuda
}  // namespace seqrisk
