// Scales of fixed-point numbers: powers of two, so that scaling loses nothing.
#pragma once

#include <cmath>

namespace seqrisk {

// The power of two at or above x > 0.
inline double power_above(double x) {
  int exponent;
  const double fraction = std::frexp(x, &exponent);
  return std::ldexp(1.0, fraction == 0.5 ? exponent - 1 : exponent);
}

}  // namespace seqrisk
