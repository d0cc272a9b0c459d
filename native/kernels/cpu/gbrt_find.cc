// gbrt_find on the CPU: feature by feature, the workers' cells become a histogram, the sibling's follows by
// subtraction, and both are searched. Gains are computed in float64 without fused operations: the same bits in every
// variant. Ties go to the lowest feature (the caller's part), the lowest bin, and missing values to the heavier child.
#include "kernels/cpu/gbrt_cells-inl.h"
#include "ops/gbrt_tree.h"
#include "ops/workers.h"

namespace seqrisk::SEQRISK_VARIANT {
namespace {

constexpr double kNone = -__builtin_huge_val();

HWY_INLINE double shrunk(double g, double l1) {
  const double size = (g < 0 ? -g : g) - l1;
  return size <= 0 ? 0 : g < 0 ? -size : size;
}

HWY_INLINE double leaf_gain(double g, double h, double l1, double l2) {
  const double s = shrunk(g, l1);
  return s * s / (h + l2);
}

// With monotone constraints or a largest step, outputs are held within a node's bounds; a gain is that of the output as
// held.
struct Bounds {
  double low;
  double high;
  bool any;

  double output(double g, double h, double l1, double l2) const {
    const double value = h + l2 > 0 ? -shrunk(g, l1) / (h + l2) : 0;
    return value < low ? low : value > high ? high : value;
  }
  double gain(double g, double h, double l1, double l2) const {
    if (!any) return leaf_gain(g, h, l1, l2);
    const double value = output(g, h, l1, l2);
    return -(2 * shrunk(g, l1) * value + (h + l2) * value * value);
  }
};

struct Totals {
  double g;
  double h;
  double count;
  double per_hessian;  // count of rows for one unit of h
  double shift;        // what both children together must exceed
  Bounds bounds;
};

HWY_INLINE int64_t whole_count(double h, double per_hessian) {
  return static_cast<int64_t>(h * per_hessian + 0.5);
}

HWY_INLINE double rounded_count(double h, double per_hessian) {
  return static_cast<double>(whole_count(h, per_hessian));
}

Totals totals_of(const GbrtNode& node, const GbrtSearch& s) {
  Totals t;
  t.g = static_cast<double>(node.g) * s.g_unit;
  t.h = static_cast<double>(node.h) * s.h_unit;
  t.count = node.count;
  t.per_hessian = t.h > 0 ? node.count / t.h : 0;
  t.bounds = {node.low, node.high, s.bounded};
  t.shift = t.bounds.gain(t.g, t.h, s.lambda_l1, s.lambda_l2) + s.min_gain;
  return t;
}

// What lies left of each bin's bound: sums, and rows estimated bin by bin.
struct Lefts {
  double* g;
  double* h;
  double* rows;
};

// Gain of both children for the lefts of `count` bins, or −infinity; returns the largest.
double gains(const Lefts& left, int64_t count, const Totals& t, const GbrtSearch& s, double* gain) {
  const hn::ScalableTag<double> d;
  using V = hn::Vec<decltype(d)>;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const V none = hn::Set(d, kNone);
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
double bounded_gains(const Lefts& lefts, int64_t count, const Totals& t, const GbrtSearch& s, int sign, double* gain) {
  double most = kNone;
  const double* gl = lefts.g;
  const double* hl = lefts.h;
  const auto fits = [&](double h, double rows) { return h > 0 && h >= s.min_hessian && rows >= s.min_count; };
  for (int64_t b = 0; b < count; ++b) {
    gain[b] = kNone;
    const double gr = t.g - gl[b];
    const double hr = t.h - hl[b];
    if (!fits(hl[b], lefts.rows[b]) || !fits(hr, t.count - lefts.rows[b])) continue;
    const double left = t.bounds.output(gl[b], hl[b], s.lambda_l1, s.lambda_l2);
    const double right = t.bounds.output(gr, hr, s.lambda_l1, s.lambda_l2);
    if (sign > 0 ? left > right : sign < 0 && left < right) continue;
    const double sum =
        t.bounds.gain(gl[b], hl[b], s.lambda_l1, s.lambda_l2) + t.bounds.gain(gr, hr, s.lambda_l1, s.lambda_l2);
    if (!(sum > t.shift)) continue;
    gain[b] = sum;
    most = sum > most ? sum : most;
  }
  return most;
}

void take(const int64_t* cells, double count, const Totals& t, bool heavier_left, GbrtSplit* best, double gain,
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

void search_numeric(const int64_t* cells, const GbrtFeature& feature, const Totals& t, const GbrtSearch& s, int sign,
                    GbrtSplit* best) {
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
    counted += whole_count(static_cast<double>(cells[kGbrtCells + b]) * s.h_unit, t.per_hessian);
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
    if (most > kNone && most - t.shift > best->gain) {
      const int64_t b = first_best(most);
      take(cells, rounded_count(hl[b], t.per_hessian), t, 2 * hl[b] >= t.h, best, most, b, any_nan ? bins : int64_t{-1},
           false);
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
    if (most > kNone && most - t.shift > best->gain) {
      const int64_t b = first_best(most);
      take(cells, rounded_count(hl[b], t.per_hessian), t, false, best, most, b, bins, true);
    }
  }
}

void take_categories(const int64_t* cells, const int16_t* order, int64_t first, int64_t count, int64_t step,
                     const Totals& t, const GbrtSearch& s, double gain, GbrtSplit* best) {
  best->gain = gain - t.shift;
  best->is_category = true;
  best->nan_left = false;
  best->bin = 0;
  best->left_g = 0;
  best->left_h = 0;
  for (uint64_t& word : best->left_bins) word = 0;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t bin = order[first + i * step];
    best->left_g += cells[bin];
    best->left_h += cells[kGbrtCells + bin];
    best->left_bins[bin >> 6] |= uint64_t{1} << (bin & 63);
  }
  best->left_count = rounded_count(static_cast<double>(best->left_h) * s.h_unit, t.per_hessian);
}

// One category against the rest where there are few; else categories sorted by their gradient ratio, a run from
// either end against the rest (Fisher 1958), with more regularisation, as LightGBM does it.
void search_categories(const int64_t* cells, const GbrtFeature& feature, const Totals& t, const GbrtSearch& s,
                       GbrtSplit* best) {
  int16_t order[kGbrtCells];
  double ratio[kGbrtCells];
  const bool one_hot = feature.bins <= s.max_cat_to_onehot;
  int64_t used = 0;
  for (int64_t b = 1; b < feature.bins; ++b) {  // the unknown always goes right
    const double h = static_cast<double>(cells[kGbrtCells + b]) * s.h_unit;
    if (h <= 0 || (!one_hot && rounded_count(h, t.per_hessian) < s.cat_smooth)) continue;
    const double r = static_cast<double>(cells[b]) * s.g_unit / (h + s.cat_smooth);
    int64_t at = used++;
    for (; !one_hot && at > 0 && ratio[at - 1] > r; --at) {
      ratio[at] = ratio[at - 1];
      order[at] = order[at - 1];
    }
    ratio[at] = r;
    order[at] = static_cast<int16_t>(b);
  }
  const double l2 = one_hot ? s.lambda_l2 : s.lambda_l2 + s.cat_l2;
  const auto fits = [&](double h, double rows) { return h > 0 && h >= s.min_hessian && rows >= s.min_count; };
  const auto consider = [&](int64_t g, int64_t h, int64_t first, int64_t count, int64_t step) {
    const double gl = static_cast<double>(g) * s.g_unit;
    const double hl = static_cast<double>(h) * s.h_unit;
    const double gain = t.bounds.gain(gl, hl, s.lambda_l1, l2) + t.bounds.gain(t.g - gl, t.h - hl, s.lambda_l1, l2);
    if (gain > t.shift && gain - t.shift > best->gain) {
      take_categories(cells, order, first, count, step, t, s, gain, best);
    }
  };
  if (one_hot) {
    for (int64_t i = 0; i < used; ++i) {
      const int64_t h = cells[kGbrtCells + order[i]];
      const double hl = static_cast<double>(h) * s.h_unit;
      const double rows = rounded_count(hl, t.per_hessian);
      if (fits(hl, rows) && fits(t.h - hl, t.count - rows)) consider(cells[order[i]], h, i, 1, 1);
    }
    return;
  }
  const int64_t longest = s.max_cat_threshold < (used + 1) / 2 ? s.max_cat_threshold : (used + 1) / 2;
  for (int64_t step = 1; step >= -1; step -= 2) {
    const int64_t first = step > 0 ? 0 : used - 1;
    int64_t g = 0;
    int64_t h = 0;
    double group = 0;
    for (int64_t i = 0; i < longest; ++i) {
      const int64_t bin = order[first + i * step];
      g += cells[bin];
      h += cells[kGbrtCells + bin];
      group += rounded_count(static_cast<double>(cells[kGbrtCells + bin]) * s.h_unit, t.per_hessian);
      const double hl = static_cast<double>(h) * s.h_unit;
      const double rows = rounded_count(hl, t.per_hessian);
      if (!fits(hl, rows)) continue;
      const double right = t.count - rows;
      if (!fits(t.h - hl, right) || right < static_cast<double>(s.min_data_per_group)) break;
      if (group < static_cast<double>(s.min_data_per_group)) continue;
      group = 0;
      consider(g, h, first, i + 1, step);
    }
  }
}

void search(const GbrtFind& a, const uint8_t* usable, const int64_t* cells, const GbrtNode& node, int64_t f,
            GbrtSplit* split) {
  split->gain = kNone;
  split->feature = static_cast<int32_t>(f);
  const GbrtFeature& feature = a.features[f];
  if (usable && !usable[f]) return;
  const Totals t = totals_of(node, a.search);
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
