// glu on CUDA: a thread takes up to four columns of a row.
#include "ops/glu.h"

#include "kernels/cuda/device-inl.cuh"

namespace seqrisk {
namespace cuda {
namespace {

template <class T>
struct Forward {
  GluForward a;

  template <int V>
  __device__ void run(int64_t row, int64_t column) const {
    const T* x = stored_as<T>(a.x) + row * 2 * a.width + column;
    Floats<V> value = load<V>(x);
    const Floats<V> z = load<V>(x + a.width);
    for (int v = 0; v < V; ++v) value.at[v] *= sigmoid(z.at[v]);
    store<V>(stored_as<T>(a.out) + row * a.width + column, value);
  }
};

template <class T>
struct Backward {
  GluBackward a;

  template <int V>
  __device__ void run(int64_t row, int64_t column) const {
    const int64_t at = row * 2 * a.width + column;
    const T* x = stored_as<T>(a.x) + at;
    T* dx = stored_as<T>(a.dx) + at;
    const Floats<V> value = load<V>(x);
    const Floats<V> z = load<V>(x + a.width);
    const Floats<V> dout = load<V>(stored_as<T>(a.dout) + row * a.width + column);
    Floats<V> dvalue{};
    Floats<V> dz{};
    if (a.accumulate_dx) {
      dvalue = load<V>(dx);
      dz = load<V>(dx + a.width);
    }
    for (int v = 0; v < V; ++v) {
      const float open = sigmoid(z.at[v]);
      dvalue.at[v] = fmaf(dout.at[v], open, dvalue.at[v]);
      dz.at[v] = fmaf(dout.at[v] * value.at[v], open * (1.0f - open), dz.at[v]);
    }
    store<V>(dx, dvalue);
    store<V>(dx + a.width, dz);
  }
};

}  // namespace

void glu_forward(const GluForward& a, Launch& launch) {
  with_storage(a.stored, [&](auto element) {
    const Forward<Element<decltype(element)>> op{a};
    over_rows(a.rows, a.width, is_wide(a.width, a.x, a.out), op, launch.stream);
  });
}

void glu_backward(const GluBackward& a, Launch& launch) {
  with_storage(a.stored, [&](auto element) {
    const Backward<Element<decltype(element)>> op{a};
    over_rows(a.rows, a.width, is_wide(a.width, a.x, a.dout, a.dx), op, launch.stream);
  });
}

}  // namespace cuda
}  // namespace seqrisk
