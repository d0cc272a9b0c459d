// forest_predict: out[r, k] = Σ of the leaves that row r reaches in the trees of class k, then the transform.
// Bytes: rows·features·(size of a value). Operations: one comparison for each level of each tree.
#pragma once

#include <cstdint>

#include "ops/both.h"
#include "ops/gbrt_rows.h"

namespace seqrisk {

enum class ForestMissing : uint8_t { none, zero, nan };

struct ForestNode {
  double threshold;  // categorical: index of the first word in `category_bits`
  int32_t feature;
  int32_t left;  // a node of the forest, or −1 − leaf of the forest
  int32_t right;
  uint16_t words;  // categorical: words of category bits
  ForestMissing missing;
  bool is_category : 1;
  bool nan_left : 1;
};

// A node as a test of many rows at once: a row whose value is above the threshold loses the leaves on the node's left.
// What is left in the end starts with the row's leaf (Lucchese et al. 2015, QuickScorer).
struct ForestMask {
  uint64_t keep;  // bit j: the tree's leaf j from the left stays, when the row goes right
  double threshold;
  float narrow;  // the largest float32 that is not above the threshold
  int32_t feature;
  bool nan_left;
};

// A node of a tree that rows follow without branches: its right child stands behind its left one, and a leaf leads to
// itself, whatever the value.
struct ForestStep {
  double threshold;
  float narrow;  // as a mask's
  int32_t feature;
  int32_t left;       // a step of the same tree
  int32_t nan_right;  // 1 or 0
};

constexpr int64_t kForestMaskLeaves = 64;    // of a tree that has masks
constexpr int64_t kForestNarrowLeaves = 32;  // of all trees, for masks over float32 rows as they are
constexpr int64_t kForestTileRows = 64;

enum class ForestTransform : int { raw, sigmoid, softmax, average };

// On a card the trees and bin_values stand in host memory, rows and results in the card's; it walks all trees.
struct ForestPredict {
  const ForestNode* nodes;
  const int32_t* roots;  // (trees): a node, or −1 − leaf
  const double* leaves;
  const uint32_t* category_bits;  // bit c of a split: category c goes left
  int64_t all_nodes;
  int64_t all_leaves;
  int64_t all_words;  // of category_bits
  // Trees by masks: nodes [first_node[t], first_node[t + 1]), leaves from left to right from first_leaf[t] on.
  const ForestMask* masks;  // null: all trees are walked, node by node
  const int32_t* first_node;
  const int32_t* first_leaf;
  const double* ordered_leaves;
  const uint8_t* has_masks;  // (trees)
  bool is_narrow;            // every tree with masks has kForestNarrowLeaves at most
  // Trees without masks by steps: from first_step[t] on, −1 where a tree has none of these either.
  const ForestStep* steps;    // null: no tree has any
  const double* step_leaves;  // of the leaves among the steps
  const int64_t* first_step;
  double* scratch;  // (workers, features, kForestTileRows)
  int64_t trees;    // tree t belongs to class t mod classes
  int64_t classes;
  ForestTransform transform;
  double sigmoid;      // factor of the score
  const void* values;  // float32 or float64, row r's feature f at r·row_stride + f·feature_stride
  bool is_double;
  int64_t row_stride;
  int64_t feature_stride;
  // Rows of a binned matrix instead: each bin stands for one value. null: values are read.
  const double* bin_values;  // (features, kGbrtCells)
  GbrtBins bins;
  int64_t first_row;
  int64_t rows;
  int64_t features;
  double* out;  // (rows, classes)
};

// LightGBM's rules.
SEQRISK_BOTH bool forest_goes_left(const uint32_t* category_bits, const ForestNode& node, double value) {
  if (node.is_category) {
    // NaN, negative and huge values are no category.
    if (!(value >= 0 && value < 2147483648.0)) return false;
    const int64_t category = static_cast<int64_t>(value);
    if (category >> 5 >= node.words) return false;
    return category_bits[static_cast<int64_t>(node.threshold) + (category >> 5)] >> (category & 31) & 1;
  }
  const bool is_nan = value != value;
  // A missing value where training saw none counts as 0.
  if (is_nan && node.missing != ForestMissing::nan) value = 0;
  if (node.missing == ForestMissing::nan ? is_nan
                                         : node.missing == ForestMissing::zero && value > -1e-35 && value < 1e-35) {
    return node.nan_left;
  }
  return value <= node.threshold;
}

}  // namespace seqrisk
