// block_attention on the CPU; see self_attention-inl.h.
#include "ops/block_attention.h"

#include "kernels/cpu/self_attention-inl.h"

namespace seqrisk::SEQRISK_VARIANT {
namespace {

template <class Arguments>
SelfAttention problem(const Arguments& a) {
  const int64_t half = a.block / 2;
  return {.qkv = a.qkv,
          .scratch = a.scratch,
          .packing = a.packing,
          .cut = {.block = a.block, .missing = a.shift && half > 0 ? a.block - half : 0},
          .width = a.width,
          .heads = a.heads};
}

}  // namespace

void block_attention_forward(const BlockAttentionForward& a, Workers& workers) {
  self_attention_forward(problem(a), a.out, a.lse, workers);
}

void block_attention_backward(const BlockAttentionBackward& a, Workers& workers) {
  self_attention_backward(problem(a), a.out, a.lse, a.dout, a.dqkv, a.accumulate_dqkv, workers);
}

}  // namespace seqrisk::SEQRISK_VARIANT
