// Attention on tensor cores: a block of four warps has a tile of 64 rows, a warp 16 of them. Scores and weights stay in
// registers between two products (Dao 2023). Operands are rounded to bfloat16 on their way into shared memory.
#include "kernels/cuda/attention_bfloat16.h"

#include <cfloat>

#include "kernels/cuda/attention_passes-inl.cuh"
#include "kernels/cuda/matrix-inl.cuh"

namespace seqrisk {
namespace cuda {
namespace {

constexpr int kTile = 64;
constexpr int kThreads = 128;
constexpr int kBlocks = kTile / 8;  // 16 × 8 results across a tile
constexpr float kLog2E = 1.4426950408889634f;

// Columns behind the head's are zeros: D is its width rounded up.
template <int D>
constexpr int kStride = D + kMatrixPad;

// A tile in shared memory and where it comes from: rows of a head in memory.
struct TileSource {
  __nv_bfloat16* shared;
  const float* from;
  int64_t stride;
  int rows;
};

// Loads N tiles: some pieces of each are on their way at the same time.
template <int D, int N>
__device__ void load_tiles(const TileSource (&tiles)[N], int dim) {
  constexpr int kPieces = kTile * (D / 4) / kThreads;  // of a thread
  constexpr int kAtOnce = N >= 3 ? 2 : 4;
  bool wide = dim % 4 == 0;
  for (const TileSource& tile : tiles) {
    wide = wide && tile.stride % 4 == 0 && reinterpret_cast<uintptr_t>(tile.from) % 16 == 0;
  }
  const auto place = [](int piece, int& row, int& column) {
    const int i = static_cast<int>(threadIdx.x) + piece * kThreads;
    row = i / (D / 4);
    column = i % (D / 4) * 4;
  };
#pragma unroll
  for (int first = 0; first < kPieces; first += kAtOnce) {
    Floats<4> values[N][kAtOnce];
#pragma unroll
    for (int n = 0; n < N; ++n) {
#pragma unroll
      for (int p = 0; p < kAtOnce; ++p) {
        int row, column;
        place(first + p, row, column);
        values[n][p] = {};
        if (row >= tiles[n].rows || column >= dim) continue;
        const float* at = tiles[n].from + row * tiles[n].stride + column;
        if (wide) {
          values[n][p] = load<4>(at);
        } else {
          for (int v = 0; v < 4; ++v) values[n][p].at[v] = column + v < dim ? at[v] : 0.0f;
        }
      }
    }
#pragma unroll
    for (int n = 0; n < N; ++n) {
#pragma unroll
      for (int p = 0; p < kAtOnce; ++p) {
        int row, column;
        place(first + p, row, column);
        const float(&value)[4] = values[n][p].at;
        *reinterpret_cast<uint2*>(tiles[n].shared + row * kStride<D> + column) =
            make_uint2(pack_bfloat16(value[0], value[1]), pack_bfloat16(value[2], value[3]));
      }
    }
  }
}

// products = left rows [row, row + 16) · right rows [0, 64)
template <int D>
__device__ void row_products(const __nv_bfloat16* left, const __nv_bfloat16* right, int row,
                             float (&products)[kBlocks][4]) {
#pragma unroll
  for (int j = 0; j < kBlocks; ++j) {
    for (int e = 0; e < 4; ++e) products[j][e] = 0.0f;
  }
#pragma unroll
  for (int k = 0; k < D; k += 16) {
    uint32_t a[4];
    load_left<true>(a, left, kStride<D>, row, k);
#pragma unroll
    for (int j = 0; j < kBlocks / 2; ++j) {
      uint32_t b[4];
      load_right<true>(b, right, kStride<D>, j * 16, k);
      multiply_add(products[2 * j], a, b[0], b[1]);
      multiply_add(products[2 * j + 1], a, b[2], b[3]);
    }
  }
}

// sums += weights (16 × 64, in registers) · rows [0, 64)
template <int D>
__device__ void add_weighted(const float (&weights)[kBlocks][4], const __nv_bfloat16* rows, float (&sums)[D / 8][4]) {
#pragma unroll
  for (int k = 0; k < kTile / 16; ++k) {
    uint32_t a[4];
    as_left(a, weights[2 * k], weights[2 * k + 1]);
#pragma unroll
    for (int c = 0; c < D / 16; ++c) {
      uint32_t b[4];
      load_right<false>(b, rows, kStride<D>, c * 16, k * 16);
      multiply_add(sums[2 * c], a, b[0], b[1]);
      multiply_add(sums[2 * c + 1], a, b[2], b[3]);
    }
  }
}

// Calls f(element, row in the warp's 16, column) for the lane's elements of a 16 × 8·N result.
template <int N, class F>
__device__ void each_element(float (&values)[N][4], F f) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
#pragma unroll
  for (int j = 0; j < N; ++j) {
#pragma unroll
    for (int e = 0; e < 4; ++e) f(values[j][e], lane / 4 + e / 2 * 8, j * 8 + lane % 4 * 2 + e % 2);
  }
}

// to[row, column] = sums, or += them, for rows of the tile. Everything is read before anything is written: else every
// read would wait for the write before it.
template <int D>
__device__ void put_rows(float* to, int64_t stride, int first, int rows, int dim, bool accumulate,
                         float (&sums)[D / 8][4]) {
  const auto inside = [&](int row, int column) { return first + row < rows && column < dim; };
  if (accumulate) {
    each_element(sums, [&](float& value, int row, int column) {
      if (inside(row, column)) value += to[(first + row) * stride + column];
    });
  }
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const bool pairs = dim % 2 == 0 && stride % 2 == 0 && reinterpret_cast<uintptr_t>(to) % 8 == 0;
#pragma unroll
  for (int j = 0; j < D / 8; ++j) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = lane / 4 + half * 8;
      const int column = j * 8 + lane % 4 * 2;
      if (!inside(row, column)) continue;
      float* at = to + (first + row) * stride + column;
      if (pairs) {
        store<2>(at, {{sums[j][2 * half], sums[j][2 * half + 1]}});
      } else {
        at[0] = sums[j][2 * half];
        if (column + 1 < dim) at[1] = sums[j][2 * half + 1];
      }
    }
  }
}

// Over the four lanes that share rows.
__device__ float row_max(float value) {
  value = fmaxf(value, __shfl_xor_sync(kAllLanes, value, 2));
  return fmaxf(value, __shfl_xor_sync(kAllLanes, value, 1));
}
__device__ float row_sum(float value) {
  value += __shfl_xor_sync(kAllLanes, value, 2);
  return value + __shfl_xor_sync(kAllLanes, value, 1);
}

template <int D>
__global__ void __launch_bounds__(kThreads, D <= 64 ? 4 : 2) forward_kernel(ForwardPass pass) {
  extern __shared__ __nv_bfloat16 shared[];
  ForwardWork work;
  if (!work.find(pass)) return;
  const AttentionProblem& p = pass.p;
  const AttentionTile& tile = work.tile;
  const int dim = static_cast<int>(p.head_dim);
  const int64_t column = blockIdx.y * p.head_dim;
  const int first = static_cast<int>(threadIdx.x) / kWarp * 16;
  __nv_bfloat16* q = shared;
  __nv_bfloat16* k = q + kTile * kStride<D>;
  __nv_bfloat16* v = k + kTile * kStride<D>;
  const TileSource queries{q, p.q.values + work.query * p.q.stride + column, p.q.stride, tile.rows};
  const float scale = rsqrtf(static_cast<float>(dim)) * kLog2E;  // exponents are of 2

  float sums[D / 8][4] = {};
  float top[2] = {-INFINITY, -INFINITY};  // of the lane's two rows
  float total[2] = {0.0f, 0.0f};
  for (int64_t key = 0; key < tile.others; key += kTile) {
    const int keys = static_cast<int>(tile.others - key < kTile ? tile.others - key : kTile);
    const int64_t row = tile.other_first + key;
    __syncthreads();
    const TileSource keys_of{k, p.k.values + row * p.k.stride + column, p.k.stride, keys};
    const TileSource values_of{v, p.v.values + row * p.v.stride + column, p.v.stride, keys};
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
  put_rows<D>(work.out + column, work.out_stride, first, tile.rows, dim, false, sums);
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
  __nv_bfloat16* q;
  __nv_bfloat16* dout;
  float* lse;  // times log2 e
  float* delta;

  __device__ TileSource q_source(const BackwardPass& pass, int64_t row, int rows) const {
    const auto& from = pass.p.q;
    return {q, from.values + row * from.stride + blockIdx.y * pass.p.head_dim, from.stride, rows};
  }
  __device__ TileSource dout_source(const BackwardPass& pass, int64_t row, int rows) const {
    const auto& from = pass.g.dout;
    return {dout, from.values + row * from.stride + blockIdx.y * pass.p.head_dim, from.stride, rows};
  }
  __device__ void load_numbers(const BackwardPass& pass, int64_t row, int rows) const {
    for (int i = static_cast<int>(threadIdx.x); i < kTile; i += kThreads) {
      const int64_t at = (row + i) * pass.p.heads + blockIdx.y;
      lse[i] = i < rows ? pass.g.lse[at] * kLog2E : 0.0f;
      delta[i] = i < rows ? pass.delta[at] : 0.0f;
    }
  }
};

// scores become weights, and gradients (of weights) those of scores.
__device__ void score_gradient(float& score, float& gradient, float lse, float delta, bool inside, float scale) {
  const bool counts = inside && score != -INFINITY;
  score = counts ? exp2f(fmaf(score, scale * kLog2E, -lse)) : 0.0f;
  gradient = counts ? score * (gradient - delta) * scale : 0.0f;
}

// Shared memory of a backward kernel: four tiles, the gradients of scores, lse and delta.
template <int D>
constexpr size_t kBackwardShared =
    (4 * kTile * kStride<D> + kTile * kStride<kTile>)*sizeof(__nv_bfloat16) + 2 * kTile * sizeof(float);

template <int D>
__global__ void __launch_bounds__(kThreads, D <= 32 ? 3 : 2) keys_kernel(BackwardPass pass) {
  extern __shared__ __nv_bfloat16 shared[];
  KeysWork work;
  if (!work.find(pass)) return;
  const AttentionProblem& p = pass.p;
  const AttentionGradients& g = pass.g;
  const AttentionTile& tile = work.tile;
  const int dim = static_cast<int>(p.head_dim);
  const int64_t column = blockIdx.y * p.head_dim;
  const int first = static_cast<int>(threadIdx.x) / kWarp * 16;
  const float scale = rsqrtf(static_cast<float>(dim));
  __nv_bfloat16* k = shared;
  __nv_bfloat16* v = k + kTile * kStride<D>;
  __nv_bfloat16* q = v + kTile * kStride<D>;
  __nv_bfloat16* dout = q + kTile * kStride<D>;
  __nv_bfloat16* dscores = dout + kTile * kStride<D>;
  auto* lse = reinterpret_cast<float*>(dscores + kTile * kStride<kTile>);
  const QueryTile queries_of{q, dout, lse, lse + kTile};
  const TileSource keys_of{k, p.k.values + tile.first * p.k.stride + column, p.k.stride, tile.rows};
  const TileSource values_of{v, p.v.values + tile.first * p.v.stride + column, p.v.stride, tile.rows};
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
    if (query == 0) {
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
    put_rows<D>(g.dv.values + tile.first * g.dv.stride + column, g.dv.stride, first, tile.rows, dim, g.accumulate_dkv,
                dv);
    put_rows<D>(g.dk.values + tile.first * g.dk.stride + column, g.dk.stride, first, tile.rows, dim, g.accumulate_dkv,
                dk);
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
  put_rows<D>(g.dq.values + tile.first * g.dq.stride + column, g.dq.stride, first, tile.rows, dim, g.accumulate_dq, dq);
}

template <int D>
__global__ void __launch_bounds__(kThreads, D <= 64 ? 3 : 2) queries_kernel(BackwardPass pass) {
  extern __shared__ __nv_bfloat16 shared[];
  QueriesWork work;
  if (!work.find(pass)) return;
  const AttentionProblem& p = pass.p;
  const int dim = static_cast<int>(p.head_dim);
  const int64_t column = blockIdx.y * p.head_dim;
  const int first = static_cast<int>(threadIdx.x) / kWarp * 16;
  const float scale = rsqrtf(static_cast<float>(dim));
  __nv_bfloat16* k = shared;
  __nv_bfloat16* v = k + kTile * kStride<D>;
  __nv_bfloat16* q = v + kTile * kStride<D>;
  __nv_bfloat16* dout = q + kTile * kStride<D>;
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
      load_tiles<D>({TileSource{k, p.k.values + row * p.k.stride + column, p.k.stride, keys},
                     TileSource{v, p.v.values + row * p.v.stride + column, p.v.stride, keys}},
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
  put_rows<D>(work.dq(pass) + column, work.dq_stride(pass), first, work.tile.rows, dim, work.accumulates(pass), dq);
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
    const size_t bytes = 3 * kTile * kStride<D> * sizeof(__nv_bfloat16);
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
