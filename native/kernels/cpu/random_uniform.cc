// random_uniform on the CPU: plain integer arithmetic. It fills weights once, so that speed hardly matters.
#include "ops/random_uniform.h"

#include "kernels/cpu/variant.h"
#include "ops/workers.h"

namespace seqrisk::SEQRISK_VARIANT {

void random_uniform(const RandomUniform& a, Workers& workers) {
  constexpr int64_t kElementsPerTask = 16384;
  workers.run((a.count + kElementsPerTask - 1) / kElementsPerTask, [&](int64_t task, int) {
    const int64_t last = (task + 1) * kElementsPerTask;
    const int64_t end = last < a.count ? last : a.count;
    for (int64_t i = task * kElementsPerTask; i < end; i += 4) {
      const PhiloxBlock block = philox4x32(a.seed, a.stream, static_cast<uint64_t>(i / 4));
      for (int64_t j = i; j < i + 4 && j < end; ++j) {
        const float half_step = static_cast<float>(2 * (block.word[j - i] >> 9) + 1);  // exact: below 2^24
        a.out[j] = (half_step * 0x1p-23f - 1.0f) * a.bound;
      }
    }
  });
}

}  // namespace seqrisk::SEQRISK_VARIANT
