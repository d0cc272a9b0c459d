// Backward of attention on CUDA cores: scores are computed again. One pass has a tile of keys and walks over the
// queries that they meet, another one the other way round; where both are one tile, the first does it all.
#include "kernels/cuda/attention_passes-inl.cuh"
#include "kernels/cuda/attention_tile-inl.cuh"

namespace seqrisk {
namespace cuda {
namespace {

// Weights and the gradients of scores, scaled, for a tile of queries (rows) and one of keys (columns). `rows` of lse
// and delta are `heads` apart.
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
      const bool counts = inside && weight[i][j] != -INFINITY;
      weight[i][j] = counts ? expf(fmaf(weight[i][j], scale, -own_lse)) : 0.0f;
      gradient[i][j] = inside ? weight[i][j] * (gradient[i][j] - own_delta) * scale : 0.0f;
    }
  }
  if (weights) put_weights<kTile>(weights, weight);
  put_weights<kTile>(dscores, gradient);
}

template <int kTile, int kColumns>
__global__ void __launch_bounds__(kAttentionThreads) keys_kernel(BackwardPass pass) {
  constexpr int kEach = kTile / kAcross;
  extern __shared__ float shared[];
  KeysWork work;
  if (!work.find(pass)) return;
  const AttentionProblem& p = pass.p;
  const AttentionGradients& g = pass.g;
  const AttentionTile& tile = work.tile;
  const int dim = static_cast<int>(p.head_dim);
  const int64_t head = blockIdx.y;
  float* q = shared;
  float* k = q + kTile * padded_dim(dim);
  float* v = k + kTile * padded_dim(dim);
  float* dout = v + kTile * padded_dim(dim);
  float* weights = dout + kTile * padded_dim(dim);
  float* dscores = weights + kTile * (kTile + 1);
  load_tile<kTile>(k, p.k.at<float>(tile.first, head * dim), p.k.stride, tile.rows, dim);
  load_tile<kTile>(v, p.v.at<float>(tile.first, head * dim), p.v.stride, tile.rows, dim);
  float dk[kEach][kColumns] = {};
  float dv[kEach][kColumns] = {};
  for (int64_t query = 0; query < tile.others; query += kTile) {
    const int queries = static_cast<int>(tile.others - query < kTile ? tile.others - query : kTile);
    const int64_t row = tile.other_first + query;
    __syncthreads();
    load_tile<kTile>(q, p.q.at<float>(row - work.query_shift, head * dim), p.q.stride, queries, dim);
    load_tile<kTile>(dout, g.dout.at<float>(row, head * dim), g.dout.stride, queries, dim);
    __syncthreads();
    score_gradients<kTile>(q, k, v, dout, g.lse + row * p.heads + head, pass.delta + row * p.heads + head, p.heads,
                           queries, tile.rows, dim, weights, dscores);
    __syncthreads();
    add_weighted<kTile, kColumns, true>(weights, dout, queries, dim, dv);
    add_weighted<kTile, kColumns, true>(dscores, q, queries, dim, dk);
  }
  if (g.dv.values) {
    put_rows<kTile>(g.dv.at<float>(tile.first, head * dim), g.dv.stride, tile.rows, dim, g.accumulate_dkv, dv);
    put_rows<kTile>(g.dk.at<float>(tile.first, head * dim), g.dk.stride, tile.rows, dim, g.accumulate_dkv, dk);
  }
  if (!work.has_queries(pass)) return;
  float dq[kEach][kColumns] = {};
  add_weighted<kTile, kColumns, false>(dscores, k, tile.rows, dim, dq);
  put_rows<kTile>(g.dq.at<float>(tile.first, head * dim), g.dq.stride, tile.rows, dim, g.accumulate_dq, dq);
}

template <int kTile, int kColumns>
__global__ void __launch_bounds__(kAttentionThreads) queries_kernel(BackwardPass pass) {
  constexpr int kEach = kTile / kAcross;
  extern __shared__ float shared[];
  QueriesWork work;
  if (!work.find(pass)) return;
  const AttentionProblem& p = pass.p;
  const AttentionGradients& g = pass.g;
  const int dim = static_cast<int>(p.head_dim);
  const int64_t head = blockIdx.y;
  float* q = shared;
  float* k = q + kTile * padded_dim(dim);
  float* v = k + kTile * padded_dim(dim);
  float* dout = v + kTile * padded_dim(dim);
  float* dscores = dout + kTile * padded_dim(dim);
  load_tile<kTile>(q, p.q.at<float>(work.tile.first, head * dim), p.q.stride, work.tile.rows, dim);
  float dq[kEach][kColumns] = {};
  do {
    const AttentionTile& tile = work.tile;
    __syncthreads();
    load_tile<kTile>(dout, g.dout.at<float>(work.out_row, head * dim), g.dout.stride, tile.rows, dim);
    for (int64_t key = 0; key < tile.others; key += kTile) {
      const int keys = static_cast<int>(tile.others - key < kTile ? tile.others - key : kTile);
      const int64_t row = tile.other_first + key;
      __syncthreads();
      load_tile<kTile>(k, p.k.at<float>(row, head * dim), p.k.stride, keys, dim);
      load_tile<kTile>(v, p.v.at<float>(row, head * dim), p.v.stride, keys, dim);
      __syncthreads();
      const int64_t at = work.out_row * p.heads + head;
      score_gradients<kTile>(q, k, v, dout, g.lse + at, pass.delta + at, p.heads, tile.rows, keys, dim, nullptr,
                             dscores);
      __syncthreads();
      add_weighted<kTile, kColumns, false>(dscores, k, keys, dim, dq);
    }
  } while (work.next(pass));
  if (pass.partials) {
    put_rows<kTile>(work.partials(pass, head * dim), p.heads * dim, work.tile.rows, dim, false, dq);
  } else {
    put_rows<kTile>(g.dq.at<float>(work.tile.first, head * dim), g.dq.stride, work.tile.rows, dim, g.accumulate_dq, dq);
  }
}

// Calls f(tile, columns, bytes). Both passes use one tile, so that each knows what the other does.
template <class F>
void with_tile(BackwardPass& pass, Launch& launch, F f) {
  const int dim = static_cast<int>(pass.p.head_dim);
  const bool fits = with_attention_tile(dim, 4, 2, launch.shared_limit, [&](auto tile, auto columns) {
    constexpr int kTile = decltype(tile)::value;
    pass.cut.tile = kTile;
    pass.tiles_per_block = pass.cut.tiles_of_block();
    f(tile, columns, attention_shared<kTile>(dim, 4, 2));
  });
  if (!fits) launch.refuse(kSharedMemory);
}

}  // namespace

void keys_float32(BackwardPass pass, Launch& launch) {
  with_tile(pass, launch, [&](auto tile, auto columns, size_t bytes) {
    const auto kernel = keys_kernel<decltype(tile)::value, decltype(columns)::value>;
    launch_pass(kernel, pass, pass.cut.tiles(), kAttentionThreads, bytes, launch);
  });
}

void queries_float32(BackwardPass pass, Launch& launch) {
  with_tile(pass, launch, [&](auto tile, auto columns, size_t bytes) {
    if (pass.cut.is_one_tile()) return;  // keys_float32 did it
    const int64_t slot_tiles = ceil_div(pass.p.slots, decltype(tile)::value);
    const int64_t tiles = pass.partials ? pass.cut.chunks() * slot_tiles : pass.cut.tiles();
    const auto kernel = queries_kernel<decltype(tile)::value, decltype(columns)::value>;
    launch_pass(kernel, pass, tiles, kAttentionThreads, bytes, launch);
  });
}

}  // namespace cuda
}  // namespace seqrisk
