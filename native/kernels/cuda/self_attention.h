// What block and full attention share: queries, keys and values side by side in the rows of qkv.
#pragma once

#include "kernels/cuda/attention.h"

namespace seqrisk {
namespace cuda {

template <class Arguments>
AttentionProblem self_problem(const Arguments& a) {
  AttentionProblem p{};
  p.q = {a.qkv, 3 * a.width, 0};
  p.k = {a.qkv, 3 * a.width, a.width};
  p.v = {a.qkv, 3 * a.width, 2 * a.width};
  p.stored = a.stored;
  p.packing = a.packing;
  p.heads = a.heads;
  p.head_dim = a.width / a.heads;
  return p;
}

template <class Arguments>
void self_forward(const Arguments& a, AttentionProblem p, Launch& launch) {
  p.out = {a.out, a.width, 0};
  p.lse = a.lse;
  self_attention(p, launch);
}

template <class Arguments>
void self_backward(const Arguments& a, const AttentionProblem& p, Launch& launch) {
  AttentionGradients g{};
  g.out = {a.out, a.width, 0};
  g.dout = {a.dout, a.width, 0};
  g.lse = a.lse;
  g.dq = {a.dqkv, 3 * a.width, 0};
  g.dk = {a.dqkv, 3 * a.width, a.width};
  g.dv = {a.dqkv, 3 * a.width, 2 * a.width};
  g.accumulate_dq = a.accumulate_dqkv;
  g.accumulate_dkv = a.accumulate_dqkv;
  self_attention_backward(p, g, launch);
}

}  // namespace cuda
}  // namespace seqrisk
