// layer_norm on CUDA: a warp takes a row, which stays in its registers up to 512 columns. The gradients of weight
// and bias are summed per warp over a fixed stretch of rows, then over stretches in order.
#include "ops/layer_norm.h"

#include "kernels/cuda/device-inl.cuh"
#include "kernels/cuda/partial_sums.h"

namespace seqrisk {
namespace cuda {
namespace {

constexpr int kWarpsPerBlock = 8;

// Of each row a lane holds the pieces lane, lane + 32, …, each of V columns.
template <int V, int kPieces>
struct Row {
  Floats<V> piece[kPieces];

  template <class T>
  __device__ void load_from(const T* row, int64_t width) {
    for (int p = 0; p < kPieces; ++p) {
      const int64_t column = (static_cast<int64_t>(p) * kWarp + threadIdx.x) * V;
      piece[p] = column < width ? load<V>(row + column) : Floats<V>{};
    }
  }
  template <class F>
  __device__ void each(int64_t width, F f) {
    for (int p = 0; p < kPieces; ++p) {
      const int64_t column = (static_cast<int64_t>(p) * kWarp + threadIdx.x) * V;
      if (column >= width) continue;
      for (int v = 0; v < V; ++v) f(piece[p].at[v], p, v, column);
    }
  }
};

constexpr int kRowsPerWarp = 2;  // at once: more reads on their way

template <class Out, int V, int kPieces>
__global__ void forward_kernel(LayerNormForward a) {
  if constexpr (!has_code<Out>()) return;
  const int64_t first = (static_cast<int64_t>(blockIdx.x) * kWarpsPerBlock + threadIdx.y) * kRowsPerWarp;
  Row<V, kPieces> rows[kRowsPerWarp];
#pragma unroll
  for (int r = 0; r < kRowsPerWarp; ++r) {
    if (first + r < a.rows) rows[r].load_from(a.x + (first + r) * a.width, a.width);
  }
#pragma unroll
  for (int r = 0; r < kRowsPerWarp; ++r) {
    const int64_t row = first + r;
    if (row >= a.rows) return;
    Row<V, kPieces>& x = rows[r];
    float sum = 0.0f;
    x.each(a.width, [&](float value, int, int, int64_t) { sum += value; });
    const float mean = warp_sum(sum) / static_cast<float>(a.width);
    float squares = 0.0f;
    x.each(a.width, [&](float value, int, int, int64_t) { squares = fmaf(value - mean, value - mean, squares); });
    const float rstd = 1.0f / sqrtf(warp_sum(squares) / static_cast<float>(a.width) + a.eps);
#pragma unroll
    for (int p = 0; p < kPieces; ++p) {
      const int64_t column = (static_cast<int64_t>(p) * kWarp + threadIdx.x) * V;
      if (column >= a.width) continue;
      const Floats<V> weight = load<V>(a.weight + column);
      const Floats<V> bias = load<V>(a.bias + column);
      Floats<V> out;
      for (int v = 0; v < V; ++v) out.at[v] = fmaf((x.piece[p].at[v] - mean) * rstd, weight.at[v], bias.at[v]);
      store<V>(stored_as<Out>(a.out) + row * a.width + column, out);
    }
    if (threadIdx.x == 0) {
      if (a.mean) a.mean[row] = mean;
      if (a.rstd) a.rstd[row] = rstd;
    }
  }
}

// Rows of any width, read three times.
template <class Out>
__global__ void forward_wide_kernel(LayerNormForward a) {
  if constexpr (!has_code<Out>()) return;
  __shared__ float shared[kWarpsPerBlock];
  const int64_t row = blockIdx.x;
  const float* x = a.x + row * a.width;
  Out* out = stored_as<Out>(a.out) + row * a.width;
  float sum = 0.0f;
  for (int64_t i = threadIdx.x; i < a.width; i += blockDim.x) sum += x[i];
  const float mean = block_sum(sum, shared) / static_cast<float>(a.width);
  float squares = 0.0f;
  for (int64_t i = threadIdx.x; i < a.width; i += blockDim.x) squares = fmaf(x[i] - mean, x[i] - mean, squares);
  const float rstd = 1.0f / sqrtf(block_sum(squares, shared) / static_cast<float>(a.width) + a.eps);
  for (int64_t i = threadIdx.x; i < a.width; i += blockDim.x) {
    store<1>(out + i, {{fmaf((x[i] - mean) * rstd, a.weight[i], a.bias[i])}});
  }
  if (threadIdx.x == 0) {
    if (a.mean) a.mean[row] = mean;
    if (a.rstd) a.rstd[row] = rstd;
  }
}

// With g = dout ⊙ weight and n = (x − mean)·rstd: dx = rstd·(g − mean(g) − n·mean(g ⊙ n)). A warp takes every
// kWarpsPerBlock-th row of its block's stretch.
template <class Out, class Dx, int V, int kPieces>
__global__ void backward_kernel(LayerNormBackward a, int64_t rows_per_block, float* partials) {
  if constexpr (!has_code<Out, Dx>()) return;
  extern __shared__ float shared[];
  const Out* douts = stored_as<Out>(a.dout);
  Dx* dxs = stored_as<Dx>(a.dx);
  const int64_t begin = static_cast<int64_t>(blockIdx.x) * rows_per_block;
  const int64_t end = begin + rows_per_block < a.rows ? begin + rows_per_block : a.rows;
  Row<V, kPieces> dweight{};
  Row<V, kPieces> dbias{};
  Row<V, kPieces> weight;
  weight.load_from(a.weight, a.width);
  // The next row is on its way while this one is worked on.
  Row<V, kPieces> next_x{};
  Row<V, kPieces> next_dout{};
  if (begin + threadIdx.y < end) {
    next_x.load_from(a.x + (begin + threadIdx.y) * a.width, a.width);
    next_dout.load_from(douts + (begin + threadIdx.y) * a.width, a.width);
  }
  for (int64_t row = begin + threadIdx.y; row < end; row += kWarpsPerBlock) {
    Row<V, kPieces> x = next_x;
    const Row<V, kPieces> dout = next_dout;
    Row<V, kPieces> before{};
    if (a.dx && a.accumulate_dx) before.load_from(dxs + row * a.width, a.width);
    if (row + kWarpsPerBlock < end) {
      next_x.load_from(a.x + (row + kWarpsPerBlock) * a.width, a.width);
      next_dout.load_from(douts + (row + kWarpsPerBlock) * a.width, a.width);
    }
    const float mean = a.mean[row];
    const float rstd = a.rstd[row];
    float sum = 0.0f;
    float product = 0.0f;
    for (int p = 0; p < kPieces; ++p) {
      const int64_t column = (static_cast<int64_t>(p) * kWarp + threadIdx.x) * V;
      for (int v = 0; v < V; ++v) {
        const float normal = column < a.width ? (x.piece[p].at[v] - mean) * rstd : 0.0f;
        const float g = dout.piece[p].at[v] * weight.piece[p].at[v];
        x.piece[p].at[v] = normal;
        sum += g;
        product = fmaf(g, normal, product);
        dweight.piece[p].at[v] = fmaf(dout.piece[p].at[v], normal, dweight.piece[p].at[v]);
        dbias.piece[p].at[v] += dout.piece[p].at[v];
      }
    }
    if (!a.dx) continue;
    sum = warp_sum(sum) / static_cast<float>(a.width);
    product = warp_sum(product) / static_cast<float>(a.width);
    for (int p = 0; p < kPieces; ++p) {
      const int64_t column = (static_cast<int64_t>(p) * kWarp + threadIdx.x) * V;
      if (column >= a.width) continue;
      Dx* to = dxs + row * a.width + column;
      Floats<V> dx = before.piece[p];
      for (int v = 0; v < V; ++v) {
        const float g = dout.piece[p].at[v] * weight.piece[p].at[v];
        dx.at[v] += rstd * (g - sum - x.piece[p].at[v] * product);
      }
      store<V>(to, dx);
    }
  }
  // Warp by warp into the block's sums.
  for (int64_t i = threadIdx.y * kWarp + threadIdx.x; i < 2 * a.width; i += kWarpsPerBlock * kWarp) shared[i] = 0.0f;
  for (unsigned warp = 0; warp < kWarpsPerBlock; ++warp) {
    __syncthreads();
    if (threadIdx.y != warp) continue;
    dweight.each(a.width, [&](float value, int, int v, int64_t column) { shared[column + v] += value; });
    dbias.each(a.width, [&](float value, int, int v, int64_t column) { shared[a.width + column + v] += value; });
  }
  __syncthreads();
  for (int64_t i = threadIdx.y * kWarp + threadIdx.x; i < 2 * a.width; i += kWarpsPerBlock * kWarp) {
    partials[blockIdx.x * 2 * a.width + i] = shared[i];
  }
}

// Rows of any width: dx by a block for each row; sums by a thread for each column of a stretch.
template <class Out, class Dx>
__global__ void backward_dx_wide_kernel(LayerNormBackward a) {
  if constexpr (!has_code<Out, Dx>()) return;
  __shared__ float shared[kWarpsPerBlock];
  const int64_t row = blockIdx.x;
  const float* x = a.x + row * a.width;
  const Out* dout = stored_as<Out>(a.dout) + row * a.width;
  Dx* dx = stored_as<Dx>(a.dx) + row * a.width;
  const auto normal = [&](int64_t i) { return (x[i] - a.mean[row]) * a.rstd[row]; };
  const auto gradient = [&](int64_t i) { return load<1>(dout + i).at[0] * a.weight[i]; };
  float sum = 0.0f;
  float product = 0.0f;
  for (int64_t i = threadIdx.x; i < a.width; i += blockDim.x) {
    const float g = gradient(i);
    sum += g;
    product = fmaf(g, normal(i), product);
  }
  sum = block_sum(sum, shared) / static_cast<float>(a.width);
  product = block_sum(product, shared) / static_cast<float>(a.width);
  for (int64_t i = threadIdx.x; i < a.width; i += blockDim.x) {
    float value = a.rstd[row] * (gradient(i) - sum - normal(i) * product);
    if (a.accumulate_dx) value += load<1>(dx + i).at[0];
    store<1>(dx + i, {{value}});
  }
}

template <class Out>
__global__ void backward_sums_wide_kernel(LayerNormBackward a, int64_t rows_per_block, float* partials) {
  if constexpr (!has_code<Out>()) return;
  const int64_t column = static_cast<int64_t>(blockIdx.y) * blockDim.x + threadIdx.x;
  if (column >= a.width) return;
  const int64_t begin = static_cast<int64_t>(blockIdx.x) * rows_per_block;
  const int64_t end = begin + rows_per_block < a.rows ? begin + rows_per_block : a.rows;
  float dweight = 0.0f;
  float dbias = 0.0f;
  for (int64_t row = begin; row < end; ++row) {
    const float dout = load<1>(stored_as<Out>(a.dout) + row * a.width + column).at[0];
    dweight = fmaf(dout, (a.x[row * a.width + column] - a.mean[row]) * a.rstd[row], dweight);
    dbias += dout;
  }
  partials[blockIdx.x * 2 * a.width + column] = dweight;
  partials[blockIdx.x * 2 * a.width + a.width + column] = dbias;
}

// Calls f with the pieces of four columns that hold a row of that width: std::integral_constant without the library.
// False: rows that are longer, or not read four at a time.
template <int N>
struct Pieces {
  static constexpr int value = N;
};
template <class F>
bool with_pieces(bool wide, int64_t width, F f) {
  const int64_t pieces = ceil_div(width, 4 * kWarp);
  if (!wide || pieces > 4) return false;
  if (pieces <= 1) return f(Pieces<1>()), true;
  if (pieces <= 2) return f(Pieces<2>()), true;
  return f(Pieces<4>()), true;
}

// Fixed by the rows alone, so that the sums are.
int64_t rows_per_block_of(int64_t rows) {
  constexpr int64_t kMostBlocks = 1024;
  const int64_t least = 4 * kWarpsPerBlock;
  const int64_t even = ceil_div(rows, kMostBlocks);
  return even > least ? even : least;
}

template <class Out>
void launch_forward(const LayerNormForward& a, Launch& launch) {
  const unsigned blocks = blocks_of(a.rows, kWarpsPerBlock * kRowsPerWarp);
  const bool wide = is_wide(a.width, a.x, a.weight, a.bias, a.out);
  const bool held = with_pieces(wide, a.width, [&](auto pieces) {
    forward_kernel<Out, 4, decltype(pieces)::value><<<blocks, dim3(kWarp, kWarpsPerBlock), 0, launch.stream>>>(a);
  });
  if (held) return;
  forward_wide_kernel<Out><<<static_cast<unsigned>(a.rows), kWarp * kWarpsPerBlock, 0, launch.stream>>>(a);
}

template <class Out, class Dx>
void launch_backward(const LayerNormBackward& a, Launch& launch) {
  const int64_t rows_per_block = rows_per_block_of(a.rows);
  const unsigned blocks = blocks_of(a.rows, rows_per_block);
  float* partials = launch.workspace_of<float>(blocks * 2 * a.width);
  if (!partials) return;
  const bool wide = is_wide(a.width, a.x, a.weight, a.dout, a.dx);
  const bool held = with_pieces(wide, a.width, [&](auto pieces) {
    const size_t shared = static_cast<size_t>(2 * a.width) * sizeof(float);
    backward_kernel<Out, Dx, 4, decltype(pieces)::value>
        <<<blocks, dim3(kWarp, kWarpsPerBlock), shared, launch.stream>>>(a, rows_per_block, partials);
  });
  if (!held) {
    const int all = kWarp * kWarpsPerBlock;
    if (a.dx) backward_dx_wide_kernel<Out, Dx><<<static_cast<unsigned>(a.rows), all, 0, launch.stream>>>(a);
    backward_sums_wide_kernel<Out>
        <<<dim3(blocks, blocks_of(a.width, all)), all, 0, launch.stream>>>(a, rows_per_block, partials);
  }
  add_partials(partials, blocks, 2 * a.width, 2 * a.width, a.width, a.dweight, a.dbias, launch.stream);
}

// The residual stream is float32; its normalised rows, and gradients, may be bfloat16.
template <class Arguments>
bool can_work_on(const Arguments& a, Launch& launch) {
  if (a.x_stored != Storage::float32) launch.refuse("x in float32");
  return a.x_stored == Storage::float32 && a.rows > 0 && a.width > 0;
}

}  // namespace

void layer_norm_forward(const LayerNormForward& a, Launch& launch) {
  if (!can_work_on(a, launch)) return;
  with_storage(a.out_stored, [&](auto out) { launch_forward<Element<decltype(out)>>(a, launch); });
}

void layer_norm_backward(const LayerNormBackward& a, Launch& launch) {
  if (!can_work_on(a, launch)) return;
  with_storage(a.out_stored, [&](auto out) {
    with_storage(a.dx_stored,
                 [&](auto dx) { launch_backward<Element<decltype(out)>, Element<decltype(dx)>>(a, launch); });
  });
}

}  // namespace cuda
}  // namespace seqrisk
