// machine on the CPU: register-only multiply-adds, and a copy with stores past the cache.
#include "ops/machine.h"

#include "kernels/cpu/variant.h"
#include "ops/workers.h"

namespace seqrisk::SEQRISK_VARIANT {

void machine_peak(const MachinePeak& a, Workers& workers) {
  const hn::ScalableTag<float> d;
  using V = hn::Vec<decltype(d)>;
  a.lanes[0] = static_cast<float>(hn::Lanes(d));
  workers.run(a.tasks, [&](int64_t task, int) {
    const V factor = hn::Set(d, 0.999f);
    const V term = hn::Set(d, 0.001f);
    // Named one by one: g++ 12 keeps an indexed array of vectors in memory.
    V c0 = hn::Iota(d, 0.0f), c1 = hn::Iota(d, 1.0f), c2 = hn::Iota(d, 2.0f), c3 = hn::Iota(d, 3.0f);
    V c4 = hn::Iota(d, 4.0f), c5 = hn::Iota(d, 5.0f), c6 = hn::Iota(d, 6.0f), c7 = hn::Iota(d, 7.0f);
    V c8 = c0, c9 = c1, ca = c2, cb = c3, cc = c4, cd = c5, ce = c6, cf = c7;
    for (int64_t round = 0; round < a.rounds; ++round) {
      c0 = hn::MulAdd(c0, factor, term), c1 = hn::MulAdd(c1, factor, term);
      c2 = hn::MulAdd(c2, factor, term), c3 = hn::MulAdd(c3, factor, term);
      c4 = hn::MulAdd(c4, factor, term), c5 = hn::MulAdd(c5, factor, term);
      c6 = hn::MulAdd(c6, factor, term), c7 = hn::MulAdd(c7, factor, term);
      c8 = hn::MulAdd(c8, factor, term), c9 = hn::MulAdd(c9, factor, term);
      ca = hn::MulAdd(ca, factor, term), cb = hn::MulAdd(cb, factor, term);
      cc = hn::MulAdd(cc, factor, term), cd = hn::MulAdd(cd, factor, term);
      ce = hn::MulAdd(ce, factor, term), cf = hn::MulAdd(cf, factor, term);
    }
    const V low = hn::Add(hn::Add(hn::Add(c0, c1), hn::Add(c2, c3)), hn::Add(hn::Add(c4, c5), hn::Add(c6, c7)));
    const V high = hn::Add(hn::Add(hn::Add(c8, c9), hn::Add(ca, cb)), hn::Add(hn::Add(cc, cd), hn::Add(ce, cf)));
    hn::StoreU(hn::Sub(low, high), d, a.sums + task * kMachineFloatsMax);
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
