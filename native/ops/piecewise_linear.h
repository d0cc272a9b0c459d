// piecewise_linear: out[r, c] = f_c(x[r, c]), f_c a continuous curve of straight pieces that each column has for
// itself. Bytes: forward 2·rows·width·4, backward 3·rows·width·4, and the curves once for every
// kPiecewiseLinearRowsPerTask rows. Operations: 5·rows·width·knots forward, 2·rows·width·knots backward.
#pragma once

#include <cstdint>

namespace seqrisk {

// With knots t₀ ≤ … ≤ t_{n−1} and slopes s₀ … s_n of a column, s₀ below t₀ and s_n above t_{n−1}:
//   f(x) = offset + s₀·min(x − t₀, 0) + Σ_k s_k·(clamp(x, t_{k−1}, t_k) − t_{k−1}) + s_n·max(x − t_{n−1}, 0)
// A sum of clipped ramps: no term is larger than its own piece is high, so that nothing cancels far out. Knots of one
// place and slopes of 1 leave x as it is, bit for bit. What is not finite gives NaN, or an infinity.
struct PiecewiseLinearForward {
  const float* x;       // (rows, width)
  const float* knots;   // (num_knots, width) ascending in each column
  const float* slopes;  // (num_knots + 1, width)
  const float* offset;  // (width) f(t₀)
  float* out;           // (rows, width)
  int64_t rows;
  int64_t width;
  int64_t num_knots;  // ≥ 1
};

// dx = slope of the piece that x is in · dout; on a knot, of the one above. The curves are constants.
struct PiecewiseLinearBackward {
  const float* x;
  const float* knots;
  const float* slopes;
  const float* dout;  // (rows, width)
  float* dx;          // (rows, width) assigned, or added to when accumulate_dx
  int64_t rows;
  int64_t width;
  int64_t num_knots;
  bool accumulate_dx;
};

// The curves of some columns stay in L1 over these rows.
constexpr int64_t kPiecewiseLinearRowsPerTask = 64;

}  // namespace seqrisk
