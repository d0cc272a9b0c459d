// adamw on the CPU: a pass over the gradients for their norm, a pass that updates everything.
#include "ops/adamw.h"

#include <cmath>

#include "kernels/cpu/lanes-inl.h"
#include "kernels/cpu/variant.h"
#include "ops/workers.h"

namespace seqrisk::SEQRISK_VARIANT {
namespace {

using Tag = hn::ScalableTag<float>;
using Vec = hn::Vec<Tag>;
constexpr int64_t kLanes = static_cast<int64_t>(hn::MaxLanes(Tag()));

struct Chunk {
  const AdamwTensor& tensor;
  int64_t begin;
  int64_t end;
};

// The last tensor that starts at or before the task (tensors without elements have no tasks).
Chunk chunk_of(const AdamwUpdate& a, int64_t task) {
  int64_t low = 0;
  int64_t high = a.count;
  while (high - low > 1) {
    const int64_t middle = low + (high - low) / 2;
    if (a.tensors[middle].first_task <= task) {
      low = middle;
    } else {
      high = middle;
    }
  }
  const AdamwTensor& tensor = a.tensors[low];
  const int64_t begin = (task - tensor.first_task) * kAdamwElementsPerTask;
  const int64_t end = begin + kAdamwElementsPerTask;
  return {tensor, begin, end < tensor.size ? end : tensor.size};
}

// In double: squares of float32 neither overflow nor lose digits there.
double sum_of_squares(const float* x, int64_t size) {
  const hn::ScalableTag<double> d;
  const hn::Rebind<float, decltype(d)> d_float;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  auto sum0 = hn::Zero(d);
  auto sum1 = hn::Zero(d);
  auto sum2 = hn::Zero(d);
  auto sum3 = hn::Zero(d);
  int64_t i = 0;
  for (; i + 4 * lanes <= size; i += 4 * lanes) {
    const auto x0 = hn::PromoteTo(d, hn::LoadU(d_float, x + i));
    const auto x1 = hn::PromoteTo(d, hn::LoadU(d_float, x + i + lanes));
    const auto x2 = hn::PromoteTo(d, hn::LoadU(d_float, x + i + 2 * lanes));
    const auto x3 = hn::PromoteTo(d, hn::LoadU(d_float, x + i + 3 * lanes));
    sum0 = hn::MulAdd(x0, x0, sum0);
    sum1 = hn::MulAdd(x1, x1, sum1);
    sum2 = hn::MulAdd(x2, x2, sum2);
    sum3 = hn::MulAdd(x3, x3, sum3);
  }
  double sum = hn::GetLane(hn::SumOfLanes(d, hn::Add(hn::Add(sum0, sum1), hn::Add(sum2, sum3))));
  for (; i < size; ++i) sum += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  return sum;
}

// By squaring: the library's pow may round differently from one machine to the next.
double power(double base, int64_t exponent) {
  double result = 1.0;
  for (; exponent > 0; exponent >>= 1, base *= base) {
    if (exponent & 1) result *= base;
  }
  return result;
}

struct Factors {
  Vec clip;
  Vec beta1;
  Vec beta2;
  Vec rest1;    // 1 − β1
  Vec rest2;    // 1 − β2
  Vec v_scale;  // 1 / (1 − β2^step)
  Vec eps;
  Vec step_size;  // lr / (1 − β1^step)
};

struct State {
  Vec value;
  Vec m;
  Vec v;
};

HWY_INLINE State updated(const Factors& f, Vec keep, Vec gradient, State s) {
  const Vec g = hn::Mul(gradient, f.clip);
  s.m = hn::MulAdd(f.beta1, s.m, hn::Mul(f.rest1, g));
  s.v = hn::MulAdd(f.beta2, s.v, hn::Mul(f.rest2, hn::Mul(g, g)));
  const Vec divisor = hn::Add(hn::Sqrt(hn::Mul(s.v, f.v_scale)), f.eps);
  s.value = hn::NegMulAdd(f.step_size, hn::Div(s.m, divisor), hn::Mul(s.value, keep));
  return s;
}

}  // namespace

void adamw_update(const AdamwUpdate& a, Workers& workers) {
  workers.run(a.tasks, [&](int64_t task, int) {
    const Chunk chunk = chunk_of(a, task);
    a.scratch[task] = sum_of_squares(chunk.tensor.gradient + chunk.begin, chunk.end - chunk.begin);
  });
  double squares = 0.0;
  for (int64_t task = 0; task < a.tasks; ++task) squares += a.scratch[task];
  const double norm = sqrt(squares);
  a.norm[0] = static_cast<float>(norm);
  if (!(a.norm[0] <= 3.402823466e38f)) return;  // NaN and infinity alike

  const Tag d;
  const double clip = norm > static_cast<double>(a.max_norm) ? static_cast<double>(a.max_norm) / norm : 1.0;
  const double step_size = static_cast<double>(a.lr) / (1.0 - power(static_cast<double>(a.beta1), a.step));
  const double v_scale = 1.0 / (1.0 - power(static_cast<double>(a.beta2), a.step));
  const Factors f = {hn::Set(d, static_cast<float>(clip)),
                     hn::Set(d, a.beta1),
                     hn::Set(d, a.beta2),
                     hn::Set(d, 1.0f - a.beta1),
                     hn::Set(d, 1.0f - a.beta2),
                     hn::Set(d, static_cast<float>(v_scale)),
                     hn::Set(d, a.eps),
                     hn::Set(d, static_cast<float>(step_size))};
  workers.run(a.tasks, [&](int64_t task, int) {
    const Chunk chunk = chunk_of(a, task);
    const AdamwTensor& t = chunk.tensor;
    const Vec keep = hn::Set(d, t.decay ? 1.0f - a.lr * a.weight_decay : 1.0f);
    int64_t i = chunk.begin;
    for (; i + kLanes <= chunk.end; i += kLanes) {
      const State s = updated(f, keep, hn::LoadU(d, t.gradient + i),
                              {hn::LoadU(d, t.value + i), hn::LoadU(d, t.m + i), hn::LoadU(d, t.v + i)});
      hn::StoreU(s.value, d, t.value + i);
      hn::StoreU(s.m, d, t.m + i);
      hn::StoreU(s.v, d, t.v + i);
      if (a.zero_gradients) hn::StoreU(hn::Zero(d), d, t.gradient + i);
    }
    if (i < chunk.end) {
      const int64_t n = chunk.end - i;
      const State s = updated(f, keep, load_first(d, t.gradient + i, n),
                              {load_first(d, t.value + i, n), load_first(d, t.m + i, n), load_first(d, t.v + i, n)});
      store_first(s.value, d, t.value + i, n);
      store_first(s.m, d, t.m + i, n);
      store_first(s.v, d, t.v + i, n);
      if (a.zero_gradients) store_first(hn::Zero(d), d, t.gradient + i, n);
    }
  });
}

}  // namespace seqrisk::SEQRISK_VARIANT
