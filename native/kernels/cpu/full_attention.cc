// full_attention on the CPU: one block per sequence; see self_attention-inl.h.
#include "ops/full_attention.h"

#include "kernels/cpu/self_attention-inl.h"

namespace seqrisk::SEQRISK_VARIANT {
namespace {

template <class Arguments>
SelfAttention problem(const Arguments& a) {
  return {.qkv = a.qkv,
          .scratch = a.scratch,
          .packing = a.packing,
          .cut = kWholeSequences,
          .width = a.width,
          .heads = a.heads};
}

}  // namespace

void full_attention_forward(const FullAttentionForward& a, Workers& workers) {
  self_attention_forward(problem(a), a.out, a.lse, workers);
}

void full_attention_backward(const FullAttentionBackward& a, Workers& workers) {
  self_attention_backward(problem(a), a.out, a.lse, a.dout, a.dqkv, a.accumulate_dqkv, workers);
}

}  // namespace seqrisk::SEQRISK_VARIANT
