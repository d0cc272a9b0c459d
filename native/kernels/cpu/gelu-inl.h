// GELU, x·Φ(x) with the normal distribution function Φ (Hendrycks & Gimpel 2016), and its slope Φ(x) + x·φ(x).
// Both Φ and the slope are 1/2 plus an odd function: 1/2 + x·P(u) with u = 2·(x/limit)² − 1 and P the Chebyshev
// interpolant in u, below 2e-7 off in float32; beyond the limit they are 0 and 1. No exp, no division.
#pragma once

#include "kernels/cpu/variant.h"

namespace seqrisk::SEQRISK_VARIANT {

// Highest power first.
constexpr float kNormalCdfLimit = 5.5f;
constexpr float kNormalCdf[] = {0.000118079995f, -0.000285676331f, 0.000183916665f, -0.000356754608f, 0.00140742643f,
                                -0.00265870243f, 0.00407412974f,   -0.00665067835f, 0.0104686366f,    -0.015062524f,
                                0.0203073174f,   -0.0260361508f,   0.0320769101f,   -0.0387937948f,   0.0477373339f,
                                -0.0641723126f,  0.12855193f};
constexpr float kGeluSlopeLimit = 5.75f;
constexpr float kGeluSlope[] = {0.00130369363f, -0.00298404042f, 0.000620356412f, -0.000677934557f, 0.0110498974f,
                                -0.0197541155f, 0.0221060105f,   -0.0318664163f,  0.0485110395f,    -0.0608625636f,
                                0.0676381662f,  -0.0701620355f,  0.0670739785f,   -0.0595851168f,   0.0516773537f,
                                -0.0472902991f, 0.0493682437f,   -0.0622814819f,  0.12307182f};

template <class V, int kTerms>
HWY_INLINE V sigmoidal(V x, float limit, const float (&terms)[kTerms]) {
  const hn::DFromV<V> d;
  const auto is_far = hn::Gt(hn::Abs(x), hn::Set(d, limit));
  const V near = hn::IfThenZeroElse(is_far, x);  // NaN passes
  const V u = hn::MulAdd(hn::Mul(near, near), hn::Set(d, 2.0f / (limit * limit)), hn::Set(d, -1.0f));
  V sum = hn::Set(d, terms[0]);
  for (int i = 1; i < kTerms; ++i) sum = hn::MulAdd(sum, u, hn::Set(d, terms[i]));
  const V far = hn::IfThenElseZero(hn::Gt(x, hn::Zero(d)), hn::Set(d, 1.0f));
  return hn::IfThenElse(is_far, far, hn::MulAdd(near, sum, hn::Set(d, 0.5f)));
}

template <class V>
HWY_INLINE V gelu(V x) {
  return hn::Mul(x, sigmoidal(x, kNormalCdfLimit, kNormalCdf));
}

template <class V>
HWY_INLINE V gelu_slope(V x) {
  return sigmoidal(x, kGeluSlopeLimit, kGeluSlope);
}

}  // namespace seqrisk::SEQRISK_VARIANT
