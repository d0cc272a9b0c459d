// scale on CUDA.
#include "ops/scale.h"

#include "kernels/cuda/device-inl.cuh"

namespace seqrisk {
namespace cuda {
namespace {

template <class X, class Out>
struct Scale {
  ScaleForward a;

  template <int V>
  __device__ void run(int64_t i) const {
    Floats<V> value = load<V>(stored_as<X>(a.x) + i);
    if (a.accumulate) {
      const Floats<V> before = load<V>(stored_as<Out>(a.out) + i);
      for (int v = 0; v < V; ++v) value.at[v] = fmaf(a.factor, value.at[v], before.at[v]);
    } else {
      for (int v = 0; v < V; ++v) value.at[v] *= a.factor;
    }
    store<V>(stored_as<Out>(a.out) + i, value);
  }
};

}  // namespace

void scale_forward(const ScaleForward& a, Launch& launch) {
  const bool wide = is_wide(0, a.x, a.out);
  with_storage(a.x_stored, [&](auto from) {
    with_storage(a.out_stored, [&](auto to) {
      over_elements(a.count, wide, Scale<Element<decltype(from)>, Element<decltype(to)>>{a}, launch.stream);
    });
  });
}

}  // namespace cuda
}  // namespace seqrisk
