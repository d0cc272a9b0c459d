// full_attention on CUDA; see attention.h.
#include "ops/full_attention.h"

#include "kernels/cuda/attention.h"

namespace seqrisk {
namespace cuda {
namespace {

template <class Arguments>
AttentionProblem problem(const Arguments& a) {
  AttentionProblem p{};
  p.q = {a.qkv, 3 * a.width};
  p.k = {a.qkv + a.width, 3 * a.width};
  p.v = {a.qkv + 2 * a.width, 3 * a.width};
  p.packing = a.packing;
  p.heads = a.heads;
  p.head_dim = a.width / a.heads;
  return p;
}

}  // namespace

void full_attention_forward(const FullAttentionForward& a, Launch& launch) {
  AttentionProblem p = problem(a);
  p.out = {a.out, a.width};
  p.lse = a.lse;
  self_attention(p, launch);
}

void full_attention_backward(const FullAttentionBackward& a, Launch& launch) {
  AttentionGradients g{};
  g.out = {a.out, a.width};
  g.dout = {a.dout, a.width};
  g.lse = a.lse;
  g.dq = {a.dqkv, 3 * a.width};
  g.dk = {a.dqkv + a.width, 3 * a.width};
  g.dv = {a.dqkv + 2 * a.width, 3 * a.width};
  g.accumulate_dq = a.accumulate_dqkv;
  g.accumulate_dkv = a.accumulate_dqkv;
  self_attention_backward(problem(a), g, launch);
}

}  // namespace cuda
}  // namespace seqrisk
