// Attention on CUDA: which passes an op takes, in which precision; and what stands between the passes.
#include "kernels/cuda/attention.h"

#include "kernels/cuda/attention_bfloat16.h"
#include "kernels/cuda/attention_passes-inl.cuh"
#include "kernels/cuda/partial_sums.h"

namespace seqrisk {
namespace cuda {
namespace {

// The slots of one sequence out of its parts. A block takes a slot, a thread some columns.
template <class T>
__global__ void join_kernel(AttentionProblem p, AttentionParts parts) {
  const int64_t s = blockIdx.x / p.slots;
  const int64_t slot = blockIdx.x % p.slots;
  const int64_t begin = p.packing.offsets[s];
  const int64_t end = p.packing.offsets[s + 1];
  if (end - begin <= kAttentionPart) return;
  const int64_t width = p.heads * p.head_dim;
  for (int64_t column = threadIdx.x; column < width; column += blockDim.x) {
    const int64_t head = column / p.head_dim;
    const auto lse_of = [&](int64_t at) { return parts.at(at, at == begin)[p.slots * width + slot * p.heads + head]; };
    float top = -INFINITY;
    for (int64_t at = begin; at < end; at += kAttentionPart) top = fmaxf(top, lse_of(at));
    float sum = 0.0f;
    float total = 0.0f;
    for (int64_t at = begin; at < end; at += kAttentionPart) {
      const float lse = lse_of(at);
      const float weight = lse == -INFINITY ? 0.0f : expf(lse - top);
      total += weight;
      sum = fmaf(weight, parts.at(at, at == begin)[slot * width + column], sum);
    }
    store<1>(p.out.at<T>(s * p.slots + slot, column), {{total == 0.0f ? 0.0f : sum / total}});
    if (p.lse && column % p.head_dim == 0) p.lse[(s * p.slots + slot) * p.heads + head] = top + logf(total);
  }
}

// delta[row, head] = out · dout: what the gradient of every score of the row has in common.
template <class T>
__global__ void delta_kernel(AttentionGradients g, int64_t rows, int64_t heads, int64_t dim, float* delta) {
  const int64_t i = (static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) / kWarp;
  const int64_t row = i / heads;
  const int64_t head = i % heads;
  if (row >= rows) return;
  const T* out = g.out.at<T>(row, head * dim);
  const T* dout = g.dout.at<T>(row, head * dim);
  float sum = 0.0f;
  for (int64_t c = threadIdx.x % kWarp; c < dim; c += kWarp) {
    sum = fmaf(load<1>(out + c).at[0], load<1>(dout + c).at[0], sum);
  }
  sum = warp_sum(sum);
  if (threadIdx.x % kWarp == 0) delta[i] = sum;
}

void find_delta(const AttentionProblem& p, const AttentionGradients& g, int64_t rows, float* delta, Launch& launch) {
  if (rows == 0) return;
  const unsigned blocks = blocks_of(rows * p.heads * kWarp, 256);
  with_storage(p.stored, [&](auto element) {
    delta_kernel<Element<decltype(element)>><<<blocks, 256, 0, launch.stream>>>(g, rows, p.heads, p.head_dim, delta);
  });
}

// A problem is worked on in the precision that its rows have in memory.
bool is_bfloat16(const AttentionProblem& p) {
  return p.stored == Storage::bfloat16;
}
bool can_work_on(const AttentionProblem& p, Launch& launch) {
  if (!is_bfloat16(p) || p.head_dim <= kBfloat16MaxHeadDim) return true;
  launch.refuse("heads of at most 128 columns in bfloat16");
  return false;
}
void forward(const ForwardPass& pass, Launch& launch) {
  is_bfloat16(pass.p) ? forward_bfloat16(pass, launch) : forward_float32(pass, launch);
}
void keys(const BackwardPass& pass, Launch& launch) {
  is_bfloat16(pass.p) ? keys_bfloat16(pass, launch) : keys_float32(pass, launch);
}
void queries(const BackwardPass& pass, Launch& launch) {
  is_bfloat16(pass.p) ? queries_bfloat16(pass, launch) : queries_float32(pass, launch);
}

// Common queries are a parameter, float32: where events are bfloat16 a rounded copy of them is read.
struct RoundedQueries {
  const float* from;
  Bfloat16* to;

  template <int V>
  __device__ void run(int64_t i) const {
    store<V>(to + i, load<V>(from + i));
  }
};
int64_t rounded_queries(const AttentionProblem& p) {  // in floats, whole pieces of 16 bytes
  return is_bfloat16(p) ? ceil_div(p.slots * p.heads * p.head_dim, 8) * 4 : 0;
}
void round_queries(AttentionProblem& p, float* memory, Launch& launch) {
  if (!is_bfloat16(p)) return;
  const RoundedQueries op{p.q.values, stored_as<Bfloat16>(memory)};
  over_elements(p.slots * p.heads * p.head_dim, is_wide(0, p.q.values), op, launch.stream);
  p.q.values = memory;
}

AttentionCut self_cut(const AttentionProblem& p) {
  return {p.packing, p.block > 0 ? Meeting::blocks : Meeting::sequences, p.block, p.missing, 0, 0};
}
AttentionCut fixed_cut(const AttentionProblem& p, Meeting meeting) {
  return {p.packing, meeting, 1, 0, p.slots, 0};
}

}  // namespace

void self_attention(const AttentionProblem& p, Launch& launch) {
  if (!can_work_on(p, launch)) return;
  forward({p, self_cut(p), 0, {}, 1}, launch);
}

void self_attention_backward(const AttentionProblem& p, const AttentionGradients& g, Launch& launch) {
  if (!can_work_on(p, launch)) return;
  BackwardPass pass{p, g, self_cut(p), 0, nullptr, nullptr};
  if (!is_bfloat16(p) || !is_one_tile_bfloat16(pass)) {
    float* delta = launch.workspace_of<float>(p.packing.events * p.heads);
    if (!delta) return;
    find_delta(p, g, p.packing.events, delta, launch);
    pass.delta = delta;
  }
  keys(pass, launch);
  queries(pass, launch);
}

void write_attention(AttentionProblem p, Launch& launch) {
  if (!can_work_on(p, launch)) return;
  const int64_t most = ceil_div(p.packing.max_length, kAttentionPart);
  const int64_t part = p.slots * (p.heads * p.head_dim + p.heads);
  const int64_t parts = most > 1 ? 2 * (p.packing.events / kAttentionPart + 1) * part : 0;
  float* memory = launch.workspace_of<float>(rounded_queries(p) + parts);
  if (!memory) return;
  float* part_memory = memory + rounded_queries(p);
  round_queries(p, memory, launch);
  ForwardPass pass{p, fixed_cut(p, Meeting::slots_to_events), 0, {}, 1};
  if (most > 1) {
    pass.parts = {part_memory, part};
    pass.parts_of_tile = most;
  }
  forward(pass, launch);
  if (most <= 1 || p.packing.sequences == 0 || p.slots == 0) return;
  with_storage(p.stored, [&](auto element) {
    const unsigned blocks = static_cast<unsigned>(p.packing.sequences * p.slots);
    join_kernel<Element<decltype(element)>><<<blocks, 128, 0, launch.stream>>>(p, pass.parts);
  });
}

void write_attention_backward(AttentionProblem p, const AttentionGradients& g, Launch& launch) {
  if (!can_work_on(p, launch)) return;
  const int64_t rows = p.packing.sequences * p.slots;
  const int64_t width = p.heads * p.head_dim;
  const int64_t chunks = g.dq.values ? ceil_div(p.packing.events, kQueryChunk) : 0;
  float* memory = launch.workspace_of<float>(rounded_queries(p) + rows * p.heads + chunks * p.slots * width);
  if (!memory) return;
  float* delta = memory + rounded_queries(p);
  float* partials = delta + rows * p.heads;
  round_queries(p, memory, launch);
  find_delta(p, g, rows, delta, launch);
  BackwardPass pass{p, g, fixed_cut(p, Meeting::events_to_slots), 0, delta, nullptr};
  if (g.dv.values) keys(pass, launch);
  if (chunks == 0) return;
  pass.partials = partials;
  queries(pass, launch);
  const int64_t cells = p.slots * width;
  add_partials(partials, chunks, cells, cells, cells, g.dq.values, nullptr, launch.stream);
}

void read_attention(const AttentionProblem& p, Launch& launch) {
  if (!can_work_on(p, launch)) return;
  forward({p, fixed_cut(p, Meeting::events_to_slots), 0, {}, 1}, launch);
}

void read_attention_backward(const AttentionProblem& p, const AttentionGradients& g, Launch& launch) {
  if (!can_work_on(p, launch)) return;
  float* delta = launch.workspace_of<float>(p.packing.events * p.heads);
  if (!delta) return;
  find_delta(p, g, p.packing.events, delta, launch);
  if (g.dv.values) keys({p, g, fixed_cut(p, Meeting::slots_to_events), 0, delta, nullptr}, launch);
  if (g.dq.values) queries({p, g, fixed_cut(p, Meeting::events_to_slots), 0, delta, nullptr}, launch);
}

}  // namespace cuda
}  // namespace seqrisk
