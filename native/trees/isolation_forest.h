// Isolation forests (Liu, Ting & Zhou 2008): trees that cut samples of the rows at random. What is cut off early is
// unusual. With an extension, cuts are oblique (Hariri et al. 2019).
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "ops/iforest_grow.h"
#include "ops/iforest_score.h"

namespace seqrisk {

struct IforestOptions {
  int64_t features = 1;
  int64_t trees = 100;
  int64_t samples = 256;  // rows of a tree; no more than there are
  int64_t extension = 0;  // features that a cut looks at besides one
  uint64_t seed = 0;
};

class IsolationForest {
 public:
  explicit IsolationForest(const IforestOptions& options);

  const IforestOptions& options() const { return options_; }
  // Bytes of its trees, which stand where its kernels run.
  size_t bytes() const { return carve(nullptr).bytes; }
  void place(std::byte* trees) { memory_ = carve(trees); }

  // The rows of a tree, ascending: `samples` of them without replacement, every set as likely as any other.
  std::vector<int64_t> sample(int64_t tree, int64_t rows) const;
  // All but the rows and scratch memory. Trees may grow at the same time.
  IforestGrow grow_call(int64_t first, int64_t count) const;
  // All but the rows, scratch memory and where scores go.
  IforestScore score_call() const;

 private:
  struct Memory {
    IforestNode* nodes;
    double* depths;
    IforestTerm* terms;
    size_t bytes;
  };
  Memory carve(std::byte* base) const;
  int64_t nodes_per_tree() const { return 2 * options_.samples - 1; }

  IforestOptions options_;
  int64_t levels_ = 0;
  Memory memory_{};
};

}  // namespace seqrisk
