// In the place of gemm_hopper.cu, which is not emulated: its copy engine and wgmma are no instructions of single
// threads or warps. A card of compute capability 8.0 is never sent here.
#include "kernels/cuda/gemm_hopper.h"

namespace seqrisk {
namespace cuda {

void gemm_hopper(GemmForm, const Bfloat16Gemm&, Launch& launch) {
  launch.refuse("an emulator of compute capability 9.0");
}

}  // namespace cuda
}  // namespace seqrisk
