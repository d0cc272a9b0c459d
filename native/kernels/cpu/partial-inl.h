// The last vector of a row that is no multiple of the vector's lanes: nothing beyond `count` elements is read or
// written.
#pragma once

#include "kernels/cpu/variant.h"

namespace seqrisk::SEQRISK_VARIANT {

// The first `count` elements, then zeros; 0 ≤ count ≤ lanes.
template <class D>
HWY_INLINE hn::Vec<D> load_first(D d, int64_t count, const float* from) {
#if HWY_MEM_OPS_MIGHT_FAULT
  HWY_ALIGN float lanes[hn::MaxLanes(d)] = {};
  for (int64_t i = 0; i < count; ++i) lanes[i] = from[i];
  return hn::Load(d, lanes);
#else
  return hn::MaskedLoad(hn::FirstN(d, static_cast<size_t>(count)), d, from);
#endif
}

template <class D>
HWY_INLINE void store_first(hn::Vec<D> v, D d, int64_t count, float* to) {
#if HWY_MEM_OPS_MIGHT_FAULT
  HWY_ALIGN float lanes[hn::MaxLanes(d)];
  hn::Store(v, d, lanes);
  for (int64_t i = 0; i < count; ++i) to[i] = lanes[i];
#else
  hn::BlendedStore(v, hn::FirstN(d, static_cast<size_t>(count)), d, to);
#endif
}

}  // namespace seqrisk::SEQRISK_VARIANT
