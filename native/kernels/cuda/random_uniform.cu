// random_uniform on CUDA: the CPU's bits.
#include "ops/random_uniform.h"

#include "kernels/cuda/device-inl.cuh"
#include "ops/philox.h"

namespace seqrisk {
namespace cuda {
namespace {

struct Uniform {
  RandomUniform a;

  template <int V>
  __device__ void run(int64_t i) const {
    const PhiloxBlock block = philox4x32(a.seed, a.stream, static_cast<uint64_t>(i / 4));
    Floats<V> value;
    for (int v = 0; v < V; ++v) {
      const float half_step = static_cast<float>(2 * (block.word[(i + v) % 4] >> 9) + 1);  // exact: below 2^24
      value.at[v] = __fmul_rn(__fsub_rn(half_step * 0x1p-23f, 1.0f), a.bound);
    }
    store<V>(a.out + i, value);
  }
};

}  // namespace

void random_uniform(const RandomUniform& a, Launch& launch) {
  over_elements(a.count, is_wide(0, a.out), Uniform{a}, launch.stream);
}

}  // namespace cuda
}  // namespace seqrisk
