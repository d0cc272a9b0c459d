// What a split is worth, for processors and cards. Gains are float64 without fused operations.
#pragma once

#include "ops/both.h"
#include "ops/gbrt_tree.h"

namespace seqrisk {

constexpr double kGbrtNoGain = -__builtin_huge_val();
constexpr double kGbrtMostLogOdds = 30;  // of a step; beyond it Newton's parabola says nothing of the loss

SEQRISK_BOTH double gbrt_shrunk(double g, double l1) {
  const double size = (g < 0 ? -g : g) - l1;
  return size <= 0 ? 0 : g < 0 ? -size : size;
}

SEQRISK_BOTH double gbrt_leaf_gain(double g, double h, double l1, double l2) {
  const double s = gbrt_shrunk(g, l1);
  return s * s / (h + l2);
}

// With monotone constraints or a largest step, outputs are held within a node's bounds; a gain is that of the output as
// held.
struct GbrtBounds {
  double low;
  double high;
  bool any;
};

SEQRISK_BOTH double gbrt_bounded_output(const GbrtBounds& bounds, double g, double h, double l1, double l2) {
  const double value = h + l2 > 0 ? -gbrt_shrunk(g, l1) / (h + l2) : 0;
  return value < bounds.low ? bounds.low : value > bounds.high ? bounds.high : value;
}
SEQRISK_BOTH double gbrt_gain(const GbrtBounds& bounds, double g, double h, double l1, double l2) {
  if (!bounds.any) return gbrt_leaf_gain(g, h, l1, l2);
  const double value = gbrt_bounded_output(bounds, g, h, l1, l2);
  return -(2 * gbrt_shrunk(g, l1) * value + (h + l2) * value * value);
}

struct GbrtTotals {
  double g;
  double h;
  double count;
  double per_hessian;  // count of rows for one unit of h
  double shift;        // what both children together must exceed
  GbrtBounds bounds;
};

SEQRISK_BOTH int64_t gbrt_whole_count(double h, double per_hessian) {
  return static_cast<int64_t>(h * per_hessian + 0.5);
}
SEQRISK_BOTH double gbrt_rounded_count(double h, double per_hessian) {
  return static_cast<double>(gbrt_whole_count(h, per_hessian));
}

SEQRISK_BOTH GbrtTotals gbrt_totals(const GbrtNode& node, const GbrtSearch& s) {
  GbrtTotals t;
  t.g = static_cast<double>(node.g) * s.g_unit;
  t.h = static_cast<double>(node.h) * s.h_unit;
  t.count = node.count;
  t.per_hessian = t.h > 0 ? node.count / t.h : 0;
  t.bounds = {node.low, node.high, s.bounded};
  t.shift = gbrt_gain(t.bounds, t.g, t.h, s.lambda_l1, s.lambda_l2) + s.min_gain;
  return t;
}

SEQRISK_BOTH bool gbrt_side_fits(const GbrtSearch& s, double h, double rows) {
  return h > 0 && h >= s.min_hessian && rows >= s.min_count;
}

// Gain of both children of a numeric split, or kGbrtNoGain; `sign` of the feature's constraint.
SEQRISK_BOTH double gbrt_numeric_gain(double gl, double hl, double rows, const GbrtTotals& t, const GbrtSearch& s,
                                      int sign) {
  const double gr = t.g - gl;
  const double hr = t.h - hl;
  if (!gbrt_side_fits(s, hl, rows) || !gbrt_side_fits(s, hr, t.count - rows)) return kGbrtNoGain;
  if (t.bounds.any) {
    const double left = gbrt_bounded_output(t.bounds, gl, hl, s.lambda_l1, s.lambda_l2);
    const double right = gbrt_bounded_output(t.bounds, gr, hr, s.lambda_l1, s.lambda_l2);
    if (sign > 0 ? left > right : sign < 0 && left < right) return kGbrtNoGain;
  }
  const double sum =
      gbrt_gain(t.bounds, gl, hl, s.lambda_l1, s.lambda_l2) + gbrt_gain(t.bounds, gr, hr, s.lambda_l1, s.lambda_l2);
  return sum > t.shift ? sum : kGbrtNoGain;
}

// Categories are listed in `order`; `cells` are a feature's, g before h.
SEQRISK_BOTH void gbrt_take_categories(const int64_t* cells, const int16_t* order, int64_t first, int64_t count,
                                       int64_t step, const GbrtTotals& t, const GbrtSearch& s, double gain,
                                       GbrtSplit* best) {
  best->gain = gain - t.shift;
  best->is_category = true;
  best->nan_left = false;
  best->bin = 0;
  best->left_g = 0;
  best->left_h = 0;
  for (int word = 0; word < 4; ++word) best->left_bins[word] = 0;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t bin = order[first + i * step];
    best->left_g += cells[bin];
    best->left_h += cells[kGbrtCells + bin];
    best->left_bins[bin >> 6] |= uint64_t{1} << (bin & 63);
  }
  best->left_count = gbrt_rounded_count(static_cast<double>(best->left_h) * s.h_unit, t.per_hessian);
}

// One category against the rest where there are few; else categories sorted by their gradient ratio, a run from
// either end against the rest (Fisher 1958), with more regularisation, as LightGBM does it.
SEQRISK_BOTH bool gbrt_is_onehot(const GbrtFeature& feature, const GbrtSearch& s) {
  return feature.bins <= s.max_cat_to_onehot;
}

// Whether a bin of categories is listed, and the ratio by which it is sorted.
SEQRISK_BOTH bool gbrt_category_ratio(int64_t g, int64_t h, bool one_hot, const GbrtTotals& t, const GbrtSearch& s,
                                      double* ratio) {
  const double hessian = static_cast<double>(h) * s.h_unit;
  if (hessian <= 0 || (!one_hot && gbrt_rounded_count(hessian, t.per_hessian) < s.cat_smooth)) return false;
  *ratio = static_cast<double>(g) * s.g_unit / (hessian + s.cat_smooth);
  return true;
}

SEQRISK_BOTH void gbrt_consider_categories(const int64_t* cells, const int16_t* order, int64_t g, int64_t h,
                                           int64_t first, int64_t count, int64_t step, double l2, const GbrtTotals& t,
                                           const GbrtSearch& s, GbrtSplit* best) {
  const double gl = static_cast<double>(g) * s.g_unit;
  const double hl = static_cast<double>(h) * s.h_unit;
  const double gain =
      gbrt_gain(t.bounds, gl, hl, s.lambda_l1, l2) + gbrt_gain(t.bounds, t.g - gl, t.h - hl, s.lambda_l1, l2);
  if (gain > t.shift && gain - t.shift > best->gain) {
    gbrt_take_categories(cells, order, first, count, step, t, s, gain, best);
  }
}

// The best of the listed categories; `used` of them.
SEQRISK_BOTH void gbrt_search_listed(const int64_t* cells, const int16_t* order, int64_t used, bool one_hot,
                                     const GbrtTotals& t, const GbrtSearch& s, GbrtSplit* best) {
  if (one_hot) {
    for (int64_t i = 0; i < used; ++i) {
      const int64_t h = cells[kGbrtCells + order[i]];
      const double hl = static_cast<double>(h) * s.h_unit;
      const double rows = gbrt_rounded_count(hl, t.per_hessian);
      if (gbrt_side_fits(s, hl, rows) && gbrt_side_fits(s, t.h - hl, t.count - rows)) {
        gbrt_consider_categories(cells, order, cells[order[i]], h, i, 1, 1, s.lambda_l2, t, s, best);
      }
    }
    return;
  }
  const double l2 = s.lambda_l2 + s.cat_l2;
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
      group += gbrt_rounded_count(static_cast<double>(cells[kGbrtCells + bin]) * s.h_unit, t.per_hessian);
      const double hl = static_cast<double>(h) * s.h_unit;
      const double rows = gbrt_rounded_count(hl, t.per_hessian);
      if (!gbrt_side_fits(s, hl, rows)) continue;
      const double right = t.count - rows;
      if (!gbrt_side_fits(s, t.h - hl, right) || right < static_cast<double>(s.min_data_per_group)) break;
      if (group < static_cast<double>(s.min_data_per_group)) continue;
      group = 0;
      gbrt_consider_categories(cells, order, g, h, first, i + 1, step, l2, t, s, best);
    }
  }
}

// How leaves get their outputs.
struct GbrtLeafRules {
  double lambda_l1;
  double min_data_in_leaf;
  int64_t max_depth;
  bool is_log_odds;  // outputs within kGbrtMostLogOdds
};

SEQRISK_BOTH bool gbrt_may_split(const GbrtLeafRules& rules, const GbrtNode& node, int64_t depth) {
  return (rules.max_depth <= 0 || depth < rules.max_depth) && node.count >= 2 * rules.min_data_in_leaf;
}

SEQRISK_BOTH double gbrt_clamped(double value, double low, double high) {
  return value < low ? low : high < value ? high : value;
}

// Before the learning rate.
SEQRISK_BOTH double gbrt_leaf_value(const GbrtLeafRules& rules, const GbrtSearch& s, const GbrtNode& node, double l2) {
  const double g = static_cast<double>(node.g) * s.g_unit;
  const double h = static_cast<double>(node.h) * s.h_unit + l2;
  double value = h > 0 ? -gbrt_shrunk(g, rules.lambda_l1) / h + 0.0 : 0;  // no −0, which a file may not keep
  if (rules.is_log_odds) value = gbrt_clamped(value, -kGbrtMostLogOdds, kGbrtMostLogOdds);
  return s.bounded ? gbrt_clamped(value, node.low, node.high) : value;
}

// Children of a split, without their counts. What lies on the two sides of a constrained split stays apart from then
// on; `sign` of the feature's constraint.
SEQRISK_BOTH void gbrt_children(const GbrtLeafRules& rules, const GbrtSearch& s, const GbrtNode& parent,
                                const GbrtSplit& split, int sign, double l2, GbrtNode* left, GbrtNode* right) {
  *left = {split.left_g, split.left_h, 0, parent.low, parent.high};
  *right = {parent.g - split.left_g, parent.h - split.left_h, 0, parent.low, parent.high};
  if (sign == 0) return;
  const double middle = (gbrt_leaf_value(rules, s, *left, l2) + gbrt_leaf_value(rules, s, *right, l2)) / 2;
  GbrtNode* lower = sign > 0 ? left : right;
  GbrtNode* upper = sign > 0 ? right : left;
  lower->high = middle;
  upper->low = middle;
}

}  // namespace seqrisk
