// logistic on the CPU: per tile of rows two small matrix products (scores, gradient) in registers, 4 rows × 2 problems
// and 4 problems × 2 vectors, with the residual between them.
#include "ops/logistic.h"

#include "kernels/cpu/math-inl.h"
#include "kernels/cpu/variant.h"
#include "ops/workers.h"

namespace seqrisk::SEQRISK_VARIANT {
namespace {

constexpr int64_t kTile = kLogisticTile;

using D = hn::ScalableTag<float>;
using V = hn::Vec<D>;

HWY_INLINE int64_t smaller(int64_t a, int64_t b) {
  return a < b ? a : b;
}

// scores[j][r] = x[r]·weight[j] for `count` rows from x and all `lines` of weight. A missing row or line of a block
// repeats the last one.
void tile_scores(const float* x, int64_t count, const float* weight, int64_t lines, int64_t width, float* scores) {
  const D d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const int64_t whole = width - width % lanes;
  for (int64_t j = 0; j < lines; j += 2) {
    const bool two = j + 1 < lines;
    const float* w0 = weight + j * width;
    const float* w1 = two ? w0 + width : w0;
    for (int64_t r = 0; r < count; r += 4) {
      const float* x0 = x + r * width;
      const float* x1 = x + smaller(r + 1, count - 1) * width;
      const float* x2 = x + smaller(r + 2, count - 1) * width;
      const float* x3 = x + smaller(r + 3, count - 1) * width;
      V a0 = hn::Zero(d), a1 = hn::Zero(d), a2 = hn::Zero(d), a3 = hn::Zero(d);
      V b0 = hn::Zero(d), b1 = hn::Zero(d), b2 = hn::Zero(d), b3 = hn::Zero(d);
      for (int64_t i = 0; i < whole; i += lanes) {
        const V u = hn::LoadU(d, w0 + i);
        const V v = hn::LoadU(d, w1 + i);
        const V p = hn::LoadU(d, x0 + i);
        const V q = hn::LoadU(d, x1 + i);
        a0 = hn::MulAdd(p, u, a0);
        b0 = hn::MulAdd(p, v, b0);
        a1 = hn::MulAdd(q, u, a1);
        b1 = hn::MulAdd(q, v, b1);
        const V s = hn::LoadU(d, x2 + i);
        const V t = hn::LoadU(d, x3 + i);
        a2 = hn::MulAdd(s, u, a2);
        b2 = hn::MulAdd(s, v, b2);
        a3 = hn::MulAdd(t, u, a3);
        b3 = hn::MulAdd(t, v, b3);
      }
      const V sums[8] = {a0, a1, a2, a3, b0, b1, b2, b3};
      const float* rows[4] = {x0, x1, x2, x3};
      for (int64_t k = 0; k < (two ? 8 : 4); ++k) {
        if (r + k % 4 >= count) continue;
        const float* row = rows[k % 4];
        const float* line = k < 4 ? w0 : w1;
        float sum = hn::GetLane(hn::SumOfLanes(d, sums[k]));
        for (int64_t i = whole; i < width; ++i) sum += row[i] * line[i];
        scores[(j + k / 4) * kTile + r + k % 4] = sum;
      }
    }
  }
}

// gradient[j] += Σ_r residual[j][r]·x[r].
void tile_gradient(const float* x, int64_t count, const float* residual, int64_t lines, int64_t width,
                   float* gradient) {
  const D d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const int64_t pairs = width - width % (2 * lanes);
  const auto add = [&](float* to, V sum) { hn::StoreU(hn::Add(hn::LoadU(d, to), sum), d, to); };
  for (int64_t j = 0; j < lines; j += 4) {
    const int64_t j1 = smaller(j + 1, lines - 1);
    const int64_t j2 = smaller(j + 2, lines - 1);
    const int64_t j3 = smaller(j + 3, lines - 1);
    const float* r0 = residual + j * kTile;
    const float* r1 = residual + j1 * kTile;
    const float* r2 = residual + j2 * kTile;
    const float* r3 = residual + j3 * kTile;
    for (int64_t i = 0; i < pairs; i += 2 * lanes) {
      V a0 = hn::Zero(d), a1 = hn::Zero(d), a2 = hn::Zero(d), a3 = hn::Zero(d);
      V b0 = hn::Zero(d), b1 = hn::Zero(d), b2 = hn::Zero(d), b3 = hn::Zero(d);
      for (int64_t r = 0; r < count; ++r) {
        const V u = hn::LoadU(d, x + r * width + i);
        const V v = hn::LoadU(d, x + r * width + i + lanes);
        const V s0 = hn::Set(d, r0[r]);
        a0 = hn::MulAdd(s0, u, a0);
        b0 = hn::MulAdd(s0, v, b0);
        const V s1 = hn::Set(d, r1[r]);
        a1 = hn::MulAdd(s1, u, a1);
        b1 = hn::MulAdd(s1, v, b1);
        const V s2 = hn::Set(d, r2[r]);
        a2 = hn::MulAdd(s2, u, a2);
        b2 = hn::MulAdd(s2, v, b2);
        const V s3 = hn::Set(d, r3[r]);
        a3 = hn::MulAdd(s3, u, a3);
        b3 = hn::MulAdd(s3, v, b3);
      }
      add(gradient + j * width + i, a0);
      add(gradient + j * width + i + lanes, b0);
      if (j1 > j) {
        add(gradient + j1 * width + i, a1);
        add(gradient + j1 * width + i + lanes, b1);
      }
      if (j2 > j1) {
        add(gradient + j2 * width + i, a2);
        add(gradient + j2 * width + i + lanes, b2);
      }
      if (j3 > j2) {
        add(gradient + j3 * width + i, a3);
        add(gradient + j3 * width + i + lanes, b3);
      }
    }
    for (int64_t k = j; k <= j3; ++k) {
      for (int64_t i = pairs; i < width; ++i) {
        float sum = 0.0f;
        for (int64_t r = 0; r < count; ++r) sum += residual[k * kTile + r] * x[r * width + i];
        gradient[k * width + i] += sum;
      }
    }
  }
}

// Scores of one binary problem become residuals; returns the loss. Rows with a negative target give 0.
double binary_residual(const float* target, float* scores) {
  const D d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const V zero = hn::Zero(d);
  V loss = zero;
  for (int64_t r = 0; r < kTile; r += lanes) {
    const V t = hn::LoadU(d, target + r);
    const V z = hn::LoadU(d, scores + r);
    const auto counts = hn::Ge(t, zero);
    const V row_loss = hn::NegMulAdd(t, z, softplus(z));
    loss = hn::Add(loss, hn::IfThenElseZero(counts, row_loss));
    hn::StoreU(hn::IfThenElseZero(counts, hn::Sub(sigmoid(z), t)), d, scores + r);
  }
  return static_cast<double>(hn::GetLane(hn::SumOfLanes(d, loss)));
}

// The same for softmax over `outputs` lines of scores.
double softmax_residual(const float* target, int64_t outputs, float* scores) {
  const D d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const V zero = hn::Zero(d);
  V loss = zero;
  for (int64_t r = 0; r < kTile; r += lanes) {
    const V t = hn::LoadU(d, target + r);
    const auto counts = hn::Ge(t, zero);
    V largest = hn::LoadU(d, scores + r);
    for (int64_t k = 1; k < outputs; ++k) largest = hn::Max(largest, hn::LoadU(d, scores + k * kTile + r));
    V total = zero;
    V chosen = zero;
    for (int64_t k = 0; k < outputs; ++k) {
      const V z = hn::Sub(hn::LoadU(d, scores + k * kTile + r), largest);
      chosen = hn::IfThenElse(hn::Eq(t, hn::Set(d, static_cast<float>(k))), z, chosen);
      const V e = exp_nonpositive(z);
      total = hn::Add(total, e);
      hn::StoreU(e, d, scores + k * kTile + r);
    }
    loss = hn::Add(loss, hn::IfThenElseZero(counts, hn::Sub(log_positive(total), chosen)));
    for (int64_t k = 0; k < outputs; ++k) {
      const V p = hn::Div(hn::LoadU(d, scores + k * kTile + r), total);
      const V hit = hn::Set(d, static_cast<float>(k));
      const V residual = hn::IfThenElse(hn::Eq(t, hit), hn::Sub(p, hn::Set(d, 1.0f)), p);
      hn::StoreU(hn::IfThenElseZero(counts, residual), d, scores + k * kTile + r);
    }
  }
  return static_cast<double>(hn::GetLane(hn::SumOfLanes(d, loss)));
}

}  // namespace

void logistic_gradient(const LogisticGradient& a, Workers& workers) {
  const int64_t lines = a.active * a.outputs;
  const int64_t tasks = logistic_tasks(a.rows);
  const int64_t rows_per_task = logistic_rows_per_task(a.rows);
  const int64_t classes = a.outputs == 1 ? 2 : a.outputs;
  auto* const losses = reinterpret_cast<double*>(a.scratch);
  auto* const floats = reinterpret_cast<float*>(losses + tasks * a.active);
  const int64_t floats_per_task = lines * (a.width + kTile);
  for (int64_t i = 0; i < a.active; ++i) {
    if (a.problem[i] < 0 || a.problem[i] >= a.problems) {
      a.fault->record("problem numbers below the rows of target", i, a.problem[i]);
      return;
    }
  }
  workers.run(tasks, [&](int64_t task, int) {
    double* loss = losses + task * a.active;
    float* gradient = floats + task * floats_per_task;
    float* scores = gradient + lines * a.width;
    for (int64_t i = 0; i < a.active; ++i) loss[i] = 0.0;
    // The scores too: rows that a short tile lacks are computed on.
    for (int64_t i = 0; i < floats_per_task; ++i) gradient[i] = 0.0f;
    const int64_t end = smaller(a.rows, (task + 1) * rows_per_task);
    for (int64_t row = task * rows_per_task; row < end; row += kTile) {
      const int64_t count = smaller(kTile, end - row);
      const float* x = a.x + row * a.width;
      tile_scores(x, count, a.weight, lines, a.width, scores);
      for (int64_t line = 0; a.scores && line < lines; ++line) {
        for (int64_t r = 0; r < count; ++r) a.scores[line * a.rows + row + r] = scores[line * kTile + r];
      }
      for (int64_t i = 0; i < a.active; ++i) {
        float target[kTile];
        const int64_t start = a.problem[i] * a.rows + row;
        for (int64_t r = 0; r < kTile; ++r) {
          const int32_t t = r < count ? a.target[start + r] : -1;
          if (t < -1 || t >= classes) {
            a.fault->record("targets to be classes or -1", start + r, t);
            return;
          }
          target[r] = static_cast<float>(t);
        }
        float* own = scores + i * a.outputs * kTile;
        loss[i] += a.outputs == 1 ? binary_residual(target, own) : softmax_residual(target, a.outputs, own);
      }
      tile_gradient(x, count, scores, lines, a.width, gradient);
    }
  });
  // Partial sums are added in task order: the same bits for any number of workers.
  workers.run(lines, [&](int64_t line, int) {
    for (int64_t i = 0; i < a.width; ++i) {
      double sum = 0.0;
      for (int64_t task = 0; task < tasks; ++task) sum += floats[task * floats_per_task + line * a.width + i];
      a.gradient[line * a.width + i] = static_cast<float>(sum);
    }
    if (line % a.outputs != 0) return;
    const int64_t i = line / a.outputs;
    double sum = 0.0;
    for (int64_t task = 0; task < tasks; ++task) sum += losses[task * a.active + i];
    a.loss[2 * i] = static_cast<float>(sum);
    a.loss[2 * i + 1] = static_cast<float>(sum - static_cast<double>(a.loss[2 * i]));
  });
}

}  // namespace seqrisk::SEQRISK_VARIANT
