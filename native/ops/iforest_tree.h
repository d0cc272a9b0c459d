// Isolation trees, as they are grown and walked. A tree has 2·samples − 1 places for nodes, its root at the first, and
// where cuts are oblique samples − 1 times (extension + 1) terms.
#pragma once

#include <cstdint>

#include "ops/both.h"
#include "ops/same_math.h"

namespace seqrisk {

constexpr double kIforestLeaf = __builtin_huge_val();  // the threshold of leaves alone

struct IforestNode {
  double threshold;        // values above it go right
  int32_t left;            // the right child comes next; a leaf is its own left child
  uint32_t feature : 31;   // with terms: number of the node's first term
  uint32_t nan_right : 1;  // missing values go right
};

// An oblique cut looks at Σ weight·(value − center); a missing value adds nothing.
struct IforestTerm {
  double weight;
  double center;
  int64_t feature;
};

// Mean depth of an unsuccessful search in a binary tree of that many rows (Liu et al. 2008, eq. 1).
SEQRISK_BOTH double iforest_mean_path(int64_t rows) {
  if (rows <= 1) return 0;
  if (rows == 2) return 1;
  constexpr double kEuler = 0.57721566490153286;
  const auto n = static_cast<double>(rows);
  return 2 * (same_log(n - 1) + kEuler) - 2 * (n - 1) / n;
}

}  // namespace seqrisk
