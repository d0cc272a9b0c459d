// Forward of attention on CUDA cores: a block keeps a tile of queries and walks over their keys and values.
#include <cfloat>

#include "kernels/cuda/attention_passes-inl.cuh"
#include "kernels/cuda/attention_tile-inl.cuh"

namespace seqrisk {
namespace cuda {
namespace {

template <int kTile, int kColumns>
__global__ void __launch_bounds__(kAttentionThreads) forward_kernel(ForwardPass pass) {
  constexpr int kEach = kTile / kAcross;
  extern __shared__ float shared[];
  ForwardWork work;
  if (!work.find(pass)) return;
  const AttentionProblem& p = pass.p;
  const AttentionTile& tile = work.tile;
  const int dim = static_cast<int>(p.head_dim);
  const int64_t head = blockIdx.y;
  float* q = shared;
  float* k = q + kTile * padded_dim(dim);
  float* v = k + kTile * padded_dim(dim);
  float* weights = v + kTile * padded_dim(dim);
  load_tile<kTile>(q, p.q.at<float>(work.query, head * dim), p.q.stride, tile.rows, dim);
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
    load_tile<kTile>(k, p.k.at<float>(row, head * dim), p.k.stride, keys, dim);
    load_tile<kTile>(v, p.v.at<float>(row, head * dim), p.v.stride, keys, dim);
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
      const float kept = total[i] == 0.0f ? 0.0f : expf(top[i] - now);
      float sum = 0.0f;
#pragma unroll
      for (int j = 0; j < kEach; ++j) {
        // No weight for −∞, also where every score is that: e^(−∞ + ∞) would be NaN.
        scores[i][j] = scores[i][j] == -INFINITY ? 0.0f : expf(scores[i][j] - now);
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

  float* out = work.part ? work.part + head * dim : p.out.at<float>(tile.first, head * dim);
  const int64_t out_stride = work.part ? p.heads * dim : p.out.stride;
#pragma unroll
  for (int i = 0; i < kEach; ++i) {
    const int row = row_of_thread() * kEach + i;
    if (row >= tile.rows) continue;
    // Nothing with a weight: zeros.
    const float share = total[i] == 0.0f ? 0.0f : 1.0f / total[i];
#pragma unroll
    for (int c = 0; c < kColumns; ++c) {
      const int column = column_of_thread() + c * kAcross;
      if (column < dim) out[row * out_stride + column] = sums[i][c] * share;
    }
    if (work.lse && column_of_thread() == 0) {
      work.lse[row * p.heads + head] = tile.others == 0 ? -FLT_MAX : top[i] + logf(total[i]);
    }
  }
}

}  // namespace

void forward_float32(ForwardPass pass, Launch& launch) {
  const int dim = static_cast<int>(pass.p.head_dim);
  const bool fits = with_attention_tile(dim, 3, 1, launch.shared_limit, [&](auto tile, auto columns) {
    constexpr int kTile = decltype(tile)::value;
    pass.cut.tile = kTile;
    pass.tiles_per_block = pass.cut.tiles_of_block();
    launch_pass(forward_kernel<kTile, decltype(columns)::value>, pass, pass.cut.tiles() * pass.parts_of_tile,
                kAttentionThreads, attention_shared<kTile>(dim, 3, 1), launch);
  });
  if (!fits) launch.refuse(kSharedMemory);
}

}  // namespace cuda
}  // namespace seqrisk
