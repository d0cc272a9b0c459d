// block_attention on CUDA; see attention.h.
#include "ops/block_attention.h"

#include "kernels/cuda/self_attention.h"

namespace seqrisk {
namespace cuda {
namespace {

template <class Arguments>
AttentionProblem problem(const Arguments& a) {
  AttentionProblem p = self_problem(a);
  const int64_t half = a.block / 2;
  p.missing = a.shift && half > 0 ? a.block - half : 0;
  // A block that holds every sequence needs no cutting.
  p.block = p.missing == 0 && a.block >= a.packing.max_length ? 0 : a.block;
  return p;
}

}  // namespace

void block_attention_forward(const BlockAttentionForward& a, Launch& launch) {
  self_forward(a, problem(a), launch);
}

void block_attention_backward(const BlockAttentionBackward& a, Launch& launch) {
  self_backward(a, problem(a), launch);
}

}  // namespace cuda
}  // namespace seqrisk
