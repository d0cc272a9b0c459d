// The same products with Hopper's own instructions: see hopper-inl.cuh.
#pragma once

#include "kernels/cuda/gemm_bfloat16.h"

namespace seqrisk {
namespace cuda {

constexpr int kHopper = 90;  // the compute capability whose cards have them; later ones have others

// As gemm_bfloat16 is; sums over k in parts of chunk_k want that to be a multiple of 64.
void gemm_hopper(GemmForm form, const Bfloat16Gemm& problem, Launch& launch);

}  // namespace cuda
}  // namespace seqrisk
