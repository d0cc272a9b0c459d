// iforest_score on the CPU. Every path takes the same number of steps, as leaves lead to themselves: no branch depends
// on data, and eight rows walk side by side. Depths are added in the order of the trees.
#include "ops/iforest_score.h"

#include "kernels/cpu/variant.h"
#include "ops/same_math.h"
#include "ops/workers.h"

namespace seqrisk::SEQRISK_VARIANT {
namespace {

constexpr int64_t kTileRows = kIforestTileRows;
constexpr int64_t kTogether = 8;

template <class T>
struct OneFeature {
  const T* row;
  double operator()(const IforestNode& node) const { return static_cast<double>(row[node.feature]); }
};

template <class T>
struct ManyFeatures {
  const T* row;
  const IforestTerm* terms;
  int64_t count;
  double operator()(const IforestNode& node) const {
    if (node.threshold == kIforestLeaf) return 0;  // a leaf has no terms
    double sum = 0;
    for (int64_t i = 0; i < count; ++i) {
      const IforestTerm& term = terms[static_cast<int64_t>(node.feature) + i];
      const double part = term.weight * (static_cast<double>(row[term.feature]) - term.center);
      sum += part == part ? part : 0;
    }
    return sum;
  }
};

template <class View>
void walk(const IforestScore& a, int32_t root, const View* views, int64_t count, double* out) {
  int32_t at[kTogether];
  for (int64_t i = 0; i < count; ++i) at[i] = root;
  for (int64_t level = 0; level < a.levels; ++level) {
    for (int64_t i = 0; i < count; ++i) {
      const IforestNode& node = a.nodes[at[i]];
      const double value = views[i](node);
      at[i] = node.left + ((value > node.threshold) | ((value != value) & node.nan_right));
    }
  }
  for (int64_t i = 0; i < count; ++i) out[i] += a.depths[at[i]];
}

// A tree stays in L1 while all rows of the tile walk it.
template <class View>
void walk_all(const IforestScore& a, const View* views, int64_t count, double* out) {
  for (int64_t tree = 0; tree < a.trees; ++tree) {
    int64_t r = 0;
    const auto root = static_cast<int32_t>(tree * a.nodes_per_tree);
    for (; r + kTogether <= count; r += kTogether) walk(a, root, views + r, kTogether, out + r);
    if (r < count) walk(a, root, views + r, count - r, out + r);
  }
}

template <class T>
void score_tile(const IforestScore& a, int64_t first, int64_t count, T* tile) {
  const T* rows = static_cast<const T*>(a.values) + first * a.row_stride;
  int64_t stride = a.row_stride;
  if (a.feature_stride != 1) {
    for (int64_t f = 0; f < a.features; ++f) {
      for (int64_t r = 0; r < count; ++r) tile[r * a.features + f] = rows[r * a.row_stride + f * a.feature_stride];
    }
    rows = tile;
    stride = a.features;
  }
  if (a.terms) {
    ManyFeatures<T> views[kTileRows];
    for (int64_t r = 0; r < count; ++r) views[r] = {rows + r * stride, a.terms, a.terms_per_node};
    walk_all(a, views, count, a.out + first);
  } else {
    OneFeature<T> views[kTileRows];
    for (int64_t r = 0; r < count; ++r) views[r] = {rows + r * stride};
    walk_all(a, views, count, a.out + first);
  }
}

}  // namespace

void iforest_score(const IforestScore& a, Workers& workers) {
  workers.run((a.rows + kTileRows - 1) / kTileRows, [&](int64_t task, int worker) {
    const int64_t first = task * kTileRows;
    const int64_t count = a.rows - first < kTileRows ? a.rows - first : kTileRows;
    for (int64_t r = first; r < first + count; ++r) a.out[r] = 0;
    double* tile = a.scratch + worker * a.features * kTileRows;
    if (a.is_double) {
      score_tile(a, first, count, tile);
    } else {
      score_tile(a, first, count, reinterpret_cast<float*>(tile));
    }
    for (int64_t r = first; r < first + count; ++r) {
      a.out[r] = same_exp2(-a.out[r] / static_cast<double>(a.trees) * a.per_depth);
    }
  });
}

}  // namespace seqrisk::SEQRISK_VARIANT
