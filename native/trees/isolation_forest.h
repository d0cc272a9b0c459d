// Isolation forests (Liu, Ting & Zhou 2008): trees that cut samples of the rows at random. What is cut off early is
// unusual. With an extension, cuts are oblique (Hariri et al. 2019).
#pragma once

#include <cstdint>
#include <vector>

#include "ops/iforest_score.h"

namespace seqrisk {

struct IforestOptions {
  int64_t trees = 100;
  int64_t samples = 256;  // rows of a tree; no more than there are
  int64_t extension = 0;  // features that a cut looks at besides one
  uint64_t seed = 0;
};

class IsolationForest {
 public:
  IsolationForest(int64_t features, const IforestOptions& options);

  int64_t features() const { return features_; }
  const IforestOptions& options() const { return options_; }
  int64_t nodes_per_tree() const { return 2 * options_.samples - 1; }

  // The rows of a tree, ascending: `samples` of them without replacement, every set as likely as any other.
  std::vector<int64_t> sample(int64_t tree, int64_t rows) const;
  // Grows a tree on its rows, (samples, features) row-major. Trees may grow at the same time.
  void grow(int64_t tree, const double* values);
  // All but the rows and where scores go.
  IforestScore score_call() const;

 private:
  class Grower;

  int64_t features_;
  IforestOptions options_;
  int64_t levels_;
  std::vector<IforestNode> nodes_;  // (trees, nodes_per_tree)
  std::vector<double> depths_;
  std::vector<IforestTerm> terms_;  // (trees, samples − 1, extension + 1)
  std::vector<int32_t> roots_;
};

// Mean depth of an unsuccessful search in a binary tree of that many rows (eq. 1).
double mean_path(double rows);

}  // namespace seqrisk
