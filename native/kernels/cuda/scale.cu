// scale on CUDA.
#include "ops/scale.h"

#include "kernels/cuda/device-inl.cuh"

namespace seqrisk {
namespace cuda {
namespace {

struct Scale {
  ScaleForward a;

  template <int V>
  __device__ void run(int64_t i) const {
    Floats<V> value = load_stored<V>(a.x, i, a.x_stored);
    if (a.accumulate) {
      const Floats<V> before = load_stored<V>(a.out, i, a.out_stored);
      for (int v = 0; v < V; ++v) value.at[v] = fmaf(a.factor, value.at[v], before.at[v]);
    } else {
      for (int v = 0; v < V; ++v) value.at[v] *= a.factor;
    }
    store_stored<V>(a.out, i, a.out_stored, value);
  }
};

}  // namespace

void scale_forward(const ScaleForward& a, Launch& launch) {
  over_elements(a.count, is_wide(0, a.x, a.out), Scale{a}, launch.stream);
}

}  // namespace cuda
}  // namespace seqrisk
