// Kernels that do the work of two, against those two.
#pragma once

#include "tests/cuda_cases.h"

namespace seqrisk::parity {

// Prints what came of the cases of gated_separable_conv; false where an element has other bits, or where no case was
// one kernel's. For bfloat16 without cuBLASLt: others are the two kernels.
bool check_parts(Machine& machine, const CaseTable& table, bool quick);

}  // namespace seqrisk::parity
