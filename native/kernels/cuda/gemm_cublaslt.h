// The same products by NVIDIA's cuBLASLt, for a device that was opened with it. The library is loaded at run time; it
// is neither linked nor shipped.
#pragma once

#include "kernels/cuda/gemm_bfloat16.h"

namespace seqrisk {
namespace cuda {

// Of x · weightᵀ and g · weight those that cuBLASLt has an algorithm for; false of others, which are nobody's yet.
// Sizes of a layer decide, never the number of rows, and one algorithm serves all of them: a row has the same bits
// alone and among others. A bias of results in bfloat16 is taken as `rounded_bias`.
bool gemm_cublaslt(GemmForm form, const Bfloat16Gemm& problem, Launch& launch);

}  // namespace cuda
}  // namespace seqrisk
