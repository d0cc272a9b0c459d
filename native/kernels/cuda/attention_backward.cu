// Backward of attention on CUDA: scores are computed again. One pass has a tile of keys and walks over the queries that
// they meet, another one the other way round; where both are one tile, the first does it all.
#include "kernels/cuda/attention.h"
#include "kernels/cuda/attention_cut-inl.cuh"
#include "kernels/cuda/attention_tile-inl.cuh"
#include "kernels/cuda/columns-inl.cuh"

namespace seqrisk {
namespace cuda {
namespace {

// Events whose share of the gradient of common queries one block sums.
constexpr int64_t kQueryChunk = 2048;

// delta[row, head] = out · dout: what the gradient of every score of the row has in common.
__global__ void delta_kernel(AttentionGradients g, int64_t rows, int64_t heads, int64_t dim, float* delta) {
  const int64_t i = (static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) / kWarp;
  const int64_t row = i / heads;
  const int64_t head = i % heads;
  if (row >= rows) return;
  const float* out = g.out.values + row * g.out.stride + head * dim;
  const float* dout = g.dout.values + row * g.dout.stride + head * dim;
  float sum = 0.0f;
  for (int64_t c = threadIdx.x % kWarp; c < dim; c += kWarp) sum = fmaf(out[c], dout[c], sum);
  sum = warp_sum(sum);
  if (threadIdx.x % kWarp == 0) delta[i] = sum;
}

// Weights and the gradients of scores, scaled, for a tile of queries (rows) and one of keys (columns). `rows` of lse and
// delta are `heads` apart.
template <int kTile>
__device__ void score_gradients(const float* q, const float* k, const float* v, const float* dout, const float* lse,
                                const float* delta, int64_t heads, int rows, int keys, int dim, float* weights,
                                float* dscores) {
  constexpr int kEach = kTile / kAcross;
  const float scale = rsqrtf(static_cast<float>(dim));
  float weight[kEach][kEach];
  float gradient[kEach][kEach];
  row_products<kTile>(q, k, dim, weight);
  row_products<kTile>(dout, v, dim, gradient);
#pragma unroll
  for (int i = 0; i < kEach; ++i) {
    const int row = row_of_thread() * kEach + i;
    const float own_lse = row < rows ? lse[row * heads] : 0.0f;
    const float own_delta = row < rows ? delta[row * heads] : 0.0f;
#pragma unroll
    for (int j = 0; j < kEach; ++j) {
      const bool inside = row < rows && column_of_thread() + j * kAcross < keys;
      weight[i][j] = inside ? expf(fmaf(weight[i][j], scale, -own_lse)) : 0.0f;
      gradient[i][j] = inside ? weight[i][j] * (gradient[i][j] - own_delta) * scale : 0.0f;
    }
  }
  if (weights) put_weights<kTile>(weights, weight);
  put_weights<kTile>(dscores, gradient);
}

// A tile of keys. Their queries are rows [query_shift + …] of q, and the same rows without the shift of out.
template <int kTile, int kColumns>
__global__ void __launch_bounds__(kAttentionThreads)
    keys_kernel(AttentionProblem p, AttentionGradients g, AttentionCut cut, int64_t tiles_per_block, const float* delta) {
  constexpr int kEach = kTile / kAcross;
  extern __shared__ float shared[];
  const int dim = static_cast<int>(p.head_dim);
  const int64_t head = blockIdx.y;
  const AttentionTile tile = cut.at(blockIdx.x, tiles_per_block);
  if (tile.rows == 0) return;
  // Events that meet slots are the keys of the queries that all sequences share.
  const int64_t query_shift = cut.meeting == Meeting::events_to_slots ? tile.other_first : 0;
  float* q = shared;
  float* k = q + kTile * padded_dim(dim);
  float* v = k + kTile * padded_dim(dim);
  float* dout = v + kTile * padded_dim(dim);
  float* weights = dout + kTile * padded_dim(dim);
  float* dscores = weights + kTile * (kTile + 1);
  load_tile<kTile>(k, p.k.values + tile.first * p.k.stride + head * dim, p.k.stride, tile.rows, dim);
  load_tile<kTile>(v, p.v.values + tile.first * p.v.stride + head * dim, p.v.stride, tile.rows, dim);
  float dk[kEach][kColumns] = {};
  float dv[kEach][kColumns] = {};
  for (int64_t query = 0; query < tile.others; query += kTile) {
    const int queries = static_cast<int>(tile.others - query < kTile ? tile.others - query : kTile);
    const int64_t row = tile.other_first + query;
    __syncthreads();
    load_tile<kTile>(q, p.q.values + (row - query_shift) * p.q.stride + head * dim, p.q.stride, queries, dim);
    load_tile<kTile>(dout, g.dout.values + row * g.dout.stride + head * dim, g.dout.stride, queries, dim);
    __syncthreads();
    score_gradients<kTile>(q, k, v, dout, g.lse + row * p.heads + head, delta + row * p.heads + head, p.heads, queries,
                           tile.rows, dim, weights, dscores);
    __syncthreads();
    add_weighted<kTile, kColumns, true>(weights, dout, queries, dim, dv);
    add_weighted<kTile, kColumns, true>(dscores, q, queries, dim, dk);
  }
  if (g.dv.values) {
    put_rows<kTile>(g.dv.values + tile.first * g.dv.stride + head * dim, g.dv.stride, tile.rows, dim, 1.0f,
                    g.accumulate_dkv, dv);
    put_rows<kTile>(g.dk.values + tile.first * g.dk.stride + head * dim, g.dk.stride, tile.rows, dim, 1.0f,
                    g.accumulate_dkv, dk);
  }
  const bool is_self = cut.meeting == Meeting::blocks || cut.meeting == Meeting::sequences;
  if (!is_self || tile.others > kTile || !g.dq.values) return;
  // The queries are the very events of this tile, and nothing else met them.
  float dq[kEach][kColumns] = {};
  add_weighted<kTile, kColumns, false>(dscores, k, tile.rows, dim, dq);
  put_rows<kTile>(g.dq.values + tile.first * g.dq.stride + head * dim, g.dq.stride, tile.rows, dim, 1.0f,
                  g.accumulate_dq, dq);
}

// A tile of queries over all their keys. Without chunks: of events over their block, sequence or slots. With chunks: of
// the common queries over the events of one chunk, sequence after sequence, into partials (chunks, slots, width).
template <int kTile, int kColumns>
__global__ void __launch_bounds__(kAttentionThreads)
    queries_kernel(AttentionProblem p, AttentionGradients g, AttentionCut cut, int64_t tiles_per_block,
                   const float* delta, float* partials) {
  constexpr int kEach = kTile / kAcross;
  extern __shared__ float shared[];
  const int dim = static_cast<int>(p.head_dim);
  const int64_t head = blockIdx.y;
  AttentionTile tile;
  int64_t chunk = 0;
  int64_t chunk_end = 0;
  if (partials) {
    const int64_t tiles_of_slots = ceil_div(p.slots, kTile);
    chunk = blockIdx.x / tiles_of_slots;
    tile.first = blockIdx.x % tiles_of_slots * kTile;
    tile.rows = static_cast<int>(p.slots - tile.first < kTile ? p.slots - tile.first : kTile);
    tile.other_first = chunk * kQueryChunk;
    chunk_end = tile.other_first + kQueryChunk < p.packing.events ? tile.other_first + kQueryChunk : p.packing.events;
    tile.sequence = sequence_of(p.packing, tile.other_first);
  } else {
    tile = cut.at(blockIdx.x, tiles_per_block);
    const bool done = cut.meeting != Meeting::events_to_slots && tile.others <= kTile;  // by keys_kernel
    if (tile.rows == 0 || done) return;
  }
  float* q = shared;
  float* k = q + kTile * padded_dim(dim);
  float* v = k + kTile * padded_dim(dim);
  float* dout = v + kTile * padded_dim(dim);
  float* dscores = dout + kTile * padded_dim(dim);
  load_tile<kTile>(q, p.q.values + tile.first * p.q.stride + head * dim, p.q.stride, tile.rows, dim);
  float dq[kEach][kColumns] = {};
  for (bool more = true; more;) {
    int64_t out_row = tile.first;
    if (partials) {
      const int64_t end = p.packing.offsets[tile.sequence + 1];
      tile.others = (end < chunk_end ? end : chunk_end) - tile.other_first;
      out_row += tile.sequence * p.slots;
    }
    __syncthreads();
    load_tile<kTile>(dout, g.dout.values + out_row * g.dout.stride + head * dim, g.dout.stride, tile.rows, dim);
    for (int64_t key = 0; key < tile.others; key += kTile) {
      const int keys = static_cast<int>(tile.others - key < kTile ? tile.others - key : kTile);
      const int64_t row = tile.other_first + key;
      __syncthreads();
      load_tile<kTile>(k, p.k.values + row * p.k.stride + head * dim, p.k.stride, keys, dim);
      load_tile<kTile>(v, p.v.values + row * p.v.stride + head * dim, p.v.stride, keys, dim);
      __syncthreads();
      score_gradients<kTile>(q, k, v, dout, g.lse + out_row * p.heads + head, delta + out_row * p.heads + head, p.heads,
                             tile.rows, keys, dim, nullptr, dscores);
      __syncthreads();
      add_weighted<kTile, kColumns, false>(dscores, k, keys, dim, dq);
    }
    more = false;
    if (partials) {
      tile.other_first += tile.others;
      more = tile.other_first < chunk_end;
      while (more && p.packing.offsets[tile.sequence + 1] <= tile.other_first) ++tile.sequence;
    }
  }
  float* to = partials ? partials + (chunk * p.slots + tile.first) * p.heads * dim
                       : g.dq.values + tile.first * g.dq.stride;
  const int64_t stride = partials ? p.heads * dim : g.dq.stride;
  put_rows<kTile>(to + head * dim, stride, tile.rows, dim, 1.0f, !partials && g.accumulate_dq, dq);
}

float* find_delta(const AttentionProblem& p, const AttentionGradients& g, int64_t rows, float* delta, Launch& launch) {
  const unsigned blocks = blocks_of(rows * p.heads * kWarp, 256);
  if (rows > 0) delta_kernel<<<blocks, 256, 0, launch.stream>>>(g, rows, p.heads, p.head_dim, delta);
  return delta;
}

template <class Kernel, class... Rest>
void launch_kernel(Kernel kernel, int64_t tiles, int64_t heads, size_t bytes, Launch& launch, const Rest&... rest) {
  if (tiles == 0) return;
  cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes));
  const dim3 blocks(static_cast<unsigned>(tiles), static_cast<unsigned>(heads));
  kernel<<<blocks, kAttentionThreads, bytes, launch.stream>>>(rest...);
}

// Both passes use one tile, so that each knows what the other does.
template <class F>
void with_tile(const AttentionProblem& p, Launch& launch, F f) {
  const int dim = static_cast<int>(p.head_dim);
  const bool fits = with_attention_tile(dim, 4, 2, launch.shared_limit, [&](auto tile, auto columns) {
    f(tile, columns, attention_shared<decltype(tile)::value>(dim, 4, 2));
  });
  if (!fits) launch.refuse(kSharedMemory);
}

}  // namespace

void self_attention_backward(const AttentionProblem& p, const AttentionGradients& g, Launch& launch) {
  float* delta = launch.workspace_of<float>(p.packing.events * p.heads);
  if (!delta) return;
  find_delta(p, g, p.packing.events, delta, launch);
  with_tile(p, launch, [&](auto tile, auto columns, size_t bytes) {
    constexpr int kTile = decltype(tile)::value;
    constexpr int kColumns = decltype(columns)::value;
    const Meeting meeting = p.block > 0 ? Meeting::blocks : Meeting::sequences;
    const AttentionCut cut{p.packing, meeting, p.block, p.missing, 0, kTile};
    const int64_t per_block = cut.tiles_of_block();
    launch_kernel(keys_kernel<kTile, kColumns>, cut.tiles(), p.heads, bytes, launch, p, g, cut, per_block, delta);
    const int64_t longest = p.block > 0 && p.block < p.packing.max_length ? p.block : p.packing.max_length;
    if (longest <= kTile) return;
    launch_kernel(queries_kernel<kTile, kColumns>, cut.tiles(), p.heads, bytes, launch, p, g, cut, per_block, delta,
                  static_cast<float*>(nullptr));
  });
}

void read_attention_backward(const AttentionProblem& p, const AttentionGradients& g, Launch& launch) {
  float* delta = launch.workspace_of<float>(p.packing.events * p.heads);
  if (!delta) return;
  find_delta(p, g, p.packing.events, delta, launch);
  with_tile(p, launch, [&](auto tile, auto columns, size_t bytes) {
    constexpr int kTile = decltype(tile)::value;
    constexpr int kColumns = decltype(columns)::value;
    const AttentionCut events{p.packing, Meeting::events_to_slots, 1, 0, p.slots, kTile};
    const AttentionCut slots{p.packing, Meeting::slots_to_events, 1, 0, p.slots, kTile};
    if (g.dv.values) {
      launch_kernel(keys_kernel<kTile, kColumns>, slots.tiles(), p.heads, bytes, launch, p, g, slots, int64_t{1}, delta);
    }
    if (g.dq.values) {
      launch_kernel(queries_kernel<kTile, kColumns>, events.tiles(), p.heads, bytes, launch, p, g, events, int64_t{1},
                    delta, static_cast<float*>(nullptr));
    }
  });
}

void write_attention_backward(const AttentionProblem& p, const AttentionGradients& g, Launch& launch) {
  const int64_t rows = p.packing.sequences * p.slots;
  const int64_t width = p.heads * p.head_dim;
  const int64_t chunks = g.dq.values ? ceil_div(p.packing.events, kQueryChunk) : 0;
  float* delta = launch.workspace_of<float>(rows * p.heads + chunks * p.slots * width);
  if (!delta) return;
  float* partials = delta + rows * p.heads;
  find_delta(p, g, rows, delta, launch);
  with_tile(p, launch, [&](auto tile, auto columns, size_t bytes) {
    constexpr int kTile = decltype(tile)::value;
    constexpr int kColumns = decltype(columns)::value;
    const AttentionCut events{p.packing, Meeting::events_to_slots, 1, 0, p.slots, kTile};
    if (g.dv.values) {
      launch_kernel(keys_kernel<kTile, kColumns>, events.tiles(), p.heads, bytes, launch, p, g, events, int64_t{1},
                    delta);
    }
    const int64_t tiles = chunks * ceil_div(p.slots, kTile);
    launch_kernel(queries_kernel<kTile, kColumns>, tiles, p.heads, bytes, launch, p, g, events, int64_t{1}, delta,
                  partials);
  });
  if (chunks > 0) {
    add_partials(partials, chunks, p.slots * width, p.slots * width, p.slots * width, g.dq.values, nullptr,
                 launch.stream);
  }
}

}  // namespace cuda
}  // namespace seqrisk
