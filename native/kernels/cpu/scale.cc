#include "ops/scale.h"

#include "kernels/cpu/elements-inl.h"

namespace seqrisk::SEQRISK_VARIANT {

void scale_forward(const ScaleForward& a, Workers& workers) {
  if (a.accumulate) {
    over_elements(workers, a.count, [&](auto d, int64_t i) {
      hn::StoreU(hn::MulAdd(hn::Set(d, a.factor), hn::LoadU(d, a.x + i), hn::LoadU(d, a.out + i)), d, a.out + i);
    });
  } else {
    over_elements(workers, a.count, [&](auto d, int64_t i) {
      hn::StoreU(hn::Mul(hn::Set(d, a.factor), hn::LoadU(d, a.x + i)), d, a.out + i);
    });
  }
}

}  // namespace seqrisk::SEQRISK_VARIANT
