// Attention on tensor cores: a block of four warps has a tile of 64 rows, a warp 16 of them. Scores and weights stay in
// registers between two products (Dao 2023).
#include "kernels/cuda/attention_bfloat16.h"

#include <cfloat>

#include "kernels/cuda/attention_matrix-inl.cuh"
#include "kernels/cuda/attention_passes-inl.cuh"

namespace seqrisk {
namespace cuda {
namespace {

using namespace matrix_tiles;

constexpr float kLog2E = 1.4426950408889634f;

template <int D>
__global__ void __launch_bounds__(kThreads, D <= 64 ? 4 : 2) forward_kernel(ForwardPass pass) {
  if constexpr (!has_code<Bfloat16>()) return;
  extern __shared__ __align__(16) Bfloat16 shared[];
  ForwardWork work;
  if (!work.find(pass)) return;
  const AttentionProblem& p = pass.p;
  const AttentionTile& tile = work.tile;
  const int dim = static_cast<int>(p.head_dim);
  const int64_t column = blockIdx.y * p.head_dim;
  const int first = static_cast<int>(threadIdx.x) / kWarp * 16;
  Bfloat16* q = shared;
  Bfloat16* k = q + kTile * kStride<D>;
  Bfloat16* v = k + kTile * kStride<D>;
  const TileSource queries{q, p.q.at<Bfloat16>(work.query, column), p.q.stride, tile.rows};
  const float scale = rsqrtf(static_cast<float>(dim)) * kLog2E;  // exponents are of 2

  float sums[D / 8][4] = {};
  float top[2] = {-INFINITY, -INFINITY};  // of the lane's two rows
  float total[2] = {0.0f, 0.0f};
  for (int64_t key = 0; key < tile.others; key += kTile) {
    const int keys = static_cast<int>(tile.others - key < kTile ? tile.others - key : kTile);
    const int64_t row = tile.other_first + key;
    __syncthreads();
    const TileSource keys_of{k, p.k.at<Bfloat16>(row, column), p.k.stride, keys};
    const TileSource values_of{v, p.v.at<Bfloat16>(row, column), p.v.stride, keys};
    if (key == 0) {
      load_tiles<D>({queries, keys_of, values_of}, dim);
    } else {
      load_tiles<D>({keys_of, values_of}, dim);
    }
    __syncthreads();
    float scores[kBlocks][4];
    row_products<D>(q, k, first, scores);
    float now[2] = {top[0], top[1]};
    each_element(scores, [&](float& score, int r, int c) {
      score = c < keys ? score * scale : -INFINITY;
      now[r / 8] = fmaxf(now[r / 8], score);
    });
    float kept[2];
    for (int r = 0; r < 2; ++r) {
      now[r] = row_max(now[r]);
      kept[r] = total[r] == 0.0f ? 0.0f : exp2f(top[r] - now[r]);
      top[r] = now[r];
    }
    float sum[2] = {0.0f, 0.0f};
    each_element(scores, [&](float& score, int r, int) {
      // No weight for −∞, also where every score is that.
      score = score == -INFINITY ? 0.0f : exp2f(score - now[r / 8]);
      sum[r / 8] += score;
    });
    for (int r = 0; r < 2; ++r) total[r] = fmaf(total[r], kept[r], row_sum(sum[r]));
    each_element(sums, [&](float& value, int r, int) { value *= kept[r / 8]; });
    add_weighted<D>(scores, v, sums);
  }
  each_element(sums, [&](float& value, int r, int) { value = total[r / 8] == 0.0f ? 0.0f : value / total[r / 8]; });
  if (work.part) {
    put_rows<D>(work.part + column, p.heads * dim, first, tile.rows, dim, false, sums);
  } else {
    put_rows<D>(p.out.at<Bfloat16>(tile.first, column), p.out.stride, first, tile.rows, dim, false, sums);
  }
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  if (!work.lse || lane % 4 != 0) return;
  for (int r = 0; r < 2; ++r) {
    const int row = first + lane / 4 + r * 8;
    if (row >= tile.rows) continue;
    work.lse[row * p.heads + blockIdx.y] = tile.others == 0 ? -FLT_MAX : (top[r] + log2f(total[r])) / kLog2E;
  }
}

// The queries' side of the backward: q, dout, lse and delta of up to a tile of rows.
struct QueryTile {
  Bfloat16* q;
  Bfloat16* dout;
  float* lse;  // times log2 e
  float* delta;

  __device__ TileSource q_source(const BackwardPass& pass, int64_t row, int rows) const {
    return {q, pass.p.q.at<Bfloat16>(row, blockIdx.y * pass.p.head_dim), pass.p.q.stride, rows};
  }
  __device__ TileSource dout_source(const BackwardPass& pass, int64_t row, int rows) const {
    return {dout, pass.g.dout.at<Bfloat16>(row, blockIdx.y * pass.p.head_dim), pass.g.dout.stride, rows};
  }
  __device__ void load_numbers(const BackwardPass& pass, int64_t row, int rows) const {
    for (int i = static_cast<int>(threadIdx.x); i < kTile; i += kThreads) {
      const int64_t at = (row + i) * pass.p.heads + blockIdx.y;
      lse[i] = i < rows ? pass.g.lse[at] * kLog2E : 0.0f;
      if (pass.delta) delta[i] = i < rows ? pass.delta[at] : 0.0f;
    }
  }
};

// scores become weights, and gradients (of weights) those of scores.
__device__ void score_gradient(float& score, float& gradient, float lse, float delta, bool inside, float scale) {
  const bool counts = inside && score != -INFINITY;
  score = counts ? exp2f(fmaf(score, scale * kLog2E, -lse)) : 0.0f;
  gradient = counts ? score * (gradient - delta) * scale : 0.0f;
}

// Shared memory of a backward kernel: four tiles, the gradients of scores, lse and delta. What stands where the
// gradients of scores will be is a tile of out until delta is found.
template <int D>
constexpr int kScoresElements = kTile * (kStride<D> > kStride<kTile> ? kStride<D> : kStride<kTile>);
template <int D>
constexpr size_t kBackwardShared =
    (4 * kTile * kStride<D> + kScoresElements<D>)*sizeof(Bfloat16) + 2 * kTile * sizeof(float);

// delta of a tile's rows, out · dout, by two threads a row.
template <int D>
__device__ void find_delta(const Bfloat16* out, const Bfloat16* dout, float* delta) {
  static_assert(kThreads == 2 * kTile);
  const int row = static_cast<int>(threadIdx.x) / 2;
  const int column = static_cast<int>(threadIdx.x) % 2 * (D / 2);
  float sum = 0.0f;
#pragma unroll
  for (int c = 0; c < D / 2; c += 8) {
    const Floats<8> left = load<8>(out + row * kStride<D> + column + c);
    const Floats<8> right = load<8>(dout + row * kStride<D> + column + c);
    for (int v = 0; v < 8; ++v) sum = fmaf(left.at[v], right.at[v], sum);
  }
  sum += __shfl_xor_sync(kAllLanes, sum, 1);
  if (column == 0) delta[row] = sum;
}

template <int D>
__global__ void __launch_bounds__(kThreads, D <= 64 ? 3 : 2) keys_kernel(BackwardPass pass) {
  if constexpr (!has_code<Bfloat16>()) return;
  extern __shared__ __align__(16) Bfloat16 shared[];
  KeysWork work;
  if (!work.find(pass)) return;
  const AttentionProblem& p = pass.p;
  const AttentionGradients& g = pass.g;
  const AttentionTile& tile = work.tile;
  const int dim = static_cast<int>(p.head_dim);
  const int64_t column = blockIdx.y * p.head_dim;
  const int first = static_cast<int>(threadIdx.x) / kWarp * 16;
  const float scale = rsqrtf(static_cast<float>(dim));
  Bfloat16* k = shared;
  Bfloat16* v = k + kTile * kStride<D>;
  Bfloat16* q = v + kTile * kStride<D>;
  Bfloat16* dout = q + kTile * kStride<D>;
  Bfloat16* dscores = dout + kTile * kStride<D>;
  auto* lse = reinterpret_cast<float*>(dscores + kScoresElements<D>);
  const QueryTile queries_of{q, dout, lse, lse + kTile};
  const TileSource keys_of{k, p.k.at<Bfloat16>(tile.first, column), p.k.stride, tile.rows};
  const TileSource values_of{v, p.v.at<Bfloat16>(tile.first, column), p.v.stride, tile.rows};
  float dk[D / 8][4] = {};
  float dv[D / 8][4] = {};
  // Everything transposed: rows are keys, columns are queries.
  float weights[kBlocks][4];
  float gradients[kBlocks][4];
  for (int64_t query = 0; query < tile.others; query += kTile) {
    const int queries = static_cast<int>(tile.others - query < kTile ? tile.others - query : kTile);
    const int64_t row = tile.other_first + query;
    __syncthreads();
    const TileSource q_of = queries_of.q_source(pass, row - work.query_shift, queries);
    const TileSource dout_of = queries_of.dout_source(pass, row, queries);
    queries_of.load_numbers(pass, row, queries);
    if (!pass.delta) {  // then this is the only tile of queries
      const TileSource out_of{dscores, g.out.at<Bfloat16>(row, column), g.out.stride, queries};
      load_tiles<D>({keys_of, values_of, q_of, dout_of, out_of}, dim);
      __syncthreads();
      find_delta<D>(dscores, dout, lse + kTile);
    } else if (query == 0) {
      load_tiles<D>({keys_of, values_of, q_of, dout_of}, dim);
    } else {
      load_tiles<D>({q_of, dout_of}, dim);
    }
    __syncthreads();
    row_products<D>(k, q, first, weights);
    row_products<D>(v, dout, first, gradients);
    const int lane = static_cast<int>(threadIdx.x) % kWarp;
#pragma unroll
    for (int j = 0; j < kBlocks; ++j) {
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        const int c = j * 8 + lane % 4 * 2 + e % 2;
        const bool inside = c < queries && first + lane / 4 + e / 2 * 8 < tile.rows;
        score_gradient(weights[j][e], gradients[j][e], lse[c], lse[kTile + c], inside, scale);
      }
    }
    add_weighted<D>(weights, dout, dv);
    add_weighted<D>(gradients, q, dk);
  }
  if (g.dv.values) {
    put_rows<D>(g.dv.at<Bfloat16>(tile.first, column), g.dv.stride, first, tile.rows, dim, g.accumulate_dkv, dv);
    put_rows<D>(g.dk.at<Bfloat16>(tile.first, column), g.dk.stride, first, tile.rows, dim, g.accumulate_dkv, dk);
  }
  if (!work.has_queries(pass)) return;
  each_element(gradients, [&](float value, int r, int c) {
    dscores[(first + r) * kStride<kTile> + c] = __float2bfloat16_rn(value);
  });
  __syncthreads();
  float dq[D / 8][4] = {};
#pragma unroll
  for (int j = 0; j < kTile / 16; ++j) {
    uint32_t a[4];
    load_left<false>(a, dscores, kStride<kTile>, first, j * 16);
#pragma unroll
    for (int c = 0; c < D / 16; ++c) {
      uint32_t b[4];
      load_right<false>(b, k, kStride<D>, c * 16, j * 16);
      multiply_add(dq[2 * c], a, b[0], b[1]);
      multiply_add(dq[2 * c + 1], a, b[2], b[3]);
    }
  }
  put_rows<D>(g.dq.at<Bfloat16>(tile.first, column), g.dq.stride, first, tile.rows, dim, g.accumulate_dq, dq);
}

template <int D>
__global__ void __launch_bounds__(kThreads, D <= 64 ? 3 : 2) queries_kernel(BackwardPass pass) {
  if constexpr (!has_code<Bfloat16>()) return;
  extern __shared__ __align__(16) Bfloat16 shared[];
  QueriesWork work;
  if (!work.find(pass)) return;
  const AttentionProblem& p = pass.p;
  const int dim = static_cast<int>(p.head_dim);
  const int64_t column = blockIdx.y * p.head_dim;
  const int first = static_cast<int>(threadIdx.x) / kWarp * 16;
  const float scale = rsqrtf(static_cast<float>(dim));
  Bfloat16* k = shared;
  Bfloat16* v = k + kTile * kStride<D>;
  Bfloat16* q = v + kTile * kStride<D>;
  Bfloat16* dout = q + kTile * kStride<D>;
  auto* lse = reinterpret_cast<float*>(dout + kTile * kStride<D>);
  const QueryTile queries_of{q, dout, lse, lse + kTile};
  float dq[D / 8][4] = {};
  do {
    const AttentionTile& tile = work.tile;
    __syncthreads();
    queries_of.load_numbers(pass, work.out_row, tile.rows);
    load_tiles<D>(
        {queries_of.q_source(pass, tile.first, tile.rows), queries_of.dout_source(pass, work.out_row, tile.rows)}, dim);
    for (int64_t key = 0; key < tile.others; key += kTile) {
      const int keys = static_cast<int>(tile.others - key < kTile ? tile.others - key : kTile);
      const int64_t row = tile.other_first + key;
      __syncthreads();
      load_tiles<D>({TileSource{k, p.k.at<Bfloat16>(row, column), p.k.stride, keys},
                     TileSource{v, p.v.at<Bfloat16>(row, column), p.v.stride, keys}},
                    dim);
      __syncthreads();
      float weights[kBlocks][4];
      float gradients[kBlocks][4];
      row_products<D>(q, k, first, weights);
      row_products<D>(dout, v, first, gradients);
      const int lane = static_cast<int>(threadIdx.x) % kWarp;
#pragma unroll
      for (int j = 0; j < kBlocks; ++j) {
#pragma unroll
        for (int e = 0; e < 4; ++e) {
          const int r = first + lane / 4 + e / 2 * 8;
          const bool inside = r < tile.rows && j * 8 + lane % 4 * 2 + e % 2 < keys;
          score_gradient(weights[j][e], gradients[j][e], lse[r], lse[kTile + r], inside, scale);
        }
      }
      add_weighted<D>(gradients, k, dq);
    }
  } while (work.next(pass));
  if (pass.partials) {
    put_rows<D>(work.partials(pass, column), p.heads * dim, first, work.tile.rows, dim, false, dq);
  } else {
    const AttentionGradients& g = pass.g;
    put_rows<D>(g.dq.at<Bfloat16>(work.tile.first, column), g.dq.stride, first, work.tile.rows, dim, g.accumulate_dq,
                dq);
  }
}

// The head's width rounded up to what kernels are made for. Calls f(that).
template <int N>
struct Number {
  static constexpr int value = N;
};
template <class F>
void with_width(int64_t dim, F f) {
  if (dim <= 32) return f(Number<32>());
  if (dim <= 64) return f(Number<64>());
  f(Number<128>());
}

}  // namespace

void forward_bfloat16(ForwardPass pass, Launch& launch) {
  pass.cut.tile = kTile;
  pass.tiles_per_block = pass.cut.tiles_of_block();
  with_width(pass.p.head_dim, [&](auto width) {
    constexpr int D = decltype(width)::value;
    const size_t bytes = 3 * kTile * kStride<D> * sizeof(Bfloat16);
    launch_pass(forward_kernel<D>, pass, pass.cut.tiles() * pass.parts_of_tile, kThreads, bytes, launch);
  });
}

void keys_bfloat16(BackwardPass pass, Launch& launch) {
  pass.cut.tile = kTile;
  pass.tiles_per_block = pass.cut.tiles_of_block();
  with_width(pass.p.head_dim, [&](auto width) {
    constexpr int D = decltype(width)::value;
    launch_pass(keys_kernel<D>, pass, pass.cut.tiles(), kThreads, kBackwardShared<D>, launch);
  });
}

bool is_one_tile_bfloat16(BackwardPass pass) {
  pass.cut.tile = kTile;
  return pass.cut.is_one_tile();
}

void queries_bfloat16(BackwardPass pass, Launch& launch) {
  pass.cut.tile = kTile;
  pass.tiles_per_block = pass.cut.tiles_of_block();
  if (pass.cut.is_one_tile()) return;  // keys_bfloat16 did it
  const int64_t tiles = pass.partials ? pass.cut.chunks() * ceil_div(pass.p.slots, kTile) : pass.cut.tiles();
  with_width(pass.p.head_dim, [&](auto width) {
    constexpr int D = decltype(width)::value;
    launch_pass(queries_kernel<D>, pass, tiles, kThreads, kBackwardShared<D>, launch);
  });
}

}  // namespace cuda
}  // namespace seqrisk
