// linear where matrix products round their operands to bfloat16.
#pragma once

#include "kernels/cuda/launch.h"
#include "ops/linear.h"

namespace seqrisk {
namespace cuda {

void linear_forward_bfloat16(const LinearForward& arguments, Launch& launch);
void linear_backward_bfloat16(const LinearBackward& arguments, Launch& launch);

}  // namespace cuda
}  // namespace seqrisk
