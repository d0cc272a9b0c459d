// l2_normalize on the CPU: a row stays in L1 between its norm and its result.
#include "ops/l2_normalize.h"

#include <cmath>

#include "kernels/cpu/lanes-inl.h"
#include "kernels/cpu/variant.h"
#include "ops/workers.h"

namespace seqrisk::SEQRISK_VARIANT {
namespace {

using Tag = hn::ScalableTag<float>;
using Vec = hn::Vec<Tag>;
constexpr int64_t kLanes = static_cast<int64_t>(hn::MaxLanes(Tag()));

// Σ a·b in double: the squares of large floats would overflow, those of small ones vanish.
double dot(const float* a, const float* b, int64_t width) {
  const hn::ScalableTag<double> d;
  const hn::Rebind<float, decltype(d)> d_float;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  auto sum0 = hn::Zero(d);
  auto sum1 = hn::Zero(d);
  int64_t i = 0;
  for (; i + 2 * lanes <= width; i += 2 * lanes) {
    sum0 = hn::MulAdd(hn::PromoteTo(d, hn::LoadU(d_float, a + i)), hn::PromoteTo(d, hn::LoadU(d_float, b + i)), sum0);
    sum1 = hn::MulAdd(hn::PromoteTo(d, hn::LoadU(d_float, a + i + lanes)),
                      hn::PromoteTo(d, hn::LoadU(d_float, b + i + lanes)), sum1);
  }
  double sum = hn::GetLane(hn::SumOfLanes(d, hn::Add(sum0, sum1)));
  for (; i < width; ++i) sum += static_cast<double>(a[i]) * static_cast<double>(b[i]);
  return sum;
}

template <class F>
void each_row(int64_t rows, Workers& workers, F f) {
  workers.run((rows + kL2NormalizeRowsPerTask - 1) / kL2NormalizeRowsPerTask, [&](int64_t task, int) {
    const int64_t end = task * kL2NormalizeRowsPerTask + kL2NormalizeRowsPerTask;
    for (int64_t row = task * kL2NormalizeRowsPerTask; row < end && row < rows; ++row) f(row);
  });
}

}  // namespace

void l2_normalize_forward(const L2NormalizeForward& a, Workers& workers) {
  const Tag d;
  each_row(a.rows, workers, [&](int64_t row) {
    const float* x = a.x + row * a.width;
    float* out = a.out + row * a.width;
    const double norm = sqrt(dot(x, x, a.width));
    const float scale =
        static_cast<float>(1.0 / (norm < static_cast<double>(a.eps) ? static_cast<double>(a.eps) : norm));
    const Vec scale_v = hn::Set(d, scale);
    int64_t i = 0;
    for (; i + kLanes <= a.width; i += kLanes) hn::StoreU(hn::Mul(hn::LoadU(d, x + i), scale_v), d, out + i);
    if (i < a.width) store_first(hn::Mul(load_first(d, x + i, a.width - i), scale_v), d, out + i, a.width - i);
    a.scale[row] = scale;
  });
}

void l2_normalize_backward(const L2NormalizeBackward& a, Workers& workers) {
  const Tag d;
  const float largest = 1.0f / a.eps;
  each_row(a.rows, workers, [&](int64_t row) {
    const float* out = a.out + row * a.width;
    const float* dout = a.dout + row * a.width;
    float* dx = a.dx + row * a.width;
    const float scale = a.scale[row];
    const float along = scale < largest ? static_cast<float>(dot(out, dout, a.width)) : 0.0f;
    const Vec along_v = hn::Set(d, along);
    const Vec scale_v = hn::Set(d, scale);
    const auto value = [&](Vec y, Vec dy, Vec before) {
      const Vec result = hn::Mul(hn::NegMulAdd(y, along_v, dy), scale_v);
      return a.accumulate_dx ? hn::Add(before, result) : result;
    };
    const Vec zero = hn::Zero(d);
    int64_t i = 0;
    for (; i + kLanes <= a.width; i += kLanes) {
      const Vec before = a.accumulate_dx ? hn::LoadU(d, dx + i) : zero;
      hn::StoreU(value(hn::LoadU(d, out + i), hn::LoadU(d, dout + i), before), d, dx + i);
    }
    if (i < a.width) {
      const int64_t n = a.width - i;
      const Vec before = a.accumulate_dx ? load_first(d, dx + i, n) : zero;
      store_first(value(load_first(d, out + i, n), load_first(d, dout + i, n), before), d, dx + i, n);
    }
  });
}

}  // namespace seqrisk::SEQRISK_VARIANT
