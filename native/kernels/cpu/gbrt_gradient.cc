// gbrt_gradient on the CPU. No fused multiply-adds: every variant rounds alike, so that models have the same bits.
#include "kernels/cpu/gbrt_cells-inl.h"
#include "ops/gbrt_tree.h"
#include "ops/same_math.h"
#include "ops/workers.h"

namespace seqrisk::SEQRISK_VARIANT {
namespace {

constexpr int64_t kRun = 512;  // rows whose gradients are worked on together

// Nearest integer, ties to even, of |x| < 2^51: adding 1.5·2^52 leaves it in the low bits.
HWY_INLINE int64_t nearest(double x) {
  constexpr double kMagic = 6755399441055744.0;
  return __builtin_bit_cast(int64_t, x + kMagic) - __builtin_bit_cast(int64_t, kMagic);
}

// e^x for x ≤ 0; results below 2^−126 are 0. Cephes' expf (Moshier), with products and sums rounded one by one.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V exp_alike(D d, V x) {
  const hn::RebindToSigned<D> di;
  const auto add = [](V a, V b) { return hn::Add(a, b); };
  const auto mul = [](V a, V b) { return hn::Mul(a, b); };
  const V magic = hn::Set(d, 12582912.0f);
  const V clamped = hn::Max(x, hn::Set(d, -88.0f));
  const V shifted = add(mul(clamped, hn::Set(d, 1.44269504088896341f)), magic);
  const V n = hn::Sub(shifted, magic);
  V r = add(mul(n, hn::Set(d, -0.693359375f)), clamped);
  r = add(mul(n, hn::Set(d, 2.12194440e-4f)), r);
  V p = hn::Set(d, 1.9875691500e-4f);
  p = add(mul(p, r), hn::Set(d, 1.3981999507e-3f));
  p = add(mul(p, r), hn::Set(d, 8.3334519073e-3f));
  p = add(mul(p, r), hn::Set(d, 4.1665795894e-2f));
  p = add(mul(p, r), hn::Set(d, 1.6666665459e-1f));
  p = add(mul(p, r), hn::Set(d, 5.0000001201e-1f));
  p = add(add(mul(p, mul(r, r)), r), hn::Set(d, 1.0f));
  const auto power = hn::Add(hn::ShiftLeft<23>(hn::BitCast(di, shifted)), hn::Set(di, 127 << 23));
  return hn::IfThenElseZero(hn::Ge(x, hn::Set(d, -87.33f)), mul(p, hn::BitCast(d, power)));
}

// g = p − t, h = p·(1 − p) with p = σ(score).
void logistic_run(const double* score, const float* target, int64_t count, float* g, float* h) {
  const hn::ScalableTag<float> d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  HWY_ALIGN float x[kRun];
  HWY_ALIGN float t[kRun];
  for (int64_t i = 0; i < kRun; ++i) {
    x[i] = i < count ? static_cast<float>(score[i]) : 0.0f;
    t[i] = i < count ? target[i] : 0.0f;
  }
  const auto one = hn::Set(d, 1.0f);
  for (int64_t i = 0; i < count; i += lanes) {
    const auto v = hn::Load(d, x + i);
    const auto e = exp_alike(d, hn::Neg(hn::Abs(v)));
    const auto small = hn::Div(e, hn::Add(one, e));  // σ(−|v|)
    const auto p = hn::IfThenElse(hn::Lt(v, hn::Zero(d)), small, hn::Sub(one, small));
    hn::StoreU(hn::Sub(p, hn::Load(d, t + i)), d, g + i);
    hn::StoreU(hn::Mul(small, hn::Sub(one, small)), d, h + i);
  }
}

// A Hessian in fixed point, never 0 for one above it: rows whose gradient is left and whose Hessian is not would make
// leaves of any height.
HWY_INLINE int64_t nearest_above_zero(double h) {
  return nearest(h > 0 && h < 1 ? 1.0 : h);
}

void pack_run(const GbrtGradient& a, const double* g, const double* h, const float* weight, int64_t count,
              int64_t* packed) {
  const int64_t one = a.constant_hessian ? 1 : 0;
  if (!weight) {
    for (int64_t i = 0; i < count; ++i) {
      packed[i] = (nearest(g[i] * a.g_scale) << a.shift) + (one ? 1 : nearest_above_zero(h[i] * a.h_scale));
    }
  } else if (a.whole_weights) {
    for (int64_t i = 0; i < count; ++i) {
      const int64_t value = (nearest(g[i] * a.g_scale) << a.shift) + (one ? 1 : nearest_above_zero(h[i] * a.h_scale));
      packed[i] = value * static_cast<int64_t>(weight[i]);
    }
  } else {
    for (int64_t i = 0; i < count; ++i) {
      const double w = weight[i];
      packed[i] = (nearest(g[i] * w * a.g_scale) << a.shift) + nearest_above_zero(h[i] * w * a.h_scale);
    }
  }
}

// Largest |g|, of all or of the rows that train. One chain of comparisons for each lane: one alone waits for itself.
double largest(const double* g, int64_t count, const uint8_t* trains) {
  constexpr int64_t kChains = 16;
  double most[kChains] = {};
  for (int64_t i = 0; i < count; i += kChains) {
    const int64_t chains = count - i < kChains ? count - i : kChains;
    for (int64_t k = 0; k < chains; ++k) {
      const double size = trains && !trains[i + k] ? 0.0 : g[i + k] < 0 ? -g[i + k] : g[i + k];
      most[k] = size > most[k] ? size : most[k];
    }
  }
  double result = 0;
  for (const double own : most) result = own > result ? own : result;
  return result;
}

// Gradients of rows [row, row + count), count ≤ kRun.
void gradient_run(const GbrtGradient& a, int64_t row, int64_t count, double* g, double* h) {
  const double* score = a.scores + a.cls * a.bins.rows + row;
  switch (a.objective) {
    case GbrtObjective::squared:
      for (int64_t i = 0; i < count; ++i) {
        const double target = static_cast<double>(a.targets[row + i]);
        g[i] = score[i] - (a.classes == 1 ? target : target == static_cast<double>(a.cls) ? 1.0 : 0.0);
        h[i] = 1.0;
      }
      break;
    case GbrtObjective::logistic: {
      float narrow_g[kRun];
      float narrow_h[kRun];
      logistic_run(score, a.targets + row, count, narrow_g, narrow_h);
      for (int64_t i = 0; i < count; ++i) {
        g[i] = narrow_g[i];
        h[i] = narrow_h[i];
      }
      break;
    }
    case GbrtObjective::softmax: {
      double* log_sum = a.log_sum + row;
      if (a.cls == 0) {
        for (int64_t i = 0; i < count; ++i) {
          double most = score[i];
          for (int64_t k = 1; k < a.classes; ++k) {
            const double s = a.scores[k * a.bins.rows + row + i];
            most = s > most ? s : most;
          }
          double sum = 0;
          for (int64_t k = 0; k < a.classes; ++k) sum += same_exp(a.scores[k * a.bins.rows + row + i] - most);
          log_sum[i] = most + same_log(sum);
        }
      }
      // LightGBM's factor: a class's score moves against the others' (Friedman 2001, section 4.6).
      const double factor = static_cast<double>(a.classes) / static_cast<double>(a.classes - 1);
      for (int64_t i = 0; i < count; ++i) {
        const double p = same_exp(score[i] - log_sum[i]);
        const double bounded = p < 1.0 ? p : 1.0;
        g[i] = bounded - (static_cast<int64_t>(a.targets[row + i]) == a.cls ? 1.0 : 0.0);
        h[i] = factor * bounded * (1.0 - bounded);
      }
      break;
    }
    case GbrtObjective::custom:
      for (int64_t i = 0; i < count; ++i) {
        g[i] = a.custom_grad[row + i];
        h[i] = a.custom_hess[row + i];
      }
      break;
  }
}

void update_scores(const GbrtGradient& a, int64_t block, int64_t blocks) {
  double* score = a.update_scores + block * kGbrtBlockRows;
  if (a.is_identity) {
    const int64_t left = a.bins.rows - block * kGbrtBlockRows;
    const int64_t count = left < kGbrtBlockRows ? left : kGbrtBlockRows;
    for (int64_t i = 0; i < count; ++i) score[i] += a.value[0];
    return;
  }
  for (int64_t leaf = 0; leaf < a.leaves; ++leaf) {
    const GbrtSegment segment = a.segments[leaf * blocks + block];
    const uint16_t* offset = a.index + block * kGbrtBlockRows + segment.begin;
    const double value = a.value[leaf];
    for (int64_t i = 0; i < segment.in + segment.out; ++i) score[offset[i]] += value;
  }
}

// Rows that train first, then the others; returns how many train.
int64_t list_rows(const uint8_t* trains, int64_t rows, uint16_t* index) {
  int64_t in = 0;
  for (int64_t i = 0; i < rows; ++i) in += trains[i];
  int64_t next_in = 0;
  int64_t next_out = in;
  for (int64_t i = 0; i < rows; ++i) {
    if (trains[i]) {
      index[next_in++] = static_cast<uint16_t>(i);
    } else {
      index[next_out++] = static_cast<uint16_t>(i);
    }
  }
  return in;
}

}  // namespace

void gbrt_gradient(const GbrtGradient& a, Workers& workers) {
  const int64_t blocks = gbrt_blocks(a.bins.rows);
  workers.run(blocks, [&](int64_t block, int worker) {
    if (a.leaves > 0) update_scores(a, block, blocks);
    if (!a.packed) return;
    const int64_t base = block * kGbrtBlockRows;
    const int64_t rows = a.bins.rows - base < kGbrtBlockRows ? a.bins.rows - base : kGbrtBlockRows;
    double most = 0;
    for (int64_t first = 0; first < rows; first += kRun) {
      const int64_t row = base + first;
      const int64_t count = rows - first < kRun ? rows - first : kRun;
      const float* weight = a.weights ? a.weights + row : nullptr;
      double g[kRun];
      double h[kRun];
      gradient_run(a, row, count, g, h);
      if (a.objective == GbrtObjective::squared) {
        const double own = largest(g, count, a.bounds_all_rows || !a.trains ? nullptr : a.trains + row);
        most = own > most ? own : most;
      }
      pack_run(a, g, h, weight, count, a.packed + row);
    }
    a.most_residual[block] = most;
    if (!a.trains) {
      a.root[block] = {0, static_cast<uint16_t>(rows), 0};
      add_rows(a.bins, a.packed, a.shift, EveryRow{base}, rows, weight_bound(a.weight_bounds, block, rows),
               a.cells.of(worker));
      return;
    }
    uint16_t* index = a.index + base;
    const int64_t in = list_rows(a.trains + base, rows, index);
    a.root[block] = {0, static_cast<uint16_t>(in), static_cast<uint16_t>(rows - in)};
    add_rows(a.bins, a.packed, a.shift, ListedRows<uint16_t>{base, index}, in, weight_bound(a.weight_bounds, block, in),
             a.cells.of(worker));
  });
}

}  // namespace seqrisk::SEQRISK_VARIANT
