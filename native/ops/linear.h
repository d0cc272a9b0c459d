// linear: out = act(x · weightᵀ + bias) + residual; act is none, ReLU or GELU (the exact one, x·Φ(x), ONNX Gelu with
// approximate="none"). Operations: forward 2·rows·in·out, backward twice that.
// Every element of out is one chain of fused multiply-adds that starts at the bias and runs over ascending input
// features: its bits do not depend on the other rows, nor on where its row stands among them.
#pragma once

#include <cstddef>
#include <cstdint>

#include "ops/storage.h"

namespace seqrisk {

enum class Activation : int32_t { kNone, kRelu, kGelu };

// weight in the order that the forward reads; the layout belongs to the variant that packed it.
struct LinearPack {
  const float* weight;  // (out_features, in_features)
  float* packed;        // linear_packed_bytes() bytes
  int64_t in_features;
  int64_t out_features;
};

// out must not overlap an input. Strides are in elements, from row to row; elements of a row are adjacent.
struct LinearForward {
  const float* x;         // (rows, in_features) [stored as x]
  const float* weight;    // (out_features, in_features)
  const float* packed;    // what linear_pack made of weight, or null; worth it where few rows meet one weight often
  const float* bias;      // (out_features) or null
  const float* residual;  // (rows, out_features) [stored as out] added after the activation, or null
  float* out;             // (rows, out_features) [stored as out]
  float* saved;           // (rows, out_features) [stored as x] x · weightᵀ + bias, kept for the backward, or null
  float* scratch;         // linear_packed_bytes() bytes; unused where packed is given
  int64_t rows;
  int64_t in_features;
  int64_t out_features;
  int64_t x_stride;
  int64_t out_stride;
  int64_t residual_stride;
  Activation activation;
  Storage x_stored;
  Storage out_stored;
};

// With g = dout ⊙ act'(saved): dx = g · weight, dweight += gᵀ · x, dbias += Σ_rows g. The residual's gradient is
// dout itself: whoever calls may pass it on, or have it added to what is there.
struct LinearBackward {
  const float* x;       // [stored as x]; null where dweight is
  const float* weight;  // null where dx is
  const float* dout;    // (rows, out_features) [stored as out]
  const float*
      saved;         // (rows, out_features) [stored as x], null without activation; for ReLU its output serves as well
  float* dx;         // (rows, in_features) [stored as dx] assigned, or added to when accumulate_dx; null skips it
  float* dweight;    // (out_features, in_features) added to; null skips it
  float* dbias;      // (out_features) added to; null skips it
  float* dresidual;  // (rows, out_features) [stored as out] dout is added to it; null skips it; may be dx (x was the
                     // residual)
  float* scratch;    // linear_backward_scratch() bytes
  int64_t rows;
  int64_t in_features;
  int64_t out_features;
  int64_t x_stride;
  int64_t dout_stride;
  int64_t dx_stride;
  Activation activation;
  bool accumulate_dx;
  Storage x_stored;
  Storage out_stored;
  Storage dx_stored;
};

// Packed weights are padded to the widest panel of any variant.
constexpr int64_t kLinearPanelCols = 32;

inline int64_t linear_padded(int64_t cols) {
  return (cols + kLinearPanelCols - 1) / kLinearPanelCols * kLinearPanelCols;
}

inline size_t linear_packed_bytes(int64_t in_features, int64_t out_features) {
  return static_cast<size_t>(linear_padded(out_features)) * static_cast<size_t>(in_features) * sizeof(float);
}

// How the backward cuts its work; sizes alone decide. dweight is summed in blocks of kLinearDepth rows.
constexpr int64_t kLinearDepth = 256;

struct LinearBackwardPlan {
  int64_t block_rows;  // rows at a time, a multiple of kLinearDepth: what scratch holds of g and x is about 8 MB
  int64_t tiles_out;   // tiles of dweight
  int64_t tiles_in;
  int64_t chunks;  // partial sums of dweight over rows, at most 2.8 MB; one goes straight into dweight
};

inline LinearBackwardPlan linear_backward_plan(int64_t rows, int64_t in_features, int64_t out_features) {
  constexpr int64_t kBlockElems = int64_t{2} << 20;
  constexpr int64_t kTileOut = 168;
  constexpr int64_t kTileIn = 256;
  constexpr int64_t kTasks = 16;
  const int64_t all = (rows + kLinearDepth - 1) / kLinearDepth;
  int64_t depths = kBlockElems / (linear_padded(in_features) + out_features) / kLinearDepth;
  depths = depths < 1 ? 1 : depths > all ? all : depths;
  const int64_t tiles_out = (out_features + kTileOut - 1) / kTileOut;
  const int64_t tiles_in = (in_features + kTileIn - 1) / kTileIn;
  int64_t chunks = (kTasks + tiles_out * tiles_in - 1) / (tiles_out * tiles_in);
  chunks = chunks > depths ? depths : chunks;
  return {depths * kLinearDepth, tiles_out, tiles_in, chunks < 1 ? 1 : chunks};
}

// One partial sum of dweight and dbias, in whole cache lines.
inline int64_t linear_sum_elems(int64_t in_features, int64_t out_features) {
  return (out_features * in_features + out_features + 15) / 16 * 16;
}

// Packed weight, a block of rows of g and of packed x, partial sums.
inline size_t linear_backward_scratch(int64_t rows, int64_t in_features, int64_t out_features) {
  const LinearBackwardPlan plan = linear_backward_plan(rows, in_features, out_features);
  const int64_t padded = linear_padded(in_features);
  const int64_t sums = plan.chunks > 1 ? plan.chunks * linear_sum_elems(in_features, out_features) : 0;
  return static_cast<size_t>(out_features * padded + plan.block_rows * (padded + out_features) + sums) * sizeof(float);
}

}  // namespace seqrisk
