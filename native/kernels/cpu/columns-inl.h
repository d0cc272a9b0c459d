// Loops over the columns of a row, in vectors and then one by one; both parts run the same code, so that a result never
// depends on where in a vector a column falls.
#pragma once

#include <type_traits>

#include "kernels/cpu/variant.h"

namespace seqrisk::SEQRISK_VARIANT {

using WholeVector = hn::ScalableTag<float>;
using OneLane = hn::CappedTag<float, 1>;

// Calls f(tag, i) for every vector in [0, columns), then for every column that is left.
template <class F>
HWY_INLINE void over_columns(int64_t columns, F f) {
  const WholeVector d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t i = 0;
  for (; i + lanes <= columns; i += lanes) f(d, i);
  for (; i < columns; ++i) f(OneLane(), i);
}

// A number of columns known at compile time, a multiple of every vector: the loop is unrolled and has no rest.
template <int64_t kColumns, class F>
HWY_INLINE void over_columns(std::integral_constant<int64_t, kColumns>, F f) {
  const WholeVector d;
  static_assert(kColumns % hn::MaxLanes(d) == 0);
  for (int64_t i = 0; i < kColumns; i += static_cast<int64_t>(hn::Lanes(d))) f(d, i);
}

// The same in blocks: f(tag, vectors, i) handles `vectors` (a compile-time number) neighbouring vectors from column i.
template <int kVectors, class F>
HWY_INLINE void over_blocks(int64_t columns, F f) {
  const WholeVector d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t i = 0;
  for (; i + kVectors * lanes <= columns; i += kVectors * lanes) f(d, std::integral_constant<int, kVectors>(), i);
  for (; i + lanes <= columns; i += lanes) f(d, std::integral_constant<int, 1>(), i);
  for (; i < columns; ++i) f(OneLane(), std::integral_constant<int, 1>(), i);
}

}  // namespace seqrisk::SEQRISK_VARIANT
