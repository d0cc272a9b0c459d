// iforest_score: out[r] = 2^(−mean depth of row r over the trees · per_depth) (Liu et al. 2008, eq. 2).
// Bytes: rows·features·(size of a value). Operations: one comparison for each level of each tree.
#pragma once

#include <cstdint>

#include "ops/iforest_tree.h"

namespace seqrisk {

constexpr int64_t kIforestTileRows = 64;

struct IforestScore {
  const IforestNode* nodes;  // (trees, nodes_per_tree)
  const double* depths;      // the same; of leaves: the path's length, with what isolating its rows would add
  const IforestTerm* terms;  // null: cuts look at one feature
  int64_t terms_per_node;
  int64_t nodes_per_tree;
  int64_t trees;
  int64_t levels;      // no path has more cuts
  double per_depth;    // 1 / the mean path's length
  const void* values;  // float32 or float64, row r's feature f at r·row_stride + f·feature_stride
  bool is_double;
  int64_t row_stride;
  int64_t feature_stride;
  int64_t rows;
  int64_t features;
  double* scratch;  // (workers, features, kIforestTileRows)
  double* out;      // (rows)
};

}  // namespace seqrisk
