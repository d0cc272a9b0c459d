// The passes of a boosting round over the rows: gbrt_gradient, gbrt_partition, and gbrt_find over the cells.
#pragma once

#include "ops/gbrt_rows.h"

namespace seqrisk {

enum class GbrtObjective : int { squared, logistic, softmax, custom };

// Adds the last tree's leaves to the scores, computes packed gradients and the root's histogram, block by block: a
// block's scores, gradients and bins stay in cache between the three.
struct GbrtGradient {
  GbrtBins bins;
  GbrtObjective objective;
  // The last tree: leaf l's rows get value[l] more. leaves = 0 skips it.
  double* update_scores;
  const double* value;
  int64_t leaves;
  const GbrtSegment* segments;  // (leaves, blocks)
  uint16_t* index;              // of the last tree; then, where not every row trains, of the new root
  bool is_identity;             // the last tree has one leaf, of all rows in order
  // Gradients; packed = null skips them and the histogram.
  const double* scores;      // (classes, rows)
  const float* targets;      // (rows)
  const float* weights;      // (rows) in units; null: all 1
  const float* custom_grad;  // (rows)
  const float* custom_hess;  // (rows)
  double* log_sum;           // (rows) softmax: log Σ e^score, written when `cls` is 0
  int64_t classes;
  int64_t cls;
  double g_scale;  // |g|·g_scale ≤ 2^g_bits
  double h_scale;
  int shift;
  bool constant_hessian;
  bool whole_weights;     // integers: k·(the gradient of weight 1), as k copies would give
  int64_t* packed;        // (rows)
  const uint8_t* trains;  // (rows) 1 for rows that train; null: all do
  GbrtSegment* root;      // (blocks) written
  GbrtWeights weight_bounds;
  GbrtCellMemory cells;
  double* most_residual;  // (blocks) squared: largest |g| before scaling, of rows that train
  bool bounds_all_rows;   // of the others as well
};

// Splits a leaf's rows in every block, and adds one side's rows to the workers' cells.
struct GbrtPartition {
  GbrtBins bins;
  uint16_t* index;
  bool is_identity;            // index holds nothing yet: the leaf has all rows in order
  GbrtSegment* parent;         // (blocks) becomes the left child
  GbrtSegment* right;          // (blocks)
  const float* whole_weights;  // (rows) integers, or null: each row weighs 1
  int64_t* left_weight;        // (blocks) receives the weight of the left child's rows that train
  int64_t feature;
  const uint8_t* go_left;  // (kGbrtCells) 1 for bins that go left
  int build;               // 0: no histogram, 1: of the left child, 2: of the right
  int64_t blocks_per_task;
  const int64_t* packed;
  int shift;
  GbrtWeights weight_bounds;
  GbrtCellMemory cells;
  uint16_t* scratch;  // (workers, 2·kGbrtBlockRows)
};

enum class GbrtKind : uint8_t { unused, numeric, categorical };

struct GbrtFeature {
  GbrtKind kind;
  bool has_nan;        // numeric: bin `bins` holds NaN
  bool ends_infinite;  // numeric: the last bin is +infinity, whose threshold no file can hold
  int16_t bins;        // without the one for NaN; of categories, bin 0 is the unknown
};

// Cells that rows can be in. In wide tables of few rows the others would be most of the work.
constexpr int64_t gbrt_used_cells(const GbrtFeature& feature) {
  return feature.kind == GbrtKind::unused ? kGbrtCells : feature.bins + (feature.has_nan ? 1 : 0);
}

// A leaf, as split search sees it.
struct GbrtNode {
  int64_t g;
  int64_t h;
  double count;
  double low, high;  // with `bounded`: what its output must lie between
};

struct GbrtSplit {
  double gain;  // above the parent's, or −infinity
  int64_t left_g;
  int64_t left_h;
  double left_count;
  int32_t feature;
  int16_t bin;  // numeric: bins up to it go left
  bool nan_left;
  bool is_category;
  uint64_t left_bins[4];  // categorical: bit b for a bin that goes left
};

struct GbrtSearch {
  double lambda_l1, lambda_l2, min_gain, min_hessian, min_count;
  double cat_l2, cat_smooth;
  int64_t max_cat_threshold, max_cat_to_onehot, min_data_per_group;
  double g_unit, h_unit;  // what an integer is worth
  bool bounded;           // outputs are held within the nodes' bounds
};

// Reads and clears the workers' cells (one node's histogram), writes it to `fresh`, subtracts it from `sibling` (the
// parent's before, the other child's after), and finds every feature's best split of both.
struct GbrtFind {
  const GbrtFeature* features;
  const uint8_t* usable;          // (count) or null: features that the fresh node may be split on
  const uint8_t* usable_sibling;  // (count) or null
  const int8_t* monotone;  // (count) or null: +1, −1 or 0 for features whose larger values may not give less, or more
  int64_t count;
  GbrtCellMemory cells;
  int shift;
  int64_t* fresh;    // (features, 2, kGbrtCells); a feature's used cells alone
  int64_t* sibling;  // or null
  GbrtNode fresh_node, sibling_node;
  bool search_fresh, search_sibling;
  GbrtSearch search;
  GbrtSplit* fresh_splits;    // (features)
  GbrtSplit* sibling_splits;  // (features)
};

}  // namespace seqrisk
