// forest_predict on the CPU: a tile of rows goes through all trees. Trees of up to 64 leaves by masks: every node is
// compared with a vector of rows, without branches; the others row by row, four side by side to hide latencies.
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

HWY_INLINE float threshold_of(const ForestMask& mask, float) {
  return mask.narrow;
}
HWY_INLINE double threshold_of(const ForestMask& mask, double) {
  return mask.threshold;
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

template <class T, class U, class From>
void predict_tile(const ForestPredict& a, int64_t first, int64_t count, T* tile) {
  const From* values = static_cast<const From*>(a.values) + first * a.row_stride;
  for (int64_t f = 0; f < a.features; ++f) {
    for (int64_t r = 0; r < kRows; ++r) {
      const int64_t row = r < count ? r : count - 1;
      tile[f * kRows + r] = static_cast<T>(values[row * a.row_stride + f * a.feature_stride]);
    }
  }
  for (int64_t tree = 0; tree < a.trees; ++tree) {
    double* out = a.out + first * a.classes + tree % a.classes;
    if (a.has_masks[tree]) {
      scan<T, U>(a, tree, tile, count, out);
    } else {
      walk(a, tree, values, a.row_stride, a.feature_stride, count, out);
    }
  }
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
    predict_tile<float, uint32_t, From>(a, first, count, reinterpret_cast<float*>(scratch));
  } else {
    predict_tile<double, uint64_t, From>(a, first, count, scratch);
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
  for (int64_t tree = 0; tree < a.trees; ++tree) {
    double* out = a.out + first * a.classes + tree % a.classes;
    if (a.has_masks[tree]) {
      scan<double, uint64_t>(a, tree, tile, count, out);
    } else {
      walk(a, tree, tile, 1, kRows, count, out);
    }
  }
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
