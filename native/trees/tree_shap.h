// Exact SHAP values of trees: what each feature adds to a prediction, over the paths that the training rows took.
// Lundberg et al. 2020, "From local explanations to global understanding with explainable AI for trees"; in one pass
// over the nodes, as in Yu et al. 2022, "Linear TreeShap", with Gauss–Legendre quadrature of the path's polynomial.
// Operations: nodes · depth for each row and tree.
#pragma once

#include <cstdint>
#include <optional>

#include "ops/forest_predict.h"
#include "ops/workers.h"
#include "runtime/error.h"

namespace seqrisk {

struct TreeShap {
  const ForestNode* nodes;
  int64_t all_nodes;
  const int32_t* roots;  // (trees)
  const double* leaves;
  int64_t all_leaves;
  const uint32_t* category_bits;
  const double* node_rows;  // rows of training in each node and leaf, above 0
  const double* leaf_rows;
  int64_t trees;  // tree t belongs to class t mod classes
  int64_t classes;
  int64_t features;
  double factor;       // of every leaf
  const void* values;  // float32 or float64, row r's feature f at r·row_stride + f·feature_stride
  bool is_double;
  int64_t row_stride;
  int64_t feature_stride;
  int64_t rows;
  double* out;  // (rows, classes, features + 1), the last is the mean over the training rows
};

// Deeper trees are refused: a walk calls itself for each level, and its memory grows with the square of the depth.
constexpr int64_t kShapMostDepth = 512;

// An error for trees that are deeper or no trees, and for nodes and leaves without rows. A row has the same bits for
// any number of workers.
std::optional<Error> tree_shap(const TreeShap& call, Workers& workers);

}  // namespace seqrisk
