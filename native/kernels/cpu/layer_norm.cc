// layer_norm on the CPU: one pass for the moments, one for the result; a row stays in L1 between them.
#include "ops/layer_norm.h"

#include <cmath>

#include "kernels/cpu/ahead-inl.h"
#include "kernels/cpu/variant.h"
#include "ops/workers.h"

namespace seqrisk::SEQRISK_VARIANT {
namespace {

constexpr int64_t kForwardRowsPerTask = 64;

// Sum over the row's whole vectors of what `load` gives at them; callers add the tail. Four accumulators hide the
// latency of the addition.
template <class D, class Load>
HWY_INLINE float row_sum(D d, int64_t width, Load load) {
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  auto sum0 = hn::Zero(d);
  auto sum1 = hn::Zero(d);
  auto sum2 = hn::Zero(d);
  auto sum3 = hn::Zero(d);
  int64_t i = 0;
  for (; i + 4 * lanes <= width; i += 4 * lanes) {
    sum0 = hn::Add(sum0, load(i));
    sum1 = hn::Add(sum1, load(i + lanes));
    sum2 = hn::Add(sum2, load(i + 2 * lanes));
    sum3 = hn::Add(sum3, load(i + 3 * lanes));
  }
  for (; i + lanes <= width; i += lanes) sum0 = hn::Add(sum0, load(i));
  return hn::GetLane(hn::SumOfLanes(d, hn::Add(hn::Add(sum0, sum1), hn::Add(sum2, sum3))));
}

}  // namespace

void layer_norm_forward(const LayerNormForward& a, Workers& workers) {
  const hn::ScalableTag<float> d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const int64_t whole = a.width - a.width % lanes;
  const float inverse_width = 1.0f / static_cast<float>(a.width);
  const bool streamed = is_streamed(a.out, a.rows, a.width);
  const int64_t tasks = (a.rows + kForwardRowsPerTask - 1) / kForwardRowsPerTask;
  workers.run(tasks, [&](int64_t task, int) {
    const int64_t end = task * kForwardRowsPerTask + kForwardRowsPerTask;
    for (int64_t row = task * kForwardRowsPerTask; row < end && row < a.rows; ++row) {
      const float* x = a.x + row * a.width;
      float* out = a.out + row * a.width;
      // Writes past the caches hold the buffers that reads come through: rows are asked for early.
      if (streamed) fetch_ahead(x, (a.rows - row) * a.width, 2 * a.width, 3 * a.width);
      float sum = row_sum(d, whole, [&](int64_t i) { return hn::LoadU(d, x + i); });
      for (int64_t i = whole; i < a.width; ++i) sum += x[i];
      const float mean = sum * inverse_width;
      const auto mean_v = hn::Set(d, mean);
      float squares = row_sum(d, whole, [&](int64_t i) {
        const auto centred = hn::Sub(hn::LoadU(d, x + i), mean_v);
        return hn::Mul(centred, centred);
      });
      for (int64_t i = whole; i < a.width; ++i) squares += (x[i] - mean) * (x[i] - mean);
      const float rstd = 1.0f / sqrtf(squares * inverse_width + a.eps);
      const auto rstd_v = hn::Set(d, rstd);
      for (int64_t i = 0; i < whole; i += lanes) {
        const auto normal = hn::Mul(hn::Sub(hn::LoadU(d, x + i), mean_v), rstd_v);
        const auto result = hn::MulAdd(normal, hn::LoadU(d, a.weight + i), hn::LoadU(d, a.bias + i));
        if (streamed) {
          hn::Stream(result, d, out + i);
        } else {
          hn::StoreU(result, d, out + i);
        }
      }
      for (int64_t i = whole; i < a.width; ++i) out[i] = (x[i] - mean) * rstd * a.weight[i] + a.bias[i];
      if (a.mean) a.mean[row] = mean;
      if (a.rstd) a.rstd[row] = rstd;
    }
    if (streamed) hwy::FlushStream();
  });
}

// With n = (x − mean)·rstd and g = dout ⊙ weight: dx = rstd·(g − avg(g) − n·avg(g ⊙ n)).
void layer_norm_backward(const LayerNormBackward& a, Workers& workers) {
  const hn::ScalableTag<float> d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const int64_t whole = a.width - a.width % lanes;
  const float inverse_width = 1.0f / static_cast<float>(a.width);
  const bool streamed = a.dx && !a.accumulate_dx && is_streamed(a.dx, a.rows, a.width);
  const int64_t tasks = (a.rows + kLayerNormRowsPerTask - 1) / kLayerNormRowsPerTask;
  workers.run(tasks, [&](int64_t task, int) {
    float* dweight = a.scratch + task * 2 * a.width;
    float* dbias = dweight + a.width;
    for (int64_t i = 0; i < 2 * a.width; ++i) dweight[i] = 0.0f;
    const int64_t end = task * kLayerNormRowsPerTask + kLayerNormRowsPerTask;
    for (int64_t row = task * kLayerNormRowsPerTask; row < end && row < a.rows; ++row) {
      const float* x = a.x + row * a.width;
      const float* dout = a.dout + row * a.width;
      const float mean = a.mean[row];
      const float rstd = a.rstd[row];
      const auto mean_v = hn::Set(d, mean);
      const auto rstd_v = hn::Set(d, rstd);
      auto sum_g = hn::Zero(d);
      auto sum_gn = hn::Zero(d);
      for (int64_t i = 0; i < whole; i += lanes) {
        const auto normal = hn::Mul(hn::Sub(hn::LoadU(d, x + i), mean_v), rstd_v);
        const auto dy = hn::LoadU(d, dout + i);
        const auto g = hn::Mul(dy, hn::LoadU(d, a.weight + i));
        sum_g = hn::Add(sum_g, g);
        sum_gn = hn::MulAdd(g, normal, sum_gn);
        hn::StoreU(hn::MulAdd(dy, normal, hn::LoadU(d, dweight + i)), d, dweight + i);
        hn::StoreU(hn::Add(dy, hn::LoadU(d, dbias + i)), d, dbias + i);
      }
      float average_g = hn::GetLane(hn::SumOfLanes(d, sum_g));
      float average_gn = hn::GetLane(hn::SumOfLanes(d, sum_gn));
      for (int64_t i = whole; i < a.width; ++i) {
        const float normal = (x[i] - mean) * rstd;
        const float g = dout[i] * a.weight[i];
        average_g += g;
        average_gn += g * normal;
        dweight[i] += dout[i] * normal;
        dbias[i] += dout[i];
      }
      if (!a.dx) continue;
      average_g *= inverse_width;
      average_gn *= inverse_width;
      float* dx = a.dx + row * a.width;
      const auto average_g_v = hn::Set(d, average_g);
      const auto average_gn_v = hn::Set(d, average_gn);
      for (int64_t i = 0; i < whole; i += lanes) {
        const auto normal = hn::Mul(hn::Sub(hn::LoadU(d, x + i), mean_v), rstd_v);
        const auto g = hn::Mul(hn::LoadU(d, dout + i), hn::LoadU(d, a.weight + i));
        auto value = hn::Mul(hn::NegMulAdd(normal, average_gn_v, hn::Sub(g, average_g_v)), rstd_v);
        if (a.accumulate_dx) value = hn::Add(value, hn::LoadU(d, dx + i));
        if (streamed) {
          hn::Stream(value, d, dx + i);
        } else {
          hn::StoreU(value, d, dx + i);
        }
      }
      for (int64_t i = whole; i < a.width; ++i) {
        const float normal = (x[i] - mean) * rstd;
        const float value = (dout[i] * a.weight[i] - average_g - normal * average_gn) * rstd;
        dx[i] = a.accumulate_dx ? dx[i] + value : value;
      }
    }
    if (streamed) hwy::FlushStream();
  });
  // Partial sums are added in task order: the same bits for any number of workers.
  constexpr int64_t kColumnsPerTask = 64;
  workers.run((a.width + kColumnsPerTask - 1) / kColumnsPerTask, [&](int64_t slice, int) {
    const int64_t end = slice * kColumnsPerTask + kColumnsPerTask;
    for (int64_t task = 0; task < tasks; ++task) {
      const float* partial = a.scratch + task * 2 * a.width;
      for (int64_t i = slice * kColumnsPerTask; i < end && i < a.width; ++i) {
        a.dweight[i] += partial[i];
        a.dbias[i] += partial[a.width + i];
      }
    }
  });
}

}  // namespace seqrisk::SEQRISK_VARIANT
