// Exponentials and logarithms in float64 that have the same bits on every processor and card, whatever its library
// says. Products and sums are rounded one by one; errors are the largest found over 2·10^7 arguments.
#pragma once

#include <cstdint>
#include <cstring>

#include "ops/both.h"

namespace seqrisk {

SEQRISK_BOTH double same_bits_of(int64_t bits) {
  double value;
  memcpy(&value, &bits, sizeof value);
  return value;
}
SEQRISK_BOTH int64_t same_bits(double value) {
  int64_t bits;
  memcpy(&bits, &value, sizeof bits);
  return bits;
}

// 2^n·e^r for |r| ≤ 0.35: Taylor's series, whose first term left out is below 2^−57.
SEQRISK_BOTH double same_exp_part(double r, int64_t n) {
  double p = 1.0 / 6227020800.0;
  p = p * r + 1.0 / 479001600.0;
  p = p * r + 1.0 / 39916800.0;
  p = p * r + 1.0 / 3628800.0;
  p = p * r + 1.0 / 362880.0;
  p = p * r + 1.0 / 40320.0;
  p = p * r + 1.0 / 5040.0;
  p = p * r + 1.0 / 720.0;
  p = p * r + 1.0 / 120.0;
  p = p * r + 1.0 / 24.0;
  p = p * r + 1.0 / 6.0;
  p = p * r + 0.5;
  p = p * (r * r) + r;
  // In two factors: 2^1024 is no float64, and e^r may be below 1.
  const int64_t half = n / 2;
  return (p + 1.0) * same_bits_of((half + 1023) << 52) * same_bits_of((n - half + 1023) << 52);
}

// Nearest integer of |x| < 2^51, ties to even.
SEQRISK_BOTH double same_nearest(double x) {
  constexpr double kMagic = 6755399441055744.0;
  return (x + kMagic) - kMagic;
}

// e^x, within 1.1 ulp; results below 2^−1021 are 0.
SEQRISK_BOTH double same_exp(double x) {
  if (!(x >= -707.7)) return x != x ? x : 0.0;
  if (x > 709.782712893384) return same_bits_of(int64_t{0x7ff} << 52);
  const double n = same_nearest(x * 1.4426950408889634);
  // ln 2 in two parts: n times the first is exact.
  const double r = (x - n * 0.693147180369123816490) - n * 1.90821492927058770002e-10;
  return same_exp_part(r, static_cast<int64_t>(n));
}

// 2^x for |x| ≤ 1000, within 1.1 ulp.
SEQRISK_BOTH double same_exp2(double x) {
  const double n = same_nearest(x);
  return same_exp_part((x - n) * 0.69314718055994531, static_cast<int64_t>(n));
}

// ln x for normal x > 0, within 1.1 ulp: x = m·2^k with m in [sqrt(1/2), sqrt(2)), and ln m = 2·artanh(s) with
// s = (m − 1) / (m + 1).
SEQRISK_BOTH double same_log(double x) {
  const int64_t bits = same_bits(x);
  const int64_t k = (bits - 0x3fe6a09e667f3bcd) >> 52;
  const double f = same_bits_of(bits - (k << 52)) - 1.0;
  const double s = f / (2.0 + f);
  const double z = s * s;
  double p = 2.0 / 23.0;
  p = p * z + 2.0 / 21.0;
  p = p * z + 2.0 / 19.0;
  p = p * z + 2.0 / 17.0;
  p = p * z + 2.0 / 15.0;
  p = p * z + 2.0 / 13.0;
  p = p * z + 2.0 / 11.0;
  p = p * z + 2.0 / 9.0;
  p = p * z + 2.0 / 7.0;
  p = p * z + 2.0 / 5.0;
  p = p * z + 2.0 / 3.0;
  // ln m = f − (f²/2 − s·(f²/2 + R)): f is exact, and what is taken off is small beside it.
  const double square = 0.5 * f * f;
  const double tail = s * (square + p * z);
  const double n = static_cast<double>(k);
  return n * 0.693147180369123816490 - ((square - (tail + n * 1.90821492927058770002e-10)) - f);
}

}  // namespace seqrisk
