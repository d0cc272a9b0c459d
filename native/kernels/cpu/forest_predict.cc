// forest_predict on the CPU: a block of rows goes through all trees, four rows side by side to hide the latency of a
// node's load.
#include "ops/forest_predict.h"

#include <math.h>

#include "kernels/cpu/variant.h"
#include "ops/workers.h"

namespace seqrisk::SEQRISK_VARIANT {
namespace {

constexpr int64_t kRows = 64;

HWY_INLINE bool category_goes_left(const ForestPredict& a, const ForestNode& node, double value) {
  // NaN, negative and huge values are no category.
  if (!(value >= 0 && value < 2147483648.0)) return false;
  const int64_t category = static_cast<int64_t>(value);
  if (category >> 5 >= node.words) return false;
  return a.category_bits[static_cast<int64_t>(node.threshold) + (category >> 5)] >> (category & 31) & 1;
}

// LightGBM's rules: a missing value where training saw none counts as 0.
HWY_INLINE bool goes_left(const ForestPredict& a, const ForestNode& node, double value) {
  if (node.is_category) return category_goes_left(a, node, value);
  const bool is_nan = value != value;
  if (is_nan && node.missing != ForestMissing::nan) value = 0;
  if (node.missing == ForestMissing::nan ? is_nan
                                         : node.missing == ForestMissing::zero && value > -1e-35 && value < 1e-35) {
    return node.nan_left;
  }
  return value <= node.threshold;
}

template <class T>
void predict_block(const ForestPredict& a, int64_t first, int64_t count) {
  const T* values = static_cast<const T*>(a.values);
  for (int64_t i = 0; i < count * a.classes; ++i) a.out[first * a.classes + i] = 0;
  const auto step = [&](int32_t at, const T* row) {
    const ForestNode& node = a.nodes[at];
    const double value = static_cast<double>(row[node.feature * a.feature_stride]);
    return goes_left(a, node, value) ? node.left : node.right;
  };
  for (int64_t tree = 0; tree < a.trees; ++tree) {
    const int32_t root = a.roots[tree];
    double* out = a.out + first * a.classes + tree % a.classes;
    int64_t r = 0;
    for (; r + 4 <= count; r += 4) {
      const T* row = values + (first + r) * a.row_stride;
      int32_t at[4] = {root, root, root, root};
      while (at[0] >= 0 || at[1] >= 0 || at[2] >= 0 || at[3] >= 0) {
        for (int64_t i = 0; i < 4; ++i) {
          if (at[i] >= 0) at[i] = step(at[i], row + i * a.row_stride);
        }
      }
      for (int64_t i = 0; i < 4; ++i) out[(r + i) * a.classes] += a.leaves[-1 - at[i]];
    }
    for (; r < count; ++r) {
      int32_t at = root;
      while (at >= 0) at = step(at, values + (first + r) * a.row_stride);
      out[r * a.classes] += a.leaves[-1 - at];
    }
  }
}

void transform_row(const ForestPredict& a, double* out) {
  switch (a.transform) {
    case ForestTransform::raw:
      break;
    case ForestTransform::sigmoid:
      for (int64_t k = 0; k < a.classes; ++k) out[k] = 1.0 / (1.0 + exp(-a.sigmoid * out[k]));
      break;
    case ForestTransform::softmax: {
      double most = out[0];
      for (int64_t k = 1; k < a.classes; ++k) most = out[k] > most ? out[k] : most;
      double sum = 0;
      for (int64_t k = 0; k < a.classes; ++k) sum += out[k] = exp(out[k] - most);
      for (int64_t k = 0; k < a.classes; ++k) out[k] /= sum;
      break;
    }
    case ForestTransform::average:
      for (int64_t k = 0; k < a.classes; ++k) out[k] /= static_cast<double>(a.trees / a.classes);
      break;
  }
}

}  // namespace

void forest_predict(const ForestPredict& a, Workers& workers) {
  workers.run((a.rows + kRows - 1) / kRows, [&](int64_t task, int) {
    const int64_t first = task * kRows;
    const int64_t count = a.rows - first < kRows ? a.rows - first : kRows;
    if (a.is_double) {
      predict_block<double>(a, first, count);
    } else {
      predict_block<float>(a, first, count);
    }
    for (int64_t r = first; r < first + count; ++r) transform_row(a, a.out + r * a.classes);
  });
}

}  // namespace seqrisk::SEQRISK_VARIANT
