// Trees as flat arrays, tree after tree; node and leaf numbers count from 0 in each tree, as LightGBM's files do.
#pragma once

#include <cstdint>
#include <vector>

namespace seqrisk {

struct GbrtModel {
  std::vector<int32_t> num_leaves;  // of each tree
  // Internal nodes, num_leaves − 1 a tree.
  std::vector<int32_t> split_feature;
  std::vector<int32_t> threshold_bin;  // categorical: number of the split's bits
  std::vector<uint8_t> decision;       // 1 categorical, 2 missing values go left
  std::vector<int32_t> left_child;     // ≥ 0: a node, else −1 − leaf
  std::vector<int32_t> right_child;
  std::vector<double> split_gain, internal_value, internal_weight, internal_count;
  // Leaves.
  std::vector<double> leaf_value, leaf_weight, leaf_count;
  // Four words for each categorical split of the whole model: bit b for a bin that goes left.
  std::vector<uint64_t> category_bins;

  void clear() { *this = GbrtModel(); }

  // Leaves the first trees.
  void truncate(size_t trees) {
    size_t leaves = 0;
    for (size_t t = 0; t < trees; ++t) leaves += static_cast<size_t>(num_leaves[t]);
    const size_t nodes = leaves - trees;
    num_leaves.resize(trees);
    split_feature.resize(nodes);
    threshold_bin.resize(nodes);
    decision.resize(nodes);
    left_child.resize(nodes);
    right_child.resize(nodes);
    for (auto* values : {&split_gain, &internal_value, &internal_weight, &internal_count}) values->resize(nodes);
    for (auto* values : {&leaf_value, &leaf_weight, &leaf_count}) values->resize(leaves);
  }
};

}  // namespace seqrisk
