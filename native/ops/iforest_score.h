// iforest_score: out[r] = 2^(−mean depth of row r over the trees · per_depth) (Liu et al. 2008, eq. 2).
// Bytes: rows·features·(size of a value). Operations: one comparison for each level of each tree.
#pragma once

#include <cstdint>

namespace seqrisk {

struct IforestNode {
  double threshold;        // values above it go right; of a leaf +infinity
  int32_t left;            // the right child comes next; a leaf is its own left child
  uint32_t feature : 31;   // with terms: number of the node's first term
  uint32_t nan_right : 1;  // missing values go right
};

// An oblique split looks at Σ weight·(value − center); a missing value adds nothing.
struct IforestTerm {
  double weight;
  double center;
  int32_t feature;
};

constexpr int64_t kIforestTileRows = 64;

// On a card the trees stand in host memory, rows and results in the card's.
struct IforestScore {
  const IforestNode* nodes;
  const double* depths;      // (nodes) of leaves: the path's length, with what isolating its rows would add
  const int32_t* roots;      // (trees)
  const IforestTerm* terms;  // null: splits look at one feature
  int64_t terms_per_node;
  int64_t all_nodes;
  int64_t all_terms;
  int64_t trees;
  int64_t levels;      // no path has more splits
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
