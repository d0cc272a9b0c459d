// pair_contrastive on CUDA: a block takes a row of scores, and another one a stripe of 32 columns.
#include "ops/pair_contrastive.h"

#include "kernels/cuda/device-inl.cuh"
#include "kernels/cuda/totals-inl.cuh"

namespace seqrisk {
namespace cuda {
namespace {

constexpr int kThreads = 256;

// A score in units of the temperature: rounded once, so that what was kept of the forward is met again exactly.
__device__ float scaled(float score, float inverse_temperature) {
  return __fmul_rn(score, inverse_temperature);
}

// ln(1 + e^x) without overflow.
__device__ float softplus(float x) {
  return fmaxf(x, 0.0f) + log1pf(expf(-fabsf(x)));
}

__global__ void rows_kernel(PairContrastiveForward a, RowTotals<4> totals) {
  __shared__ double shared[kThreads / kWarp];
  const int64_t i = blockIdx.x;
  const float* scores = a.scores + i * a.pairs;
  const int32_t own = a.entity[i];
  const float s = scaled(scores[i], a.inverse_temperature);
  float top = -INFINITY;
  double count = 0.0;
  for (int64_t j = threadIdx.x; j < a.pairs; j += kThreads) {
    if (a.entity[j] == own) continue;
    top = fmaxf(top, scaled(scores[j], a.inverse_temperature));
    count += 1.0;
  }
  top = block_max(top, reinterpret_cast<float*>(shared));
  count = block_sum(count, shared);
  const float row_max = fmaxf(s, top);
  double sum = 0.0;
  for (int64_t j = threadIdx.x; j < a.pairs; j += kThreads) {
    if (a.entity[j] == own) continue;
    const float x = scaled(scores[j], a.inverse_temperature);
    sum += static_cast<double>(a.is_binary ? softplus(x) : expf(x - row_max));
  }
  sum = block_sum(sum, shared);
  if (threadIdx.x != 0) return;
  double diagonal;
  if (a.is_binary) {
    diagonal = static_cast<double>(softplus(-s));
  } else {
    sum += static_cast<double>(expf(s - row_max));
    a.stats[i] = row_max;
    a.stats[a.pairs + i] = static_cast<float>(sum);
    diagonal = static_cast<double>(logf(static_cast<float>(sum))) - (static_cast<double>(s) - row_max);
  }
  totals.put(i, 0, diagonal);
  totals.put(i, 1, a.is_binary ? sum : 0.0);
  totals.put(i, 2, s > top ? 1.0 : 0.0);
  totals.put(i, 3, count);
}

// Adds a column's loss to what its row left: row i and column i belong to one pair.
__global__ void columns_kernel(PairContrastiveForward a, RowTotals<1> totals) {
  constexpr int kRows = kThreads / kWarp;
  __shared__ float shared[kRows][kWarp];
  const int64_t j = static_cast<int64_t>(blockIdx.x) * kWarp + threadIdx.x;
  const bool inside = j < a.pairs;
  const int32_t own = inside ? a.entity[j] : 0;
  const float s = inside ? scaled(a.scores[j * a.pairs + j], a.inverse_temperature) : 0.0f;
  float top = s;
  for (int64_t i = threadIdx.y; inside && i < a.pairs; i += kRows) {
    if (a.entity[i] != own) top = fmaxf(top, scaled(a.scores[i * a.pairs + j], a.inverse_temperature));
  }
  shared[threadIdx.y][threadIdx.x] = top;
  __syncthreads();
  for (int y = 0; y < kRows; ++y) top = fmaxf(top, shared[y][threadIdx.x]);
  __syncthreads();
  float sum = 0.0f;
  for (int64_t i = threadIdx.y; inside && i < a.pairs; i += kRows) {
    if (a.entity[i] != own) sum += expf(scaled(a.scores[i * a.pairs + j], a.inverse_temperature) - top);
  }
  shared[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y != 0 || !inside) return;
  sum = expf(s - top);
  for (int y = 0; y < kRows; ++y) sum += shared[y][threadIdx.x];
  a.stats[2 * a.pairs + j] = top;
  a.stats[3 * a.pairs + j] = sum;
  totals.put(j, 0, static_cast<double>(logf(sum)) - (static_cast<double>(s) - top));
}

__global__ void finish_kernel(PairContrastiveForward a, const double* rows, const double* columns) {
  const double diagonal = rows[0] + (columns ? columns[0] : 0.0);
  const double count = rows[3];
  double loss = 0.0;
  if (a.pairs > 0) loss += 0.5 * diagonal / static_cast<double>(a.pairs);
  if (count > 0.0) loss += 0.5 * rows[1] / count;
  a.loss[0] = static_cast<float>(loss);
  a.correct[0] = static_cast<float>(rows[2]);
  a.count[0] = static_cast<float>(count);
}

__global__ void backward_kernel(PairContrastiveBackward a) {
  const int64_t i = blockIdx.x;
  const float* scores = a.scores + i * a.pairs;
  const int32_t entity = a.entity[i];
  const float half = 0.5f * a.dout[0] * a.inverse_temperature;
  const float share = half / static_cast<float>(a.pairs);
  const float share_beside = a.count[0] > 0.0f ? half / a.count[0] : 0.0f;
  for (int64_t j = threadIdx.x; j < a.pairs; j += kThreads) {
    const float s = scaled(scores[j], a.inverse_temperature);
    float value = 0.0f;
    if (a.is_binary) {
      if (j == i) {
        value = -share * sigmoid(-s);
      } else if (a.entity[j] != entity) {
        value = share_beside * sigmoid(s);
      }
    } else if (j == i || a.entity[j] != entity) {
      const float in_row = expf(s - a.stats[i]) / a.stats[a.pairs + i];
      const float in_column = expf(s - a.stats[2 * a.pairs + j]) / a.stats[3 * a.pairs + j];
      value = j == i ? share * ((in_row - 1.0f) + (in_column - 1.0f)) : share * (in_row + in_column);
    }
    float* to = a.dscores + i * a.pairs + j;
    *to = a.accumulate_dscores ? *to + value : value;
  }
}

}  // namespace

void pair_contrastive_forward(const PairContrastiveForward& a, Launch& launch) {
  double* memory = launch.workspace_of<double>(RowTotals<4>::elements(a.pairs) + RowTotals<1>::elements(a.pairs));
  if (!memory) return;
  const RowTotals<4> rows(memory, a.pairs);
  const RowTotals<1> columns(memory + RowTotals<4>::elements(a.pairs), a.pairs);
  const double* column_sum = nullptr;
  if (a.pairs > 0) {
    rows_kernel<<<static_cast<unsigned>(a.pairs), kThreads, 0, launch.stream>>>(a, rows);
    if (!a.is_binary) {
      columns_kernel<<<blocks_of(a.pairs, kWarp), dim3(kWarp, kThreads / kWarp), 0, launch.stream>>>(a, columns);
      column_sum = columns.add_up(launch.stream);
    }
  }
  finish_kernel<<<1, 1, 0, launch.stream>>>(a, rows.add_up(launch.stream), column_sum);
}

void pair_contrastive_backward(const PairContrastiveBackward& a, Launch& launch) {
  if (a.pairs == 0) return;
  backward_kernel<<<static_cast<unsigned>(a.pairs), kThreads, 0, launch.stream>>>(a);
}

}  // namespace cuda
}  // namespace seqrisk
