// linear on CUDA in float32: three matrix products, see gemm.h. The gradient of the weight is summed over fixed
// stretches of rows, then over stretches in order.
#include "ops/linear.h"

#include "kernels/cuda/gemm_epilogue-inl.cuh"
#include "kernels/cuda/linear_bfloat16.h"
#include "kernels/cuda/partial_sums.h"

namespace seqrisk {
namespace cuda {
namespace {

// g = dout ⊙ act'(saved), rows next to each other
struct Slope {
  LinearBackward a;
  float* g;

  template <int V>
  __device__ void run(int64_t row, int64_t column) const {
    Floats<V> value = load<V>(a.dout + row * a.dout_stride + column);
    const Floats<V> saved = load<V>(a.saved + row * a.out_features + column);
    for (int v = 0; v < V; ++v) value.at[v] = through_activation(value.at[v], saved.at[v], a.activation);
    store<V>(g + row * a.out_features + column, value);
  }
};

// partials[stretch, column] = Σ of g over the rows of the stretch.
__global__ void column_sums_kernel(const float* g, int64_t stride, int64_t rows, int64_t columns, int64_t stretch,
                                   float* partials) {
  __shared__ float sums[8][kWarp];
  const int64_t column = static_cast<int64_t>(blockIdx.y) * kWarp + threadIdx.x;
  const int64_t begin = static_cast<int64_t>(blockIdx.x) * stretch;
  const int64_t end = begin + stretch < rows ? begin + stretch : rows;
  float sum = 0.0f;
  if (column < columns) {
#pragma unroll 4
    for (int64_t row = begin + threadIdx.y; row < end; row += 8) sum += g[row * stride + column];
  }
  sums[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y != 0 || column >= columns) return;
  for (int y = 1; y < 8; ++y) sum += sums[y][threadIdx.x];
  partials[blockIdx.x * columns + column] = sum;
}

// Stretches of rows for the weight's gradient: enough blocks for the largest card, few enough partial sums; sizes alone
// decide.
struct Stretches {
  int64_t rows;
  int64_t count;

  Stretches(int64_t all, int64_t in_features, int64_t out_features) {
    constexpr int64_t kBlocks = 512;
    constexpr int64_t kLeast = 256;
    const int64_t tiles = ceil_div(in_features, 128) * ceil_div(out_features, 128);
    const int64_t wanted = ceil_div(kBlocks, tiles);
    rows = ceil_div(ceil_div(all, wanted), kLeast) * kLeast;
    count = all == 0 ? 0 : ceil_div(all, rows);
  }
};

}  // namespace

// The weight is read as it stands; what is packed is a copy, so that a packed weight means the same on every device.
void linear_pack(const LinearPack& a, Launch& launch) {
  const size_t bytes = static_cast<size_t>(a.in_features) * static_cast<size_t>(a.out_features) * sizeof(float);
  cudaMemcpyAsync(a.packed, a.weight, bytes, cudaMemcpyDeviceToDevice, launch.stream);
}

void linear_forward(const LinearForward& a, Launch& launch) {
  if (launch.bfloat16) return linear_forward_bfloat16(a, launch);
  Gemm g{};
  g.a = {a.x, a.x_stride, true};
  g.b = {a.packed ? a.packed : a.weight, a.in_features, true};
  g.m = a.rows;
  g.n = a.out_features;
  g.k = a.in_features;
  g.bias = a.bias;
  g.residual = a.residual;
  g.out = a.out;
  g.saved = a.saved;
  g.residual_stride = a.residual_stride;
  g.out_stride = a.out_stride;
  g.saved_stride = a.out_features;
  g.activation = a.activation;
  g.chunks = 1;
  g.chunk_k = g.k;
  gemm_float32(g, launch);
}

void linear_backward(const LinearBackward& a, Launch& launch) {
  if (launch.bfloat16) return linear_backward_bfloat16(a, launch);
  const int64_t elements = a.rows * a.out_features;
  const int64_t rounded = ceil_div(elements, 4) * 4;
  const int64_t weights = a.in_features * a.out_features;
  const Stretches stretches(a.rows, a.in_features, a.out_features);
  const bool has_slope = a.activation != Activation::kNone;
  constexpr int64_t kSumRows = 512;
  const unsigned sums = blocks_of(a.rows, kSumRows);
  const int64_t needed =
      (has_slope ? rounded : 0) + (a.dweight ? stretches.count * weights : 0) + sums * a.out_features;
  float* memory = launch.workspace_of<float>(needed);
  if (!memory || a.rows == 0) return;

  const float* g = a.dout;
  int64_t g_stride = a.dout_stride;
  const bool wide = is_wide(a.out_features, a.dout, a.saved, a.dresidual) && is_wide(a.dout_stride);
  if (has_slope) {
    over_rows(a.rows, a.out_features, wide, Slope{a, memory}, launch.stream);
    g = memory;
    g_stride = a.out_features;
    memory += rounded;
  }
  if (a.dx) {
    Gemm product{};
    product.a = {g, g_stride, true};
    product.b = {a.weight, a.in_features, false};
    product.m = a.rows;
    product.n = a.in_features;
    product.k = a.out_features;
    product.out = a.dx;
    product.out_stride = a.dx_stride;
    product.accumulate = a.accumulate_dx;
    product.chunks = 1;
    product.chunk_k = product.k;
    gemm_float32(product, launch);
  }
  if (a.dresidual) {
    over_rows(a.rows, a.out_features, wide, AddRows{a}, launch.stream);
  }
  if (a.dweight) {
    Gemm product{};
    product.a = {g, g_stride, false};
    product.b = {a.x, a.x_stride, false};
    product.m = a.out_features;
    product.n = a.in_features;
    product.k = a.rows;
    product.out = memory;
    product.out_stride = a.in_features;
    product.chunks = stretches.count;
    product.chunk_k = stretches.rows;
    product.chunk_out = weights;
    gemm_float32(product, launch);
    add_partials(memory, stretches.count, weights, weights, weights, a.dweight, nullptr, launch.stream);
    memory += stretches.count * weights;
  }
  if (a.dbias) {
    const dim3 blocks(sums, blocks_of(a.out_features, kWarp));
    column_sums_kernel<<<blocks, dim3(kWarp, 8), 0, launch.stream>>>(g, g_stride, a.rows, a.out_features, kSumRows,
                                                                     memory);
    add_partials(memory, sums, a.out_features, a.out_features, a.out_features, a.dbias, nullptr, launch.stream);
  }
}

}  // namespace cuda
}  // namespace seqrisk
