// linear on CUDA in bfloat16: three matrix products, see gemm_bfloat16.h. Activations that stand in memory as the
// products read them are taken as they are; weights, and what is float32 or of an odd width, are rounded beside it
// first.
#include "kernels/cuda/linear_bfloat16.h"

#include "kernels/cuda/activation-inl.cuh"
#include "kernels/cuda/gemm_bfloat16.h"
#include "kernels/cuda/partial_sums.h"

namespace seqrisk {
namespace cuda {
namespace {

int64_t padded(int64_t width) {
  return ceil_div(width, kBfloat16Piece) * kBfloat16Piece;
}

struct Round {
  const float* from;
  Storage stored;
  int64_t stride;
  int64_t width;
  Bfloat16* to;  // padded(width) wide, zeros behind the width

  template <int V>
  __device__ void run(int64_t row, int64_t column) const {
    Floats<V> values{};
    if (column < width) values = load_stored<V>(from, row * stride + column, stored);
    store<V>(to + row * ceil_div(width, kBfloat16Piece) * kBfloat16Piece + column, values);
  }
};

// dout ⊙ act'(saved)
struct RoundSlope {
  LinearBackward a;
  Bfloat16* to;

  template <int V>
  __device__ void run(int64_t row, int64_t column) const {
    Floats<V> values{};
    if (column < a.out_features) {
      values = load_stored<V>(a.dout, row * a.dout_stride + column, a.out_stored);
      const Floats<V> saved = load_stored<V>(a.saved, row * a.out_features + column, a.x_stored);
      for (int v = 0; v < V; ++v) values.at[v] = through_activation(values.at[v], saved.at[v], a.activation);
    }
    store<V>(to + row * ceil_div(a.out_features, kBfloat16Piece) * kBfloat16Piece + column, values);
  }
};

// out = act(sums) + residual
struct Finish {
  LinearForward a;
  const float* sums;  // may be out
  Storage stored;
  int64_t stride;

  template <int V>
  __device__ void run(int64_t row, int64_t column) const {
    Floats<V> values = load_stored<V>(sums, row * stride + column, stored);
    Floats<V> more{};
    if (a.residual) more = load_stored<V>(a.residual, row * a.residual_stride + column, a.out_stored);
    for (int v = 0; v < V; ++v) values.at[v] = activated(values.at[v], a.activation) + more.at[v];
    store_stored<V>(a.out, row * a.out_stride + column, a.out_stored, values);
  }
};

// Rows in memory, and the bytes beside it that they need as an operand.
struct Rows {
  const float* values;
  int64_t rows;
  int64_t width;
  int64_t stride;
  Storage stored;

  bool is_operand() const { return stored == Storage::bfloat16 && is_bfloat16_rows(values, width, stride); }
  int64_t elements() const { return is_operand() ? 0 : rows * padded(width); }
  Bfloat16Rows operand(Bfloat16*& memory, Launch& launch) const {
    if (is_operand()) return {stored_as<Bfloat16>(values), stride};
    Bfloat16* to = memory;
    memory += elements();
    const bool wide = is_wide(width, values) && is_wide(stride);
    over_rows(rows, padded(width), wide, Round{values, stored, stride, width, to}, launch.stream);
    return {to, padded(width)};
  }
};

Rows weight_of(const float* weight, int64_t in_features, int64_t out_features) {
  return {weight, out_features, in_features, in_features, Storage::float32};
}

// Stretches of rows for the weight's gradient: as many blocks as a large card holds at a time; sizes alone decide.
struct Stretches {
  int64_t rows;
  int64_t count;

  Stretches(int64_t all, int64_t in_features, int64_t out_features) {
    constexpr int64_t kBlocks = 264;
    constexpr int64_t kTile = 128;
    constexpr int64_t kWhole = 64;
    constexpr int64_t kLeast = 256;
    const int64_t tiles = ceil_div(in_features, kTile) * ceil_div(out_features, kTile);
    const int64_t wanted = tiles < kBlocks ? kBlocks / tiles : 1;
    rows = ceil_div(ceil_div(all, wanted), kWhole) * kWhole;
    rows = rows < kLeast ? kLeast : rows;
    count = ceil_div(all, rows);
  }
};

}  // namespace

void linear_forward_bfloat16(const LinearForward& a, Launch& launch) {
  if (a.rows == 0) return;
  const Rows x{a.x, a.rows, a.in_features, a.x_stride, a.x_stored};
  const Rows weight = weight_of(a.packed ? a.packed : a.weight, a.in_features, a.out_features);
  Bfloat16Gemm g{};
  g.m = a.rows;
  g.n = a.out_features;
  g.k = a.in_features;
  g.bias = a.bias;
  g.chunks = 1;
  g.chunk_k = g.k;
  // What is kept of the sums, GELU, and a residual behind an activation take a pass of their own.
  const bool is_relu = a.activation == Activation::kRelu;
  const bool finishes = a.saved || a.activation == Activation::kGelu || (is_relu && a.residual);
  if (finishes) {
    g.out = a.saved ? a.saved : a.out;
    g.out_stride = a.saved ? a.out_features : a.out_stride;
    g.out_stored = a.saved ? a.x_stored : a.out_stored;
  } else {
    g.out = a.out;
    g.out_stride = a.out_stride;
    g.out_stored = a.out_stored;
    g.residual = a.residual;
    g.residual_stride = a.residual_stride;
    g.relu = is_relu;
  }
  const bool rounds_bias = launch.cublaslt && a.bias && g.out_stored == Storage::bfloat16;
  const Rows bias{a.bias, rounds_bias ? 1 : 0, a.out_features, a.out_features, Storage::float32};
  auto* memory = launch.workspace_of<Bfloat16>(x.elements() + weight.elements() + bias.elements());
  if (!memory) return;
  g.a = x.operand(memory, launch);
  g.b = weight.operand(memory, launch);
  if (rounds_bias) g.rounded_bias = bias.operand(memory, launch).values;
  gemm_bfloat16(GemmForm::rows_by_rows, g, launch);
  if (!finishes) return;
  const bool wide =
      is_wide(a.out_features, a.out, a.saved, a.residual) && is_wide(a.out_stride) && is_wide(a.residual_stride);
  const Finish op{a, static_cast<const float*>(g.out), g.out_stored, g.out_stride};
  over_rows(a.rows, a.out_features, wide, op, launch.stream);
}

void linear_backward_bfloat16(const LinearBackward& a, Launch& launch) {
  if (a.rows == 0) return;
  const bool has_slope = a.activation != Activation::kNone;
  const bool wants_sums = a.dweight || a.dbias;
  const Rows dout{a.dout, a.rows, a.out_features, a.dout_stride, a.out_stored};
  const Rows x{a.x, a.rows, a.in_features, a.x_stride, a.x_stored};
  const Rows weight = weight_of(a.weight, a.in_features, a.out_features);
  const Stretches stretches(a.rows, a.in_features, a.out_features);
  const int64_t columns = a.dweight ? a.in_features : kBfloat16Piece;  // the bias's sums come with any columns
  const int64_t weights = columns * a.out_features;
  const int64_t stride = ceil_div(weights + a.out_features, 4) * 4;  // of partial sums: the weight's, then the bias's
  const int64_t sums = wants_sums ? stretches.count * stride : 0;
  const int64_t rounded = (has_slope ? a.rows * padded(a.out_features) : dout.elements()) +
                          (a.dweight ? x.elements() : 0) + (a.dx ? weight.elements() : 0);
  auto* partials = launch.workspace_of<float>(sums + ceil_div(rounded, 2));
  if (!partials) return;
  auto* memory = reinterpret_cast<Bfloat16*>(partials + sums);

  Bfloat16Rows g{};
  if (has_slope) {
    g = {memory, padded(a.out_features)};
    const bool wide = is_wide(a.out_features, a.dout, a.saved) && is_wide(a.dout_stride);
    over_rows(a.rows, padded(a.out_features), wide, RoundSlope{a, memory}, launch.stream);
    memory += a.rows * padded(a.out_features);
  } else {
    g = dout.operand(memory, launch);
  }
  if (a.dx) {
    Bfloat16Gemm product{};
    product.a = g;
    product.b = weight.operand(memory, launch);
    product.m = a.rows;
    product.n = a.in_features;
    product.k = a.out_features;
    product.out = a.dx;
    product.out_stride = a.dx_stride;
    product.out_stored = a.dx_stored;
    product.residual = a.accumulate_dx ? a.dx : nullptr;
    product.residual_stride = a.dx_stride;
    product.chunks = 1;
    product.chunk_k = product.k;
    gemm_bfloat16(GemmForm::rows_by_columns, product, launch);
  }
  if (a.dresidual) {
    const bool wide = is_wide(a.out_features, a.dout, a.dresidual) && is_wide(a.dout_stride);
    over_rows(a.rows, a.out_features, wide, AddRows{a}, launch.stream);
  }
  if (!wants_sums) return;
  Bfloat16Gemm product{};
  product.a = g;
  product.b = a.dweight ? x.operand(memory, launch) : g;
  product.m = a.out_features;
  product.n = columns;
  product.k = a.rows;
  product.out = partials;
  product.out_stride = columns;
  product.chunks = stretches.count;
  product.chunk_k = stretches.rows;
  product.chunk_out = stride;
  product.row_sums = a.dbias ? partials + weights : nullptr;
  gemm_bfloat16(GemmForm::columns_by_columns, product, launch);
  if (a.dweight) {
    const int64_t both = weights + (a.dbias ? a.out_features : 0);
    add_partials(partials, stretches.count, stride, both, weights, a.dweight, a.dbias, launch.stream);
  } else {
    add_partials(partials + weights, stretches.count, stride, a.out_features, a.out_features, a.dbias, nullptr,
                 launch.stream);
  }
}

}  // namespace cuda
}  // namespace seqrisk
