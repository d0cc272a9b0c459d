// dropout on CUDA: the same Philox words as on the CPU, one block for four neighbouring elements.
#include "ops/dropout.h"

#include "kernels/cuda/device-inl.cuh"
#include "ops/philox.h"

namespace seqrisk {
namespace cuda {
namespace {

struct Dropout {
  DropoutForward a;
  float factor;
  uint32_t threshold;

  template <int V>
  __device__ void run(int64_t i) const {
    Floats<V> value = load_stored<V>(a.x, i, a.stored);
    Floats<V> before{};
    if (a.accumulate) before = load_stored<V>(a.out, i, a.stored);
    const uint64_t first = a.offset + static_cast<uint64_t>(i);
    PhiloxBlock block = philox4x32(a.seed, kDropoutStream, first / 4);
    for (int v = 0; v < V; ++v) {
      const uint64_t element = first + static_cast<uint64_t>(v);
      if (v > 0 && element % 4 == 0) block = philox4x32(a.seed, kDropoutStream, element / 4);
      const float kept = block.word[element % 4] < threshold ? 0.0f : value.at[v] * factor;
      value.at[v] = a.accumulate ? before.at[v] + kept : kept;
    }
    store_stored<V>(a.out, i, a.stored, value);
  }
};

}  // namespace

void dropout_forward(const DropoutForward& a, Launch& launch) {
  const float factor = 1.0f / (1.0f - a.rate);
  const uint32_t threshold = static_cast<uint32_t>(static_cast<double>(a.rate) * 4294967296.0);
  over_elements(a.count, is_wide(0, a.x, a.out), Dropout{a, factor, threshold}, launch.stream);
}

}  // namespace cuda
}  // namespace seqrisk
