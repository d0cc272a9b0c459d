// Elementary functions for vectors of float. Errors are the largest found over every seventh float of the domain,
// scalar and AVX2. NaN stays NaN; the polynomials are those of Cephes (Moshier), expf.c and logf.c.
#pragma once

#include "kernels/cpu/variant.h"

namespace seqrisk::SEQRISK_VARIANT {

// e^x for x ≤ 0 (−inf gives 0), all that a stable softmax or sigmoid asks for. Within 1.01 ulp; results below the least
// normal float are 0.
template <class V>
HWY_INLINE V exp_nonpositive(V x) {
  const hn::DFromV<V> d;
  const hn::RebindToSigned<decltype(d)> di;
  constexpr float kLeast = -87.336540f;  // ln 2^-126
  // Adding 1.5·2²³ rounds to an integer n, which then stands in the low bits.
  const V magic = hn::Set(d, 12582912.0f);
  const V shifted = hn::MulAdd(x, hn::Set(d, 1.44269504088896341f), magic);
  const V n = hn::Sub(shifted, magic);
  // r = x − n·ln 2 in two parts: n times the first is exact.
  V r = hn::MulAdd(n, hn::Set(d, -0.693359375f), x);
  r = hn::MulAdd(n, hn::Set(d, 2.12194440e-4f), r);
  V p = hn::Set(d, 1.9875691500e-4f);
  p = hn::MulAdd(p, r, hn::Set(d, 1.3981999507e-3f));
  p = hn::MulAdd(p, r, hn::Set(d, 8.3334519073e-3f));
  p = hn::MulAdd(p, r, hn::Set(d, 4.1665795894e-2f));
  p = hn::MulAdd(p, r, hn::Set(d, 1.6666665459e-1f));
  p = hn::MulAdd(p, r, hn::Set(d, 5.0000001201e-1f));
  p = hn::Add(hn::MulAdd(p, hn::Mul(r, r), r), hn::Set(d, 1.0f));
  const auto power = hn::Add(hn::ShiftLeft<23>(hn::BitCast(di, shifted)), hn::Set(di, 127 << 23));
  return hn::IfThenZeroElse(hn::Lt(x, hn::Set(d, kLeast)), hn::Mul(p, hn::BitCast(d, power)));
}

// 2^(x·unit) for x·unit < 128 (−inf gives 0). The product is not rounded; within 1.0 ulp; results below 2^−126.5 are 0.
// Minimax polynomial of degree 6 on [−1/2, 1/2], exact at 0.
template <class V>
HWY_INLINE V exp2_scaled(V x, V unit) {
  const hn::DFromV<V> d;
  const hn::RebindToSigned<decltype(d)> di;
  // Adding 1.5·2²³ + 127 rounds to an integer n and leaves n + 127, the exponent of 2^n, in the low bits.
  constexpr float kInteger = 12582912.0f;
  const V magic = hn::Set(d, kInteger + 127.0f);
  const V shifted = hn::MulAdd(x, unit, magic);
  const V f = hn::MulSub(x, unit, hn::Sub(shifted, magic));
  V p = hn::Set(d, 1.5353362e-4f);
  p = hn::MulAdd(p, f, hn::Set(d, 1.3398875e-3f));
  p = hn::MulAdd(p, f, hn::Set(d, 9.618437e-3f));
  p = hn::MulAdd(p, f, hn::Set(d, 5.5503324e-2f));
  p = hn::MulAdd(p, f, hn::Set(d, 2.4022648e-1f));
  p = hn::MulAdd(p, f, hn::Set(d, 6.931472e-1f));
  p = hn::MulAdd(p, f, hn::Set(d, 1.0f));
  const V power = hn::BitCast(d, hn::ShiftLeft<23>(hn::BitCast(di, shifted)));
  return hn::IfThenZeroElse(hn::Lt(shifted, hn::Set(d, kInteger + 1.0f)), hn::Mul(p, power));
}

// ln x for normal x > 0. Within 0.82 ulp.
template <class V>
HWY_INLINE V log_positive(V x) {
  const hn::DFromV<V> d;
  const hn::RebindToSigned<decltype(d)> di;
  // x = m·2^k with m in [sqrt(1/2), sqrt(2)).
  const auto bits = hn::BitCast(di, x);
  const auto k = hn::ShiftRight<23>(hn::Sub(bits, hn::Set(di, 0x3f3504f3)));
  const V f = hn::ConvertTo(d, k);
  const V m = hn::Sub(hn::BitCast(d, hn::Sub(bits, hn::ShiftLeft<23>(k))), hn::Set(d, 1.0f));
  const V square = hn::Mul(m, m);
  V p = hn::Set(d, 7.0376836292e-2f);
  p = hn::MulAdd(p, m, hn::Set(d, -1.1514610310e-1f));
  p = hn::MulAdd(p, m, hn::Set(d, 1.1676998740e-1f));
  p = hn::MulAdd(p, m, hn::Set(d, -1.2420140846e-1f));
  p = hn::MulAdd(p, m, hn::Set(d, 1.4249322787e-1f));
  p = hn::MulAdd(p, m, hn::Set(d, -1.6668057665e-1f));
  p = hn::MulAdd(p, m, hn::Set(d, 2.0000714765e-1f));
  p = hn::MulAdd(p, m, hn::Set(d, -2.4999993993e-1f));
  p = hn::MulAdd(p, m, hn::Set(d, 3.3333331174e-1f));
  p = hn::Mul(hn::Mul(p, m), square);
  p = hn::MulAdd(f, hn::Set(d, -2.12194440e-4f), p);
  p = hn::MulAdd(square, hn::Set(d, -0.5f), p);
  const V result = hn::MulAdd(f, hn::Set(d, 0.693359375f), hn::Add(m, p));
  return hn::IfThenElse(hn::IsNaN(x), x, result);
}

// x, but not below `least` nor above `most`; NaN stays NaN.
template <class V>
HWY_INLINE V clamped(float least, V x, float most) {
  const hn::DFromV<V> d;
#if HWY_TARGET == HWY_SCALAR  // Min and Max return the operand that is a number here; on x86 they return the second one
  x = hn::IfThenElse(hn::Lt(x, hn::Set(d, least)), hn::Set(d, least), x);
  return hn::IfThenElse(hn::Gt(x, hn::Set(d, most)), hn::Set(d, most), x);
#else
  return hn::Min(hn::Set(d, most), hn::Max(hn::Set(d, least), x));
#endif
}

// 1/(1 + e^−x) for any x: 0 from −89 down, exactly 1 from 17 up. Within 2.5 ulp where the result is a normal float.
template <class V>
HWY_INLINE V sigmoid(V x) {
  const hn::DFromV<V> d;
  const hn::RebindToSigned<decltype(d)> di;
  const V one = hn::Set(d, 1.0f);
  // Above 87 the exponent would not fit; from −89 down the power is infinite.
  const V y = clamped(-89.0f, x, 87.0f);
  // e^−y = 2^n·e^−r. Adding 1.5·2²³ + 127 rounds to n and leaves n + 127, the exponent of 2^n, in the low bits.
  const V magic = hn::Set(d, 12582912.0f + 127.0f);
  const V shifted = hn::NegMulAdd(y, hn::Set(d, 1.44269504088896341f), magic);
  const V n = hn::Sub(shifted, magic);
  // r = y + n·ln 2 in two parts: n times the first is exact.
  V r = hn::MulAdd(n, hn::Set(d, 0.693359375f), y);
  r = hn::MulAdd(n, hn::Set(d, -2.12194440e-4f), r);
  // Minimax for e^−r on [−ln 2 / 2, ln 2 / 2], with the first two terms fixed.
  V p = hn::Set(d, 1.38145401e-3f);
  p = hn::MulAdd(p, r, hn::Set(d, -8.36874514e-3f));
  p = hn::MulAdd(p, r, hn::Set(d, 4.16683908e-2f));
  p = hn::MulAdd(p, r, hn::Set(d, -1.66665204e-1f));
  p = hn::MulAdd(p, r, hn::Set(d, 4.99999934e-1f));
  p = hn::MulAdd(p, r, hn::Set(d, -1.0f));
  p = hn::MulAdd(p, r, one);
  const V power = hn::BitCast(d, hn::ShiftLeft<23>(hn::BitCast(di, shifted)));
  return hn::Div(one, hn::MulAdd(p, power, one));
}

// tanh x for any x: 1 − 2σ(−2|x|) with the sign of x, or near 0, where that would cancel, Cephes' polynomial (tanhf.c).
// Within 1.4 ulp.
template <class V>
HWY_INLINE V tanh_of(V x) {
  const hn::DFromV<V> d;
  const V size = hn::Abs(x);
  const V far = hn::NegMulAdd(hn::Set(d, 2.0f), sigmoid(hn::Mul(hn::Set(d, -2.0f), size)), hn::Set(d, 1.0f));
  const V square = hn::Mul(x, x);
  V p = hn::Set(d, -5.70498872745e-3f);
  p = hn::MulAdd(p, square, hn::Set(d, 2.06390887954e-2f));
  p = hn::MulAdd(p, square, hn::Set(d, -5.37397155531e-2f));
  p = hn::MulAdd(p, square, hn::Set(d, 1.33314422036e-1f));
  p = hn::MulAdd(p, square, hn::Set(d, -3.33332819422e-1f));
  const V near = hn::MulAdd(hn::Mul(p, square), x, x);
  return hn::IfThenElse(hn::Lt(size, hn::Set(d, 0.625f)), near, hn::CopySign(far, x));
}

// ln(1 + e^x) for any x, without overflow or cancellation (minus the log of the sigmoid of −x). Within 2 ulp where the
// result is a normal float.
template <class V>
HWY_INLINE V softplus(V x) {
  const hn::DFromV<V> d;
  const V one = hn::Set(d, 1.0f);
  const V e = exp_nonpositive(hn::Neg(hn::Abs(x)));
  // ln(1 + e): the second term mends the rounding of 1 + e.
  const V u = hn::Add(one, e);
  const V tail = hn::Add(log_positive(u), hn::Div(hn::Sub(e, hn::Sub(u, one)), u));
  return hn::Add(hn::IfThenZeroElse(hn::Lt(x, hn::Zero(d)), x), tail);
}

}  // namespace seqrisk::SEQRISK_VARIANT
