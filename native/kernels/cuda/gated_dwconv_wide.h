// The backward of gated_dwconv for filters whose reach does not fit into shared memory.
#pragma once

#include "kernels/cuda/launch.h"
#include "ops/gated_dwconv.h"

namespace seqrisk {
namespace cuda {

void gated_dwconv_backward_wide(const GatedDwconvBackward& a, Launch& launch);

}  // namespace cuda
}  // namespace seqrisk
