// full_attention on CUDA; see attention.h.
#include "ops/full_attention.h"

#include "kernels/cuda/self_attention.h"

namespace seqrisk {
namespace cuda {

void full_attention_forward(const FullAttentionForward& a, Launch& launch) {
  self_forward(a, self_problem(a), launch);
}

void full_attention_backward(const FullAttentionBackward& a, Launch& launch) {
  self_backward(a, self_problem(a), launch);
}

}  // namespace cuda
}  // namespace seqrisk
