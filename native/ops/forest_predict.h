// forest_predict: out[r, k] = Σ of the leaves that row r reaches in the trees of class k, then the transform.
// Bytes: rows·features·(size of a value). Operations: one comparison for each level of each tree.
#pragma once

#include <cstdint>

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

enum class ForestTransform : int { raw, sigmoid, softmax, average };

struct ForestPredict {
  const ForestNode* nodes;
  const int32_t* roots;  // (trees): a node, or −1 − leaf
  const double* leaves;
  const uint32_t* category_bits;  // bit c of a split: category c goes left
  int64_t trees;                  // tree t belongs to class t mod classes
  int64_t classes;
  ForestTransform transform;
  double sigmoid;      // factor of the score
  const void* values;  // float32 or float64, row r's feature f at r·row_stride + f·feature_stride
  bool is_double;
  int64_t row_stride;
  int64_t feature_stride;
  int64_t rows;
  int64_t features;
  double* out;  // (rows, classes)
};

}  // namespace seqrisk
