// The passes of a boosting round on a card: rows drawn, leaves added to scores, gradients, and a whole tree grown
// without the host. Rows are listed leaf by leaf in `order`, those that train before the others; a split writes its
// children's rows to the other of two lists, in no particular order: sums of integers do not mind.
#pragma once

#include "ops/gbrt_gain.h"
#include "ops/gbrt_rows.h"
#include "ops/gbrt_tree.h"

namespace seqrisk {

struct GbrtRange {
  uint32_t begin;
  uint32_t count;
};

struct GbrtCardLeaf {
  GbrtNode node;
  GbrtSplit split;
  double l2;
  int64_t depth;
  int64_t slot;       // of its histogram
  GbrtRange in, out;  // rows that train, and others
  int32_t list;       // which of the two
};

// Leaf l as it is in the end, and the leaf that split l made two of, l ≥ 1: it stays `at`, the right side becomes l.
struct GbrtGrown {
  GbrtCardLeaf leaf;
  GbrtCardLeaf before;
  int64_t at;
};

// Left and right rows that found their place so far: low and high half.
using GbrtTally = unsigned long long;

// What the kernels of a tree tell each other, and the host in the end.
struct GbrtGrowing {
  int64_t leaves;
  int64_t at;  // the leaf that is split next; −1: there is none
  int64_t right;
  GbrtCardLeaf parent;
  GbrtNode left_node, right_node;  // without counts
  double l2;
  uint64_t go_left[4];
  bool needed;         // histograms of the children
  bool is_left_fresh;  // the left child is built, the right one is the rest
  GbrtTally rows_in, rows_out;
  unsigned long long left_weight;
  unsigned int finished;  // blocks of a search
};

// Results of passes over all rows.
struct GbrtCardTotals {
  unsigned long long most_residual;  // bits of a float64 from 0
  unsigned long long drawn;          // rows or whole weight of a bag
  unsigned int most_units;           // of a row of the bag
};

// Of random numbers.
constexpr uint32_t kGbrtBaggingStream = 0x6a9;
constexpr uint32_t kGbrtBootstrapStream = 0x6ac;

// No row is drawn more often for a tree.
constexpr int kGbrtMostDraws = 15;

// above[k] = 2^32 · P(more than k) for a Poisson draw of mean 1.
SEQRISK_BOTH void gbrt_poisson_above(uint32_t* above) {
  double term = 0.36787944117144233;
  double sum = term;
  for (int k = 0; k < kGbrtMostDraws; ++k) {
    above[k] = static_cast<uint32_t>((1 - sum) * 4294967296.0);
    term /= static_cast<double>(k + 1);
    sum += term;
  }
}

// Draws the rows of a bag (a share of the candidates), or how often each row is part of a bootstrap. `totals` was
// cleared.
struct GbrtDrawRows {
  int64_t rows;
  const uint8_t* candidates;  // (rows)
  bool is_bootstrap;
  double limit;     // bag: the share
  uint32_t stream;  // of random numbers
  uint32_t draw;    // bag: its number; bootstrap: the tree
  uint64_t seed;
  bool whole_weights;
  const float* own_weights;  // (rows) or null: 1
  float* weights;            // bootstrap: (rows) written
  uint8_t* trains;           // (rows) written
  GbrtCardTotals* totals;
};

// A run of `order` whose rows get a value; runs ascend.
struct GbrtRun {
  uint32_t begin;
  int32_t list;
  double value;
  bool is_used;
};

// out[row] += value for the rows of each run; with `counts` also counts[row] += 1.
struct GbrtAddLeaves {
  int64_t rows;
  const uint32_t* order;  // (2, rows); null: rows in order
  const GbrtRun* runs;    // (count) in the card's memory
  int64_t count;
  double* out;    // (rows)
  float* counts;  // (rows) or null
};

struct GbrtPackGradients {
  int64_t rows;
  GbrtObjective objective;
  const double* scores;      // (classes, rows)
  const float* targets;      // (rows)
  const float* weights;      // (rows) in units; null: all 1
  const float* custom_grad;  // (rows)
  const float* custom_hess;  // (rows)
  double* log_sum;           // (rows) softmax: log Σ e^score, written when `cls` is 0
  int64_t classes;
  int64_t cls;
  double g_scale;
  double h_scale;
  int shift;
  bool constant_hessian;
  bool whole_weights;
  const uint8_t* bounded;  // (rows) whose residuals count; null: all
  int64_t* packed;         // (rows) written
  GbrtCardTotals* totals;  // most_residual was cleared
};

struct GbrtGrow {
  GbrtBins bins;
  const int64_t* packed;       // (rows)
  const uint8_t* trains;       // (rows) or null
  const float* whole_weights;  // (rows) integers, or null: each row counts once
  int64_t most_weight;         // in units, of one row
  int shift;
  const GbrtFeature* features;  // (features), this and the next in the card's memory
  const int8_t* monotone;       // (features) or null
  const uint8_t* usable;        // (nodes, features) or null; node 0 is the root, 2l − 1 and 2l the children of split l
  int64_t usable_stride;        // 0: the same for all nodes
  GbrtSearch search;
  GbrtLeafRules rules;
  double max_delta_step;
  double root_count;
  int64_t num_leaves;
  uint32_t* order;       // (2, rows)
  int64_t* histograms;   // (num_leaves, features, 2, kGbrtCells)
  GbrtSplit* splits;     // (2, features)
  GbrtGrowing* growing;  // GbrtGrown grown[num_leaves] stands behind it
  int64_t first_split;   // 0: starts a tree
  int64_t end_split;     // splits first_split … end_split − 1, as far as there are any
};

inline constexpr size_t kGbrtGrowingBytes = (sizeof(GbrtGrowing) + 63) / 64 * 64;
SEQRISK_BOTH GbrtGrown* gbrt_grown(GbrtGrowing* growing) {
  return reinterpret_cast<GbrtGrown*>(reinterpret_cast<char*>(growing) + kGbrtGrowingBytes);
}

// Adds a tree to the scores of rows that took no part in its growth, node by node.
struct GbrtFollowNode {
  const uint8_t* bins;  // of the feature, `stride` apart
  int64_t stride;
  uint64_t left[4];     // bit b for a bin that goes left
  int32_t children[2];  // right, left: a node or −1 − leaf
};
struct GbrtFollow {
  int64_t rows;
  const GbrtFollowNode* nodes;  // in the card's memory, as the next
  const double* values;         // of leaves
  double* scores;               // (rows)
};

}  // namespace seqrisk
