// glu on CUDA: a thread takes up to four columns of a row.
#include "ops/glu.h"

#include "kernels/cuda/device-inl.cuh"

namespace seqrisk {
namespace cuda {
namespace {

struct Forward {
  GluForward a;

  template <int V>
  __device__ void run(int64_t row, int64_t column) const {
    const int64_t at = row * 2 * a.width + column;
    Floats<V> value = load_stored<V>(a.x, at, a.stored);
    const Floats<V> z = load_stored<V>(a.x, at + a.width, a.stored);
    for (int v = 0; v < V; ++v) value.at[v] *= sigmoid(z.at[v]);
    store_stored<V>(a.out, row * a.width + column, a.stored, value);
  }
};

struct Backward {
  GluBackward a;

  template <int V>
  __device__ void run(int64_t row, int64_t column) const {
    const int64_t at = row * 2 * a.width + column;
    const Floats<V> value = load_stored<V>(a.x, at, a.stored);
    const Floats<V> z = load_stored<V>(a.x, at + a.width, a.stored);
    const Floats<V> dout = load_stored<V>(a.dout, row * a.width + column, a.stored);
    Floats<V> dvalue{};
    Floats<V> dz{};
    if (a.accumulate_dx) {
      dvalue = load_stored<V>(a.dx, at, a.stored);
      dz = load_stored<V>(a.dx, at + a.width, a.stored);
    }
    for (int v = 0; v < V; ++v) {
      const float open = sigmoid(z.at[v]);
      dvalue.at[v] = fmaf(dout.at[v], open, dvalue.at[v]);
      dz.at[v] = fmaf(dout.at[v] * value.at[v], open * (1.0f - open), dz.at[v]);
    }
    store_stored<V>(a.dx, at, a.stored, dvalue);
    store_stored<V>(a.dx, at + a.width, a.stored, dz);
  }
};

}  // namespace

void glu_forward(const GluForward& a, Launch& launch) {
  over_rows(a.rows, a.width, is_wide(a.width, a.x, a.out), Forward{a}, launch.stream);
}

void glu_backward(const GluBackward& a, Launch& launch) {
  over_rows(a.rows, a.width, is_wide(a.width, a.x, a.dout, a.dx), Backward{a}, launch.stream);
}

}  // namespace cuda
}  // namespace seqrisk
