#include "ops/add.h"

#include "kernels/cpu/elements-inl.h"

namespace seqrisk::SEQRISK_VARIANT {

void add_forward(const AddForward& a, Workers& workers) {
  over_elements(workers, a.count, [&](auto d, int64_t i) {
    hn::StoreU(hn::Add(hn::LoadU(d, a.a + i), hn::LoadU(d, a.b + i)), d, a.out + i);
  });
}

}  // namespace seqrisk::SEQRISK_VARIANT
