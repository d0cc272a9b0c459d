// Forward of attention on CUDA: a block keeps a tile of queries and walks over their keys and values.
#include "kernels/cuda/attention.h"
#include "kernels/cuda/attention_cut-inl.cuh"
#include "kernels/cuda/attention_tile-inl.cuh"

namespace seqrisk {
namespace cuda {
namespace {

// Events of a sequence that one block sums into a tile of slots; longer sequences are put together from parts.
constexpr int64_t kPart = 512;

// Parts of sequences longer than kPart: their out (slots, width), then their lse (slots, heads).
struct Parts {
  float* values;  // null: no sequence is that long
  int64_t size;   // of one part

  // At most two parts start in any kPart events, of which one is its sequence's first.
  __device__ float* at(int64_t begin, bool first) const { return values + (2 * (begin / kPart) + (first ? 1 : 0)) * size; }
};

template <int kTile, int kColumns>
__global__ void __launch_bounds__(kAttentionThreads)
    forward_kernel(AttentionProblem p, AttentionCut cut, int64_t tiles_per_block, Parts parts, int64_t parts_of_tile) {
  constexpr int kEach = kTile / kAcross;
  extern __shared__ float shared[];
  const int dim = static_cast<int>(p.head_dim);
  const int64_t head = blockIdx.y;
  AttentionTile tile = cut.at(blockIdx.x / parts_of_tile, tiles_per_block);
  const bool writes = cut.meeting == Meeting::slots_to_events;
  const int64_t part = blockIdx.x % parts_of_tile;
  const bool in_parts = parts.values && tile.others > kPart;
  if (parts_of_tile > 1) {
    if (part > 0 && part * kPart >= tile.others) return;
    tile.other_first += part * kPart;
    tile.others = tile.others - part * kPart < kPart ? tile.others - part * kPart : kPart;
  }
  if (tile.rows == 0) return;

  float* q = shared;
  float* k = q + kTile * padded_dim(dim);
  float* v = k + kTile * padded_dim(dim);
  float* weights = v + kTile * padded_dim(dim);
  const int64_t query = writes ? tile.first - tile.sequence * p.slots : tile.first;
  load_tile<kTile>(q, p.q.values + query * p.q.stride + head * dim, p.q.stride, tile.rows, dim);
  const float scale = rsqrtf(static_cast<float>(dim));

  float sums[kEach][kColumns] = {};
  float top[kEach];
  float total[kEach];
#pragma unroll
  for (int i = 0; i < kEach; ++i) {
    top[i] = -INFINITY;
    total[i] = 0.0f;
  }
  for (int64_t key = 0; key < tile.others; key += kTile) {
    const int keys = static_cast<int>(tile.others - key < kTile ? tile.others - key : kTile);
    const int64_t row = tile.other_first + key;
    __syncthreads();
    load_tile<kTile>(k, p.k.values + row * p.k.stride + head * dim, p.k.stride, keys, dim);
    load_tile<kTile>(v, p.v.values + row * p.v.stride + head * dim, p.v.stride, keys, dim);
    __syncthreads();
    float scores[kEach][kEach];
    row_products<kTile>(q, k, dim, scores);
#pragma unroll
    for (int i = 0; i < kEach; ++i) {
      float highest = -INFINITY;
#pragma unroll
      for (int j = 0; j < kEach; ++j) {
        scores[i][j] = column_of_thread() + j * kAcross < keys ? scores[i][j] * scale : -INFINITY;
        highest = fmaxf(highest, scores[i][j]);
      }
      const float now = fmaxf(top[i], row_max(highest));
      // A row of −∞ alone has weights of NaN, as e^(−∞ + ∞) has.
      const float kept = total[i] == 0.0f ? 0.0f : expf(top[i] - now);
      float sum = 0.0f;
#pragma unroll
      for (int j = 0; j < kEach; ++j) {
        scores[i][j] = column_of_thread() + j * kAcross < keys ? expf(scores[i][j] - now) : 0.0f;
        sum += scores[i][j];
      }
      top[i] = now;
      total[i] = fmaf(total[i], kept, row_sum(sum));
#pragma unroll
      for (int c = 0; c < kColumns; ++c) sums[i][c] *= kept;
    }
    put_weights<kTile>(weights, scores);
    __syncthreads();
    add_weighted<kTile, kColumns, false>(weights, v, keys, dim, sums);
  }

  float* out = p.out.values + tile.first * p.out.stride;
  int64_t out_stride = p.out.stride;
  float* lse = p.lse ? p.lse + tile.first * p.heads : nullptr;
  if (in_parts) {
    const int64_t width = p.heads * dim;
    out = parts.at(tile.other_first, part == 0) + query * width;
    out_stride = width;
    lse = parts.at(tile.other_first, part == 0) + p.slots * width + query * p.heads;
  }
#pragma unroll
  for (int i = 0; i < kEach; ++i) {
    const int row = row_of_thread() * kEach + i;
    if (row >= tile.rows) continue;
    // No events: zeros.
    const float share = tile.others == 0 ? 0.0f : 1.0f / total[i];
#pragma unroll
    for (int c = 0; c < kColumns; ++c) {
      const int column = column_of_thread() + c * kAcross;
      if (column < dim) out[row * out_stride + head * dim + column] = sums[i][c] * share;
    }
    if (lse && column_of_thread() == 0) lse[row * p.heads + head] = tile.others == 0 ? 0.0f : top[i] + logf(total[i]);
  }
}

// The slots of one sequence out of its parts. A block takes a slot, a thread some columns.
__global__ void join_kernel(AttentionProblem p, Parts parts) {
  const int64_t s = blockIdx.x;
  const int64_t slot = blockIdx.y;
  const int64_t begin = p.packing.offsets[s];
  const int64_t end = p.packing.offsets[s + 1];
  if (end - begin <= kPart) return;
  const int64_t width = p.heads * p.head_dim;
  for (int64_t column = threadIdx.x; column < width; column += blockDim.x) {
    const int64_t head = column / p.head_dim;
    const auto lse_of = [&](int64_t at) {
      return parts.at(at, at == begin)[p.slots * width + slot * p.heads + head];
    };
    float top = -INFINITY;
    for (int64_t at = begin; at < end; at += kPart) top = fmaxf(top, lse_of(at));
    float sum = 0.0f;
    float total = 0.0f;
    for (int64_t at = begin; at < end; at += kPart) {
      const float weight = expf(lse_of(at) - top);
      total += weight;
      sum = fmaf(weight, parts.at(at, at == begin)[slot * width + column], sum);
    }
    p.out.values[(s * p.slots + slot) * p.out.stride + column] = sum / total;
    if (p.lse && column % p.head_dim == 0) p.lse[(s * p.slots + slot) * p.heads + head] = top + logf(total);
  }
}

void run(const AttentionProblem& p, AttentionCut cut, Parts parts, int64_t parts_of_tile, Launch& launch) {
  const int dim = static_cast<int>(p.head_dim);
  const bool fits = with_attention_tile(dim, 3, 1, launch.shared_limit, [&](auto tile, auto columns) {
    constexpr int kTile = decltype(tile)::value;
    const auto kernel = forward_kernel<kTile, decltype(columns)::value>;
    const size_t bytes = attention_shared<kTile>(dim, 3, 1);
    cut.tile = kTile;
    const int64_t tiles = cut.tiles() * parts_of_tile;
    if (tiles == 0) return;
    cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes));
    const dim3 blocks(static_cast<unsigned>(tiles), static_cast<unsigned>(p.heads));
    kernel<<<blocks, kAttentionThreads, bytes, launch.stream>>>(p, cut, cut.tiles_of_block(), parts, parts_of_tile);
  });
  if (!fits) launch.refuse(kSharedMemory);
}

}  // namespace

void self_attention(const AttentionProblem& p, Launch& launch) {
  const Meeting meeting = p.block > 0 ? Meeting::blocks : Meeting::sequences;
  run(p, {p.packing, meeting, p.block, p.missing, 0, 0}, {}, 1, launch);
}

void read_attention(const AttentionProblem& p, Launch& launch) {
  run(p, {p.packing, Meeting::events_to_slots, 1, 0, p.slots, 0}, {}, 1, launch);
}

void write_attention(const AttentionProblem& p, Launch& launch) {
  const AttentionCut cut{p.packing, Meeting::slots_to_events, 1, 0, p.slots, 0};
  const int64_t most = ceil_div(p.packing.max_length, kPart);
  if (most <= 1) return run(p, cut, {}, 1, launch);
  Parts parts;
  parts.size = p.slots * (p.heads * p.head_dim + p.heads);
  parts.values = launch.workspace_of<float>(2 * (p.packing.events / kPart + 1) * parts.size);
  if (!parts.values) return;
  run(p, cut, parts, most, launch);
  if (p.packing.sequences == 0 || p.slots == 0) return;
  const dim3 blocks(static_cast<unsigned>(p.packing.sequences), static_cast<unsigned>(p.slots));
  join_kernel<<<blocks, 128, 0, launch.stream>>>(p, parts);
}

}  // namespace cuda
}  // namespace seqrisk
