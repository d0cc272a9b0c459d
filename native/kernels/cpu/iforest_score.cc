// iforest_score on the CPU. Every path takes the same number of steps, as leaves lead to themselves: no branch depends
// on data, and eight rows walk side by side. Depths are added in the order of the trees.
#include "ops/iforest_score.h"

#include <math.h>

#include "kernels/cpu/variant.h"
#include "ops/workers.h"

namespace seqrisk::SEQRISK_VARIANT {
namespace {

constexpr int64_t kTileRows = 256;
constexpr int kTogether = 8;

template <class T>
struct OneFeature {
  const T* row;
  int64_t stride;
  double operator()(const IforestNode& node) const { return static_cast<double>(row[node.feature * stride]); }
};

template <class T>
struct ManyFeatures {
  const T* row;
  int64_t stride;
  const IforestTerm* terms;
  int64_t count;
  double operator()(const IforestNode& node) const {
    double sum = 0;
    for (int64_t i = 0; i < count; ++i) {
      const IforestTerm& term = terms[static_cast<int64_t>(node.feature) + i];
      const double part = term.weight * (static_cast<double>(row[term.feature * stride]) - term.center);
      sum += part == part ? part : 0;
    }
    return sum;
  }
};

template <class View>
void walk(const IforestScore& a, const View* views, int count, double* out) {
  for (int64_t tree = 0; tree < a.trees; ++tree) {
    int32_t at[kTogether];
    for (int i = 0; i < count; ++i) at[i] = a.roots[tree];
    for (int64_t level = 0; level < a.levels; ++level) {
      for (int i = 0; i < count; ++i) {
        const IforestNode& node = a.nodes[at[i]];
        const double value = views[i](node);
        at[i] = node.left + ((value > node.threshold) | ((value != value) & node.nan_right));
      }
    }
    for (int i = 0; i < count; ++i) out[i] += a.depths[at[i]];
  }
}

template <class T>
void score_rows(const IforestScore& a, int64_t first, int64_t count) {
  const T* values = static_cast<const T*>(a.values) + first * a.row_stride;
  const auto together = [&](int64_t r, int rows) {
    if (a.terms) {
      ManyFeatures<T> views[kTogether];
      for (int i = 0; i < rows; ++i) {
        views[i] = {values + (r + i) * a.row_stride, a.feature_stride, a.terms, a.terms_per_node};
      }
      walk(a, views, rows, a.out + first + r);
    } else {
      OneFeature<T> views[kTogether];
      for (int i = 0; i < rows; ++i) views[i] = {values + (r + i) * a.row_stride, a.feature_stride};
      walk(a, views, rows, a.out + first + r);
    }
  };
  int64_t r = 0;
  for (; r + kTogether <= count; r += kTogether) together(r, kTogether);
  if (r < count) together(r, static_cast<int>(count - r));
}

}  // namespace

void iforest_score(const IforestScore& a, Workers& workers) {
  workers.run((a.rows + kTileRows - 1) / kTileRows, [&](int64_t task, int) {
    const int64_t first = task * kTileRows;
    const int64_t count = a.rows - first < kTileRows ? a.rows - first : kTileRows;
    for (int64_t r = first; r < first + count; ++r) a.out[r] = 0;
    if (a.is_double) {
      score_rows<double>(a, first, count);
    } else {
      score_rows<float>(a, first, count);
    }
    for (int64_t r = first; r < first + count; ++r) {
      a.out[r] = exp2(-a.out[r] / static_cast<double>(a.trees) * a.per_depth);
    }
  });
}

}  // namespace seqrisk::SEQRISK_VARIANT
