// gbrt_find on the CPU: feature by feature, the workers' cells become a histogram, the sibling's follows by
// subtraction, and both are searched. Gains are computed in float64 without fused operations: the same bits in every
// variant. Ties go to the lowest feature (the caller's part), the lowest bin, and missing values to the heavier child.
#include "kernels/cpu/gbrt_cells-inl.h"
#include "ops/gbrt_gain.h"
#include "ops/workers.h"

namespace seqrisk::SEQRISK_VARIANT {
namespace {

// What lies left of each bin's bound: sums, and rows estimated bin by bin.
struct Lefts {
  double* g;
  double* h;
  double* rows;
};

// Gain of both children for the lefts of `count` bins, or −infinity; returns the largest.
double gains(const Lefts& left, int64_t count, const GbrtTotals& t, const GbrtSearch& s, double* gain) {
  const hn::ScalableTag<double> d;
  using V = hn::Vec<decltype(d)>;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const V none = hn::Set(d, kGbrtNoGain);
  V most = none;
  for (int64_t b = 0; b < count; b += lanes) {
    const V left_g = hn::Load(d, left.g + b);
    const V left_h = hn::Load(d, left.h + b);
    const V left_rows = hn::Load(d, left.rows + b);
    const V right_g = hn::Sub(hn::Set(d, t.g), left_g);
    const V right_h = hn::Sub(hn::Set(d, t.h), left_h);
    const auto side = [&](V g, V h) {
      const V size = hn::Max(hn::Sub(hn::Abs(g), hn::Set(d, s.lambda_l1)), hn::Zero(d));
      return hn::Div(hn::Mul(size, size), hn::Add(h, hn::Set(d, s.lambda_l2)));
    };
    const auto fits = [&](V h, V rows) {
      return hn::And(hn::And(hn::Ge(rows, hn::Set(d, s.min_count)), hn::Ge(h, hn::Set(d, s.min_hessian))),
                     hn::Gt(h, hn::Zero(d)));
    };
    const V sum = hn::Add(side(left_g, left_h), side(right_g, right_h));
    const auto valid = hn::And(hn::And(fits(left_h, left_rows), fits(right_h, hn::Sub(hn::Set(d, t.count), left_rows))),
                               hn::Gt(sum, hn::Set(d, t.shift)));
    const V value = hn::IfThenElse(valid, sum, none);
    hn::Store(value, d, gain + b);
    most = hn::Max(most, value);
  }
  return hn::GetLane(hn::MaxOfLanes(d, most));
}

// The same, one by one, within bounds; `sign` of the feature's constraint.
double bounded_gains(const Lefts& lefts, int64_t count, const GbrtTotals& t, const GbrtSearch& s, int sign,
                     double* gain) {
  double most = kGbrtNoGain;
  for (int64_t b = 0; b < count; ++b) {
    gain[b] = gbrt_numeric_gain(lefts.g[b], lefts.h[b], lefts.rows[b], t, s, sign);
    most = gain[b] > most ? gain[b] : most;
  }
  return most;
}

void take(const int64_t* cells, double count, const GbrtTotals& t, bool heavier_left, GbrtSplit* best, double gain,
          int64_t bin, int64_t nan_bin, bool nan_left) {
  best->gain = gain - t.shift;
  best->bin = static_cast<int16_t>(bin);
  best->nan_left = nan_left || (nan_bin < 0 && heavier_left);
  best->is_category = false;
  best->left_g = 0;
  best->left_h = 0;
  for (int64_t b = 0; b <= bin; ++b) {
    best->left_g += cells[b];
    best->left_h += cells[kGbrtCells + b];
  }
  if (nan_left && nan_bin >= 0) {
    best->left_g += cells[nan_bin];
    best->left_h += cells[kGbrtCells + nan_bin];
  }
  best->left_count = count;
}

void search_numeric(const int64_t* cells, const GbrtFeature& feature, const GbrtTotals& t, const GbrtSearch& s,
                    int sign, GbrtSplit* best) {
  constexpr int64_t kPadded = kGbrtCells + 16;
  HWY_ALIGN double gl[kPadded];
  HWY_ALIGN double hl[kPadded];
  HWY_ALIGN double rows[kPadded];
  HWY_ALIGN double gain[kPadded];
  const int64_t bins = feature.bins;
  if (bins < 1) return;
  int64_t g = 0;
  int64_t h = 0;
  int64_t counted = 0;
  for (int64_t b = 0; b < bins; ++b) {
    g += cells[b];
    h += cells[kGbrtCells + b];
    counted += gbrt_whole_count(static_cast<double>(cells[kGbrtCells + b]) * s.h_unit, t.per_hessian);
    gl[b] = static_cast<double>(g) * s.g_unit;
    hl[b] = static_cast<double>(h) * s.h_unit;
    rows[b] = static_cast<double>(counted);
  }
  const int64_t nan_g = feature.has_nan ? cells[bins] : 0;
  const int64_t nan_h = feature.has_nan ? cells[kGbrtCells + bins] : 0;
  const bool any_nan = nan_g != 0 || nan_h != 0;
  // Missing to the right; the last bin against the missing ones alone is a split too.
  const int64_t candidates = any_nan && !feature.ends_infinite ? bins : bins - 1;
  const auto find_gains = [&](int64_t count) {
    const Lefts lefts = {gl, hl, rows};
    return t.bounds.any ? bounded_gains(lefts, count, t, s, sign, gain) : gains(lefts, count, t, s, gain);
  };
  const auto first_best = [&](double most) {
    int64_t b = 0;
    while (gain[b] != most) ++b;
    return b;
  };
  const auto no_rows_from = [&](int64_t first) {
    for (int64_t b = first; b < first + 16; ++b) {
      gl[b] = 0;
      hl[b] = 0;
      rows[b] = 0;
    }
  };
  // Bin by bin, rounding loses rows, most of them where Hessians are small. They belong to the left side, as do missing
  // values in the second search: the right side holds no fewer rows than a leaf must (LightGBM counts like this).
  const double uncounted = t.count - static_cast<double>(counted);
  if (!any_nan) {
    for (int64_t b = 0; b < bins; ++b) rows[b] += uncounted;
  }
  if (candidates > 0) {
    no_rows_from(candidates);  // the last vector looks beyond: a side without rows never fits
    const double most = find_gains(candidates);
    if (most > kGbrtNoGain && most - t.shift > best->gain) {
      const int64_t b = first_best(most);
      take(cells, gbrt_rounded_count(hl[b], t.per_hessian), t, 2 * hl[b] >= t.h, best, most, b,
           any_nan ? bins : int64_t{-1}, false);
    }
  }
  if (any_nan && bins > 1) {
    for (int64_t b = 0; b < bins - 1; ++b) {
      gl[b] += static_cast<double>(nan_g) * s.g_unit;
      hl[b] += static_cast<double>(nan_h) * s.h_unit;
      rows[b] += uncounted;
    }
    no_rows_from(bins - 1);
    const double most = find_gains(bins - 1);
    if (most > kGbrtNoGain && most - t.shift > best->gain) {
      const int64_t b = first_best(most);
      take(cells, gbrt_rounded_count(hl[b], t.per_hessian), t, false, best, most, b, bins, true);
    }
  }
}

void search_categories(const int64_t* cells, const GbrtFeature& feature, const GbrtTotals& t, const GbrtSearch& s,
                       GbrtSplit* best) {
  int16_t order[kGbrtCells];
  double ratio[kGbrtCells];
  const bool one_hot = gbrt_is_onehot(feature, s);
  int64_t used = 0;
  for (int64_t b = 1; b < feature.bins; ++b) {  // the unknown always goes right
    double r = 0;
    if (!gbrt_category_ratio(cells[b], cells[kGbrtCells + b], one_hot, t, s, &r)) continue;
    int64_t at = used++;
    for (; !one_hot && at > 0 && ratio[at - 1] > r; --at) {
      ratio[at] = ratio[at - 1];
      order[at] = order[at - 1];
    }
    ratio[at] = r;
    order[at] = static_cast<int16_t>(b);
  }
  gbrt_search_listed(cells, order, used, one_hot, t, s, best);
}

void search(const GbrtFind& a, const uint8_t* usable, const int64_t* cells, const GbrtNode& node, int64_t f,
            GbrtSplit* split) {
  split->gain = kGbrtNoGain;
  split->feature = static_cast<int32_t>(f);
  const GbrtFeature& feature = a.features[f];
  if (usable && !usable[f]) return;
  const GbrtTotals t = gbrt_totals(node, a.search);
  if (feature.kind == GbrtKind::numeric)
    search_numeric(cells, feature, t, a.search, a.monotone ? a.monotone[f] : 0, split);
  if (feature.kind == GbrtKind::categorical) search_categories(cells, feature, t, a.search, split);
}

}  // namespace

void gbrt_find(const GbrtFind& a, Workers& workers) {
  constexpr int64_t kFeaturesPerTask = 2;
  workers.run((a.count + kFeaturesPerTask - 1) / kFeaturesPerTask, [&](int64_t task, int) {
    const int64_t end = (task + 1) * kFeaturesPerTask;
    for (int64_t f = task * kFeaturesPerTask; f < end && f < a.count; ++f) {
      const int64_t used = gbrt_used_cells(a.features[f]);
      int64_t* fresh = a.fresh + f * 2 * kGbrtCells;
      const auto each = [&](auto&& body) {
        for (int64_t b = 0; b < used; ++b) body(b);
        for (int64_t b = kGbrtCells; b < kGbrtCells + used; ++b) body(b);
      };
      each([&](int64_t b) { fresh[b] = 0; });
      for (int worker = 0; worker < a.cells.workers; ++worker) {
        const GbrtCells cells = a.cells.of(worker);
        if (cells.pending[0]) unpack_cells(cells.packed + f * kGbrtStride, fresh, used, a.shift);
        if (!cells.pending[1]) continue;
        int64_t* pairs = cells.pairs + f * 2 * kGbrtCells;
        each([&](int64_t b) {
          fresh[b] += pairs[b];
          pairs[b] = 0;
        });
      }
      if (a.search_fresh) search(a, a.usable, fresh, a.fresh_node, f, a.fresh_splits + f);
      if (!a.sibling) continue;
      int64_t* sibling = a.sibling + f * 2 * kGbrtCells;
      each([&](int64_t b) { sibling[b] -= fresh[b]; });
      if (a.search_sibling) search(a, a.usable_sibling, sibling, a.sibling_node, f, a.sibling_splits + f);
    }
  });
  for (int worker = 0; worker < a.cells.workers; ++worker) {
    a.cells.of(worker).pending[0] = 0;
    a.cells.of(worker).pending[1] = 0;
  }
}

}  // namespace seqrisk::SEQRISK_VARIANT
