// add on CUDA.
#include "ops/add.h"

#include "kernels/cuda/device-inl.cuh"

namespace seqrisk {
namespace cuda {
namespace {

struct Add {
  AddForward a;

  template <int V>
  __device__ void run(int64_t i) const {
    const Floats<V> left = load_stored<V>(a.a, i, a.a_stored);
    Floats<V> sum = load_stored<V>(a.b, i, a.b_stored);
    for (int v = 0; v < V; ++v) sum.at[v] = left.at[v] + sum.at[v];
    store_stored<V>(a.out, i, a.a_stored, sum);
  }
};

}  // namespace

void add_forward(const AddForward& a, Launch& launch) {
  over_elements(a.count, is_wide(0, a.a, a.b, a.out), Add{a}, launch.stream);
}

}  // namespace cuda
}  // namespace seqrisk
