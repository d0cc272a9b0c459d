// Parts of vectors, for the ends of rows: nothing beyond the n elements is read or written, on any instruction set
// (Highway's own masked loads may read whole vectors where the hardware has no masks; AVX2 has them for 4 and 8 bytes).
#pragma once

#include "kernels/cpu/variant.h"

namespace seqrisk::SEQRISK_VARIANT {

// The first n lanes from memory, zero in the others; 0 ≤ n ≤ lanes.
template <class D>
HWY_INLINE hn::Vec<D> load_first(D d, const hn::TFromD<D>* p, int64_t n) {
#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3
  static_assert(sizeof(hn::TFromD<D>) >= 4);
  return hn::MaskedLoad(hn::FirstN(d, static_cast<size_t>(n)), d, p);
#else
  HWY_ALIGN hn::TFromD<D> lanes[hn::MaxLanes(D())] = {};
  for (int64_t i = 0; i < n; ++i) lanes[i] = p[i];
  return hn::Load(d, lanes);
#endif
}

template <class D>
HWY_INLINE void store_first(hn::Vec<D> v, D d, hn::TFromD<D>* p, int64_t n) {
#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3
  static_assert(sizeof(hn::TFromD<D>) >= 4);
  hn::BlendedStore(v, hn::FirstN(d, static_cast<size_t>(n)), d, p);
#else
  HWY_ALIGN hn::TFromD<D> lanes[hn::MaxLanes(D())];
  hn::Store(v, d, lanes);
  for (int64_t i = 0; i < n; ++i) p[i] = lanes[i];
#endif
}

}  // namespace seqrisk::SEQRISK_VARIANT
