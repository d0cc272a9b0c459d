// add on CUDA.
#include "ops/add.h"

#include "kernels/cuda/device-inl.cuh"

namespace seqrisk {
namespace cuda {
namespace {

template <class A, class B>
struct Add {
  AddForward a;

  template <int V>
  __device__ void run(int64_t i) const {
    const Floats<V> left = load<V>(stored_as<A>(a.a) + i);
    Floats<V> sum = load<V>(stored_as<B>(a.b) + i);
    for (int v = 0; v < V; ++v) sum.at[v] = left.at[v] + sum.at[v];
    store<V>(stored_as<A>(a.out) + i, sum);
  }
};

}  // namespace

void add_forward(const AddForward& a, Launch& launch) {
  const bool wide = is_wide(0, a.a, a.b, a.out);
  with_storage(a.a_stored, [&](auto left) {
    with_storage(a.b_stored, [&](auto right) {
      over_elements(a.count, wide, Add<Element<decltype(left)>, Element<decltype(right)>>{a}, launch.stream);
    });
  });
}

}  // namespace cuda
}  // namespace seqrisk
