// Trees that were checked, as prediction and SHAP values take them.
#pragma once

#include <napi.h>

#include <memory>
#include <vector>

#include "ops/forest_predict.h"

namespace seqrisk {

struct Forest {
  std::vector<ForestNode> nodes;
  std::vector<int32_t> roots;
  std::vector<double> leaves;
  std::vector<uint32_t> category_bits;
  std::vector<ForestMask> masks;
  std::vector<int32_t> first_node;
  std::vector<int32_t> first_leaf;
  std::vector<double> ordered_leaves;
  std::vector<uint8_t> has_masks;
  std::vector<ForestStep> steps;
  std::vector<double> step_leaves;
  std::vector<int64_t> first_step;
  bool is_narrow = true;
  int64_t features = 0;
  int64_t classes = 1;
  double sigmoid = 1;
};
using ForestHandle = std::shared_ptr<const Forest>;

// Throws for anything that is no forest.
const ForestHandle& forest_of(const Napi::Value& value);

}  // namespace seqrisk
