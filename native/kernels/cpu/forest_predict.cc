// forest_predict on the CPU: a tile of rows goes through all trees. Trees of up to 64 leaves by masks: every node is
// compared with a vector of rows. Larger ones by steps, rows side by side, each down its own way. Neither has branches
// that depend on values. Trees with categories, or with zeros as missing values, are walked node by node.
#include "ops/forest_predict.h"

#include "kernels/cpu/variant.h"
#include "ops/forest_transform.h"
#include "ops/workers.h"

namespace seqrisk::SEQRISK_VARIANT {
namespace {

constexpr int64_t kRows = kForestTileRows;

// One walked tree. Row r's feature f is values[r·row_stride + f·feature_stride].
template <class T>
void walk(const ForestPredict& a, int64_t tree, const T* values, int64_t row_stride, int64_t feature_stride,
          int64_t count, double* out) {
  const auto step = [&](int32_t at, const T* row) {
    const ForestNode& node = a.nodes[at];
    const double value = static_cast<double>(row[node.feature * feature_stride]);
    return forest_goes_left(a.category_bits, node, value) ? node.left : node.right;
  };
  const int32_t root = a.roots[tree];
  int64_t r = 0;
  for (; r + 4 <= count; r += 4) {
    const T* row = values + r * row_stride;
    int32_t at[4] = {root, root, root, root};
    while (at[0] >= 0 || at[1] >= 0 || at[2] >= 0 || at[3] >= 0) {
      for (int64_t i = 0; i < 4; ++i) {
        if (at[i] >= 0) at[i] = step(at[i], row + i * row_stride);
      }
    }
    for (int64_t i = 0; i < 4; ++i) out[(r + i) * a.classes] += a.leaves[-1 - at[i]];
  }
  for (; r < count; ++r) {
    int32_t at = root;
    while (at >= 0) at = step(at, values + r * row_stride);
    out[r * a.classes] += a.leaves[-1 - at];
  }
}

template <class Test>
HWY_INLINE float threshold_of(const Test& test, float) {
  return test.narrow;
}
template <class Test>
HWY_INLINE double threshold_of(const Test& test, double) {
  return test.threshold;
}

// One tree by steps, over columns of kRows values.
template <bool kNan, class T>
void follow(const ForestPredict& a, int64_t tree, const T* tile, int64_t count, double* out) {
  constexpr int64_t kSide = 8;  // so many ways hide each other's latencies
  static_assert(kRows % kSide == 0);
  const ForestStep* steps = a.steps + a.first_step[tree];
  const double* leaves = a.step_leaves + a.first_step[tree];
  for (int64_t r = 0; r < count; r += kSide) {
    const T* rows = tile + r;
    int32_t at[kSide] = {};
    int32_t moved;
    do {
      moved = 0;
      for (int64_t i = 0; i < kSide; ++i) {
        const ForestStep& step = steps[at[i]];
        const T value = rows[step.feature * kRows + i];
        int32_t right = value > threshold_of(step, T{});
        if constexpr (kNan) right |= static_cast<int32_t>(value != value) & step.nan_right;
        const int32_t next = step.left + right;
        moved |= next ^ at[i];
        at[i] = next;
      }
    } while (moved != 0);
    const int64_t own = count - r < kSide ? count - r : kSide;
    for (int64_t i = 0; i < own; ++i) out[(r + i) * a.classes] += leaves[at[i]];
  }
}

// One tree by masks, over columns of kRows values.
template <class T, class U>
void scan(const ForestPredict& a, int64_t tree, const T* tile, int64_t count, double* out) {
  const hn::ScalableTag<T> d;
  const hn::RebindToUnsigned<decltype(d)> du;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const double* leaves = a.ordered_leaves + a.first_leaf[tree];
  const ForestMask* begin = a.masks + a.first_node[tree];
  const ForestMask* end = a.masks + a.first_node[tree + 1];
  HWY_ALIGN U left[kRows];
  const int64_t step = 4 * lanes < kRows ? 4 * lanes : kRows;
  for (int64_t r = 0; r < count; r += step) {
    auto left0 = hn::Set(du, static_cast<U>(~U{0}));
    auto left1 = left0, left2 = left0, left3 = left0;
    for (const ForestMask* mask = begin; mask != end; ++mask) {
      const auto threshold = hn::Set(d, threshold_of(*mask, T{}));
      const auto keep = hn::Set(du, static_cast<U>(mask->keep));
      const T* column = tile + mask->feature * kRows + r;
      const auto apply = [&](auto before, const T* values) {
        const auto v = hn::Load(d, values);
        const auto goes_right = mask->nan_left ? hn::Gt(v, threshold) : hn::Not(hn::Le(v, threshold));
        return hn::IfThenElse(hn::RebindMask(du, goes_right), hn::And(before, keep), before);
      };
      left0 = apply(left0, column);
      left1 = apply(left1, column + lanes);
      left2 = apply(left2, column + 2 * lanes);
      left3 = apply(left3, column + 3 * lanes);
    }
    hn::Store(left0, du, left + r);
    hn::Store(left1, du, left + r + lanes);
    hn::Store(left2, du, left + r + 2 * lanes);
    hn::Store(left3, du, left + r + 3 * lanes);
  }
  for (int64_t r = 0; r < count; ++r) out[r * a.classes] += leaves[__builtin_ctzll(left[r])];
}

// All trees over columns of kRows values, of which the last of `count` rows fills the rest.
template <class T, class U>
void predict_tile(const ForestPredict& a, int64_t first, int64_t count, const T* tile) {
  bool has_nan = false;
  if (a.steps) {
    for (int64_t i = 0; i < a.features * kRows; ++i) has_nan |= tile[i] != tile[i];
  }
  for (int64_t tree = 0; tree < a.trees; ++tree) {
    double* out = a.out + first * a.classes + tree % a.classes;
    if (a.has_masks[tree]) {
      scan<T, U>(a, tree, tile, count, out);
    } else if (a.first_step[tree] < 0) {
      walk(a, tree, tile, 1, kRows, count, out);
    } else if (has_nan) {
      follow<true>(a, tree, tile, count, out);
    } else {
      follow<false>(a, tree, tile, count, out);
    }
  }
}

template <class T, class U, class From>
void predict_columns(const ForestPredict& a, int64_t first, int64_t count, T* tile) {
  const From* values = static_cast<const From*>(a.values) + first * a.row_stride;
  for (int64_t f = 0; f < a.features; ++f) {
    for (int64_t r = 0; r < kRows; ++r) {
      const int64_t row = r < count ? r : count - 1;
      tile[f * kRows + r] = static_cast<T>(values[row * a.row_stride + f * a.feature_stride]);
    }
  }
  predict_tile<T, U>(a, first, count, tile);
}

template <class From>
void predict_rows(const ForestPredict& a, int64_t first, int64_t count, double* scratch) {
  const From* values = static_cast<const From*>(a.values) + first * a.row_stride;
  double* out = a.out + first * a.classes;
  if (!a.masks) {
    for (int64_t tree = 0; tree < a.trees; ++tree) {
      walk(a, tree, values, a.row_stride, a.feature_stride, count, out + tree % a.classes);
    }
  } else if (sizeof(From) == sizeof(float) && a.is_narrow) {
    predict_columns<float, uint32_t, From>(a, first, count, reinterpret_cast<float*>(scratch));
  } else {
    predict_columns<double, uint64_t, From>(a, first, count, scratch);
  }
}

// Rows of a binned matrix: a tile of the values that bins stand for.
void predict_bins(const ForestPredict& a, int64_t first, int64_t count, double* tile) {
  for (int64_t g = 0; g < a.bins.groups(); ++g) {
    const GbrtGroup group = a.bins.group(g);
    for (int64_t f = 0; f < group.width; ++f) {
      const uint8_t* bins = group.bins + (a.first_row + first) * group.width + f;
      const double* value_of = a.bin_values + (group.first + f) * kGbrtCells;
      double* column = tile + (group.first + f) * kRows;
      for (int64_t r = 0; r < kRows; ++r) column[r] = value_of[bins[(r < count ? r : count - 1) * group.width]];
    }
  }
  predict_tile<double, uint64_t>(a, first, count, tile);
}

}  // namespace

void forest_predict(const ForestPredict& a, Workers& workers) {
  workers.run((a.rows + kRows - 1) / kRows, [&](int64_t task, int worker) {
    const int64_t first = task * kRows;
    const int64_t count = a.rows - first < kRows ? a.rows - first : kRows;
    double* scratch = a.scratch + worker * a.features * kRows;
    for (int64_t i = 0; i < count * a.classes; ++i) a.out[first * a.classes + i] = 0;
    if (a.bin_values) {
      predict_bins(a, first, count, scratch);
    } else if (a.is_double) {
      predict_rows<double>(a, first, count, scratch);
    } else {
      predict_rows<float>(a, first, count, scratch);
    }
    for (int64_t r = first; r < first + count; ++r) forest_transform(a, a.out + r * a.classes);
  });
}

}  // namespace seqrisk::SEQRISK_VARIANT
