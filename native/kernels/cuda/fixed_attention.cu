// fixed_attention on CUDA; see attention.h.
#include "ops/fixed_attention.h"

#include "kernels/cuda/attention.h"

namespace seqrisk {
namespace cuda {
namespace {

template <class Arguments>
AttentionProblem problem(const Arguments& a, const float* q) {
  AttentionProblem p{};
  p.q = {q, a.width, 0};
  p.k = {a.kv, 2 * a.width, 0};
  p.v = {a.kv, 2 * a.width, a.width};
  p.stored = a.stored;
  p.packing = a.packing;
  p.heads = a.heads;
  p.head_dim = a.width / a.heads;
  p.slots = a.slots;
  return p;
}

template <class Arguments>
AttentionGradients gradients(const Arguments& a, const float* out, const float* dout, float* dq) {
  AttentionGradients g{};
  g.out = {out, a.width, 0};
  g.dout = {dout, a.width, 0};
  g.lse = a.lse;
  g.dq = {dq, a.width, 0};
  g.dk = {a.dkv, 2 * a.width, 0};
  g.dv = {a.dkv, 2 * a.width, a.width};
  g.accumulate_dkv = a.accumulate_dkv;
  return g;
}

}  // namespace

void fixed_attention_write_forward(const FixedAttentionWriteForward& a, Launch& launch) {
  AttentionProblem p = problem(a, a.queries);
  p.out = {a.memory, a.width, 0};
  p.lse = a.lse;
  write_attention(p, launch);
}

void fixed_attention_write_backward(const FixedAttentionWriteBackward& a, Launch& launch) {
  write_attention_backward(problem(a, a.queries), gradients(a, a.memory, a.dmemory, a.dqueries), launch);
}

void fixed_attention_read_forward(const FixedAttentionReadForward& a, Launch& launch) {
  AttentionProblem p = problem(a, a.q);
  p.out = {a.out, a.width, 0};
  p.lse = a.lse;
  read_attention(p, launch);
}

void fixed_attention_read_backward(const FixedAttentionReadBackward& a, Launch& launch) {
  AttentionGradients g = gradients(a, a.out, a.dout, a.dq);
  g.accumulate_dq = a.accumulate_dq;
  read_attention_backward(problem(a, a.q), g, launch);
}

}  // namespace cuda
}  // namespace seqrisk
