// softmax_cross_entropy on the CPU: one pass for the maximum, one for the sum; a row stays in the cache between them.
#include "ops/softmax_cross_entropy.h"

#include "kernels/cpu/lanes-inl.h"
#include "kernels/cpu/math-inl.h"
#include "kernels/cpu/variant.h"

namespace seqrisk::SEQRISK_VARIANT {
namespace {

using Tag = hn::ScalableTag<float>;
using Vec = hn::Vec<Tag>;
constexpr int64_t kLanes = static_cast<int64_t>(hn::MaxLanes(Tag()));
// Terms summed in float32 before they go to the double sum.
constexpr int64_t kChunk = 32 * kLanes;

float row_maximum(const float* x, int64_t width) {
  const Tag d;
  const Vec least = hn::Set(d, -__builtin_inff());
  Vec top0 = least;
  Vec top1 = least;
  Vec top2 = least;
  Vec top3 = least;
  int64_t i = 0;
  for (; i + 4 * kLanes <= width; i += 4 * kLanes) {
    top0 = hn::Max(top0, hn::LoadU(d, x + i));
    top1 = hn::Max(top1, hn::LoadU(d, x + i + kLanes));
    top2 = hn::Max(top2, hn::LoadU(d, x + i + 2 * kLanes));
    top3 = hn::Max(top3, hn::LoadU(d, x + i + 3 * kLanes));
  }
  for (; i + kLanes <= width; i += kLanes) top0 = hn::Max(top0, hn::LoadU(d, x + i));
  if (i < width) {
    const auto valid = hn::FirstN(d, static_cast<size_t>(width - i));
    top1 = hn::Max(top1, hn::IfThenElse(valid, load_first(d, x + i, width - i), least));
  }
  return hn::GetLane(hn::MaxOfLanes(d, hn::Max(hn::Max(top0, top1), hn::Max(top2, top3))));
}

// Σ e^(x − top)
double row_sum_of_exp(const float* x, int64_t width, float top) {
  const Tag d;
  const Vec top_v = hn::Set(d, top);
  double sum = 0.0;
  for (int64_t begin = 0; begin < width; begin += kChunk) {
    const int64_t end = begin + kChunk < width ? begin + kChunk : width;
    Vec sum0 = hn::Zero(d);
    Vec sum1 = hn::Zero(d);
    int64_t i = begin;
    for (; i + 2 * kLanes <= end; i += 2 * kLanes) {
      sum0 = hn::Add(sum0, exp_nonpositive(hn::Sub(hn::LoadU(d, x + i), top_v)));
      sum1 = hn::Add(sum1, exp_nonpositive(hn::Sub(hn::LoadU(d, x + i + kLanes), top_v)));
    }
    for (; i < end; i += kLanes) {
      const int64_t n = end - i < kLanes ? end - i : kLanes;
      const Vec e = exp_nonpositive(hn::Sub(load_first(d, x + i, n), top_v));
      sum1 = hn::Add(sum1, hn::IfThenElseZero(hn::FirstN(d, static_cast<size_t>(n)), e));
    }
    sum += static_cast<double>(hn::GetLane(hn::SumOfLanes(d, hn::Add(sum0, sum1))));
  }
  return sum;
}

bool is_first_maximum(const float* x, int64_t index, float top) {
  if (!(x[index] == top)) return false;
  for (int64_t i = 0; i < index; ++i) {
    if (x[i] == top) return false;
  }
  return true;
}

float log_of(float x) {
  return hn::GetLane(log_positive(hn::Set(hn::CappedTag<float, 1>(), x)));
}

}  // namespace

void softmax_cross_entropy_forward(const SoftmaxCrossEntropyForward& a, Workers& workers) {
  const int64_t per_task = softmax_cross_entropy_rows_per_task(a.classes);
  const int64_t tasks = softmax_cross_entropy_tasks(a.rows, a.classes);
  workers.run(tasks, [&](int64_t task, int) {
    double loss = 0.0;
    double weight_sum = 0.0;
    double correct = 0.0;
    const int64_t end = task * per_task + per_task;
    for (int64_t row = task * per_task; row < end && row < a.rows; ++row) {
      const float* x = a.logits + row * a.classes;
      const int32_t target = a.targets[row];
      if (target < -1 || target >= a.classes) {
        a.fault->record("targets in [-1, classes)", row, target);
        continue;
      }
      // What the backward does not look at is defined all the same.
      float top = 0.0f;
      double sum = 1.0;
      if (target >= 0) {
        const float weight = a.weights ? a.weights[row] : 1.0f;
        top = row_maximum(x, a.classes);
        sum = row_sum_of_exp(x, a.classes, top);
        if (weight != 0.0f) {
          loss += static_cast<double>(weight) * (static_cast<double>(log_of(static_cast<float>(sum))) -
                                                 (static_cast<double>(x[target]) - static_cast<double>(top)));
        }
        weight_sum += static_cast<double>(weight);
        correct += is_first_maximum(x, target, top) ? 1.0 : 0.0;
      }
      if (a.row_max) a.row_max[row] = top;
      if (a.row_sum) a.row_sum[row] = static_cast<float>(sum);
    }
    double* partial = a.scratch + task * 3;
    partial[0] = loss;
    partial[1] = weight_sum;
    partial[2] = correct;
  });
  double loss = 0.0;
  double weight_sum = 0.0;
  double correct = 0.0;
  for (int64_t task = 0; task < tasks; ++task) {
    loss += a.scratch[task * 3];
    weight_sum += a.scratch[task * 3 + 1];
    correct += a.scratch[task * 3 + 2];
  }
  a.loss[0] = weight_sum == 0.0 ? 0.0f : static_cast<float>(loss / weight_sum);
  a.correct[0] = static_cast<float>(correct);
  if (a.total) a.total[0] = static_cast<float>(weight_sum);
}

void softmax_cross_entropy_backward(const SoftmaxCrossEntropyBackward& a, Workers& workers) {
  const Tag d;
  const int64_t per_task = softmax_cross_entropy_rows_per_task(a.classes);
  const float total = a.total[0];
  const float share = total == 0.0f ? 0.0f : a.dout[0] / total;
  workers.run(softmax_cross_entropy_tasks(a.rows, a.classes), [&](int64_t task, int) {
    const int64_t end = task * per_task + per_task;
    for (int64_t row = task * per_task; row < end && row < a.rows; ++row) {
      const float* x = a.logits + row * a.classes;
      float* dx = a.dlogits + row * a.classes;
      const int32_t target = a.targets[row];
      const float weight = target < 0 || target >= a.classes ? 0.0f : a.weights ? a.weights[row] : 1.0f;
      if (weight == 0.0f || total == 0.0f) {
        if (a.accumulate_dlogits) continue;
        for (int64_t i = 0; i < a.classes; ++i) dx[i] = 0.0f;
        continue;
      }
      const float coefficient = share * weight;
      const Vec top = hn::Set(d, a.row_max[row]);
      const Vec scale = hn::Set(d, coefficient / a.row_sum[row]);
      for (int64_t i = 0; i < a.classes; i += kLanes) {
        const int64_t n = a.classes - i;
        if (n >= kLanes) {
          const Vec e = exp_nonpositive(hn::Sub(hn::LoadU(d, x + i), top));
          hn::StoreU(a.accumulate_dlogits ? hn::MulAdd(e, scale, hn::LoadU(d, dx + i)) : hn::Mul(e, scale), d, dx + i);
        } else {
          const Vec e = exp_nonpositive(hn::Sub(load_first(d, x + i, n), top));
          const Vec value = a.accumulate_dlogits ? hn::MulAdd(e, scale, load_first(d, dx + i, n)) : hn::Mul(e, scale);
          store_first(value, d, dx + i, n);
        }
      }
      dx[target] -= coefficient;
    }
  });
}

}  // namespace seqrisk::SEQRISK_VARIANT
