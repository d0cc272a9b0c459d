// machine on the CPU: register-only multiply-adds, and a copy with stores past the cache.
#include "ops/machine.h"

#ifdef SEQRISK_BFLOAT16
#include "kernels/cpu/gemm_bfloat16-inl.h"
#else
#include "kernels/cpu/gemm-inl.h"
#endif
#include "ops/workers.h"

namespace seqrisk::SEQRISK_VARIANT {
namespace {

#ifdef SEQRISK_BFLOAT16
using Terms = Bfloat16Pairs;
HWY_INLINE GemmVec next_of(GemmVec chain, GemmVec factor, GemmVec term) {
  return Terms::multiply_add(factor, term, chain);
}
#else
using Terms = FloatTerms;
HWY_INLINE GemmVec next_of(GemmVec chain, GemmVec factor, GemmVec term) {
  return Terms::multiply_add(chain, factor, term);
}
#endif

}  // namespace

void machine_peak(const MachinePeak& a, Workers& workers) {
  // AVX2 has 16 registers, and the loop needs two for its constants. Two ports × 4 cycles of latency want 8 chains.
  constexpr int kChains = HWY_TARGET == HWY_AVX2 ? 14 : 16;
  const GemmTag d;
  a.multiply_adds[0] = static_cast<float>(kChains * kGemmLanes * Terms::kSteps);
  workers.run(a.tasks, [&](int64_t task, int) {
    const GemmVec factor = hn::Set(d, 0.999f);
    const GemmVec term = hn::Set(d, 0.001f);
    // Each starts elsewhere: compilers compute chains that start alike only once, and the peak would come out too high.
    GemmVec chains[kChains];
    gemm_unroll<kChains>([&](auto i)
                             __attribute__((always_inline)) { chains[i] = hn::Iota(d, static_cast<float>(i)); });
    for (int64_t round = 0; round < a.rounds; ++round) {
      gemm_unroll<kChains>([&](auto i)
                               __attribute__((always_inline)) { chains[i] = next_of(chains[i], factor, term); });
    }
    GemmVec sum = hn::Zero(d);
    gemm_unroll<kChains>([&](auto i) __attribute__((always_inline)) { sum = hn::Add(sum, chains[i]); });
    hn::StoreU(sum, d, a.sums + task * kMachineFloatsMax);
  });
}

void machine_update(const MachineUpdate& a, Workers& workers) {
  workers.run(a.tasks, [&](int64_t task, int) {
    HWY_ALIGN int64_t cells[8 * kMachineCells] = {};
    HWY_ALIGN uint8_t index[kMachineIndices];
    uint32_t state = 12345;
    for (uint8_t& i : index) {
      state = state * 1664525u + 1013904223u;
      i = static_cast<uint8_t>(state >> 24);
    }
    for (int64_t round = 0; round < a.rounds; ++round) {
      for (int64_t i = 0; i < kMachineIndices; i += 8) {
        HWY_UNROLL(8)
        for (int64_t k = 0; k < 8; ++k) cells[k * kMachineCells + index[i + k]] += round;
      }
    }
    int64_t sum = 0;
    for (const int64_t cell : cells) sum += cell;
    a.sums[task] = static_cast<int32_t>(sum);
  });
}

void machine_copy(const MachineCopy& a, Workers& workers) {
  constexpr int64_t kFloatsPerTask = 1 << 16;
  const hn::ScalableTag<float> d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  workers.run((a.count + kFloatsPerTask - 1) / kFloatsPerTask, [&](int64_t task, int) {
    const int64_t last = (task + 1) * kFloatsPerTask;
    const int64_t end = last < a.count ? last : a.count;
    int64_t i = task * kFloatsPerTask;
    // Buffers start on a 64-byte boundary and so do tasks: a whole vector may be streamed.
    for (; i + lanes <= end; i += lanes) hn::Stream(hn::LoadU(d, a.x + i), d, a.out + i);
    for (; i < end; ++i) a.out[i] = a.x[i];
  });
}

}  // namespace seqrisk::SEQRISK_VARIANT
