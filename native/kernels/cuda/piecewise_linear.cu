// piecewise_linear on CUDA: a thread takes an element, and sums up all pieces of its column; curves come from the
// caches.
#include "ops/piecewise_linear.h"

#include "kernels/cuda/device-inl.cuh"

namespace seqrisk {
namespace cuda {
namespace {

// With a NaN in x, a NaN: fminf and fmaxf alone would lose it, the difference to x keeps it.
__device__ float clamp(float x, float low, float high) {
  return fminf(fmaxf(x, low), high);
}

struct Forward {
  PiecewiseLinearForward a;

  template <int V>
  __device__ void run(int64_t row, int64_t column) const {
    const int64_t at = row * a.width + column;
    const Floats<V> x = load<V>(a.x + at);
    Floats<V> from = load<V>(a.knots + column);
    const Floats<V> last = load<V>(a.knots + (a.num_knots - 1) * a.width + column);
    const Floats<V> below = load<V>(a.slopes + column);
    const Floats<V> above = load<V>(a.slopes + a.num_knots * a.width + column);
    Floats<V> out = load<V>(a.offset + column);
    for (int v = 0; v < V; ++v) {
      const float outside = x.at[v] - clamp(x.at[v], from.at[v], last.at[v]);
      out.at[v] = fmaf(outside < 0.0f ? below.at[v] : above.at[v], outside, out.at[v]);
    }
    for (int64_t k = 1; k < a.num_knots; ++k) {
      const Floats<V> to = load<V>(a.knots + k * a.width + column);
      const Floats<V> slope = load<V>(a.slopes + k * a.width + column);
      for (int v = 0; v < V; ++v) {
        out.at[v] = fmaf(slope.at[v], clamp(x.at[v], from.at[v], to.at[v]) - from.at[v], out.at[v]);
      }
      from = to;
    }
    store<V>(a.out + at, out);
  }
};

struct Backward {
  PiecewiseLinearBackward a;

  template <int V>
  __device__ void run(int64_t row, int64_t column) const {
    const int64_t at = row * a.width + column;
    const Floats<V> x = load<V>(a.x + at);
    const Floats<V> dout = load<V>(a.dout + at);
    Floats<V> slope = load<V>(a.slopes + column);
    for (int64_t k = 0; k < a.num_knots; ++k) {
      const Floats<V> knot = load<V>(a.knots + k * a.width + column);
      const Floats<V> next = load<V>(a.slopes + (k + 1) * a.width + column);
      for (int v = 0; v < V; ++v) {
        if (x.at[v] >= knot.at[v]) slope.at[v] = next.at[v];
      }
    }
    Floats<V> dx = a.accumulate_dx ? load<V>(a.dx + at) : Floats<V>{};
    for (int v = 0; v < V; ++v) {
      const float value = slope.at[v] * dout.at[v];
      dx.at[v] = a.accumulate_dx ? dx.at[v] + value : value;
    }
    store<V>(a.dx + at, dx);
  }
};

}  // namespace

void piecewise_linear_forward(const PiecewiseLinearForward& a, Launch& launch) {
  const bool wide = is_wide(a.width, a.x, a.knots, a.slopes, a.offset, a.out);
  over_rows(a.rows, a.width, wide, Forward{a}, launch.stream);
}

void piecewise_linear_backward(const PiecewiseLinearBackward& a, Launch& launch) {
  const bool wide = is_wide(a.width, a.x, a.knots, a.slopes, a.dout, a.dx);
  over_rows(a.rows, a.width, wide, Backward{a}, launch.stream);
}

}  // namespace cuda
}  // namespace seqrisk
