// How a tree grows: the root's histogram, then leaf after leaf the split that brings most.
#include <algorithm>
#include <cmath>
#include <limits>

#include "runtime/thread_pool.h"
#include "trees/fixed_point.h"
#include "trees/gbrt_trainer.h"

namespace seqrisk {
namespace {

constexpr double kNone = kGbrtNoGain;
constexpr double kLeastBound = 0x1p-126;  // of gradients that are all 0
constexpr int64_t kRowsPerTask = 2048;    // below it the hand-over to a thread costs more than it brings

// Ties go to the lowest feature.
const GbrtSplit& best_of(const std::vector<GbrtSplit>& splits) {
  size_t best = 0;
  for (size_t f = 1; f < splits.size(); ++f) {
    if (splits[f].gain > splits[best].gain) best = f;
  }
  return splits[best];
}

}  // namespace

GbrtLeafRules GbrtTrainer::rules() const {
  const bool is_log_odds =
      options_.objective == GbrtObjective::logistic || options_.objective == GbrtObjective::softmax;
  return {options_.lambda_l1, options_.min_data_in_leaf, options_.max_depth, is_log_odds};
}

bool GbrtTrainer::may_split(const Leaf& leaf) const {
  return gbrt_may_split(rules(), leaf.node, leaf.depth);
}

double GbrtTrainer::leaf_value(const Leaf& leaf) const {
  return gbrt_leaf_value(rules(), search_, leaf.node, leaf.l2);
}

void GbrtTrainer::start_tree() {
  Leaf root{};
  root.l2 = options_.lambda_l2;
  root.parent = -1;
  root.split.gain = kNone;
  root.node.high = options_.max_delta_step > 0 ? options_.max_delta_step : -kNone;
  root.node.low = -root.node.high;
  leaves_.assign(1, root);
}

// One tree for a class, into the model; false when the root has no split.
bool GbrtTrainer::grow(int64_t cls, HostContext& context) {
  choose_features();
  const double bound = options_.objective == GbrtObjective::logistic || options_.objective == GbrtObjective::softmax
                           ? 1.0
                           : power_above(std::max(most_residual_, kLeastBound));
  const double hessian_bound = options_.objective == GbrtObjective::logistic  ? 0.25
                               : options_.objective == GbrtObjective::softmax ? 0.5
                               : options_.objective == GbrtObjective::custom
                                   ? power_above(std::max(most_hessian_, kLeastBound))
                                   : 1.0;
  g_scale_ = std::ldexp(1.0, format_.g_bits) / bound;
  h_scale_ = constant_hessian_ ? 1.0 : std::ldexp(1.0, format_.h_bits) / hessian_bound;
  search_.g_unit = unit_ / g_scale_;
  search_.h_unit = unit_ / h_scale_;
  const size_t first_node = model_.split_feature.size();
  if (!on_card_) {
    grow_leaves(cls, context);
  } else if (!grow_card(cls, context)) {
    return false;
  }
  if (context.workers.cancelled()) return false;
  const bool is_first = options_.forest || static_cast<int64_t>(model_.num_leaves.size()) < options_.classes;
  const double start = is_first ? init_[static_cast<size_t>(cls)] : 0;
  double largest = 0;
  for (size_t l = 0; l < leaves_.size(); ++l) {
    const Leaf& leaf = leaves_[l];
    values_[l] = leaves_.size() == 1 ? 0 : leaf_value(leaf) * rate_;
    largest = std::max(largest, std::fabs(values_[l]));
    model_.leaf_value.push_back(values_[l] + start);
    model_.leaf_weight.push_back(static_cast<double>(leaf.node.h) * search_.h_unit);
    model_.leaf_count.push_back(leaf.node.count);
    if (leaf.parent >= 0) {
      auto& children = leaf.is_left ? model_.left_child : model_.right_child;
      children[first_node + static_cast<size_t>(leaf.parent)] = -1 - static_cast<int32_t>(l);
    }
  }
  model_.num_leaves.push_back(static_cast<int32_t>(leaves_.size()));
  if (options_.forest) {
    collect_outside(cls, context);
    return leaves_.size() > 1;
  }
  pending_class_ = cls;
  if (watched_.bins.rows > 0) score_watched(cls, first_node, context);
  if (options_.objective == GbrtObjective::squared) {
    // Bounds the next residuals without another pass: those before this tree, and what the tree changes.
    most_residual_ = *std::max_element(block_residual_.begin(), block_residual_.end()) + largest;
  }
  return leaves_.size() > 1;
}

// From the root, leaf after leaf.
void GbrtTrainer::grow_leaves(int64_t cls, HostContext& context) {
  GbrtGradient call = gradient_call(cls);
  call.g_scale = g_scale_;
  call.h_scale = h_scale_;
  call.packed = memory_.packed;
  context.kernels.gbrt_gradient(call, context.workers);
  pending_class_ = -1;
  if (context.workers.cancelled()) return;
  is_identity_ = !memory_.trains;
  start_tree();
  GbrtFind find{};
  find.features = features_.data();
  find.usable_sibling = node_features(0, sibling_usable_);
  find.monotone = options_.monotone.empty() ? nullptr : options_.monotone.data();
  find.count = bins_.features;
  find.cells = cells_;
  find.shift = format_.shift;
  find.fresh = memory_.histograms;
  find.fresh_splits = fresh_splits_.data();
  find.search = search_;
  // The totals of the root are read off its histogram, so it is written first and searched in a second call.
  context.kernels.gbrt_find(find, context.workers);
  if (context.workers.cancelled()) return;
  GbrtNode& node = leaves_[0].node;
  for (int64_t b = 0; b < gbrt_used_cells(features_[0]); ++b) {
    node.g += memory_.histograms[b];
    node.h += memory_.histograms[kGbrtCells + b];
  }
  node.count = bag_count_;
  if (may_split(leaves_[0])) {
    // Read as a sibling: nothing is pending, so that nothing is subtracted.
    find.fresh = memory_.histograms + (options_.num_leaves - 1) * bins_.features * 2 * kGbrtCells;
    find.sibling = memory_.histograms;
    find.sibling_node = node;
    find.search_sibling = true;
    find.sibling_splits = sibling_splits_.data();
    context.kernels.gbrt_find(find, context.workers);
    if (context.workers.cancelled()) return;
    leaves_[0].split = best_of(sibling_splits_);
  }
  while (static_cast<int64_t>(leaves_.size()) < options_.num_leaves) {
    size_t best = 0;
    for (size_t l = 1; l < leaves_.size(); ++l) {
      if (leaves_[l].split.gain > leaves_[best].split.gain) best = l;
    }
    if (!(leaves_[best].split.gain > kNone)) break;
    split_leaf(static_cast<int64_t>(best), context);
    if (context.workers.cancelled()) return;
  }
}

void GbrtTrainer::split_leaf(int64_t at, HostContext& context) {
  const int64_t histogram = bins_.features * 2 * kGbrtCells;
  const auto right_at = static_cast<int64_t>(leaves_.size());
  const Leaf parent = leaves_[static_cast<size_t>(at)];
  const GbrtSplit& split = parent.split;
  const GbrtFeature& feature = features_[static_cast<size_t>(split.feature)];
  uint8_t go_left[kGbrtCells] = {};
  for (int64_t b = 0; b < kGbrtCells; ++b) {
    go_left[b] = split.is_category                      ? split.left_bins[b >> 6] >> (b & 63) & 1
                 : feature.has_nan && b == feature.bins ? split.nan_left
                                                        : b <= split.bin;
  }
  Leaf left = parent;
  Leaf right = parent;
  left.depth = right.depth = parent.depth + 1;
  left.l2 = right.l2 =
      options_.lambda_l2 + (split.is_category && feature.bins > options_.max_cat_to_onehot ? options_.cat_l2 : 0);
  const int sign = options_.monotone.empty() ? 0 : options_.monotone[static_cast<size_t>(split.feature)];
  gbrt_children(rules(), search_, parent.node, split, sign, left.l2, &left.node, &right.node);
  const bool is_left_smaller = 2 * split.left_count <= parent.node.count;
  const bool is_last = right_at + 1 == options_.num_leaves;
  // A guess, good enough to skip histograms that nobody reads; counts are exact only after the partition.
  const bool is_deepest = options_.max_depth > 0 && left.depth >= options_.max_depth;
  const bool needed = !is_last && !is_deepest && parent.node.count >= 2 * options_.min_data_in_leaf;

  GbrtPartition part{};
  part.bins = bins_;
  part.index = memory_.index;
  part.is_identity = is_identity_;
  part.parent = memory_.segments + at * blocks_;
  part.right = memory_.segments + right_at * blocks_;
  part.feature = split.feature;
  part.go_left = go_left;
  part.build = !needed ? 0 : is_left_smaller ? 1 : 2;
  part.blocks_per_task = std::clamp<int64_t>(
      static_cast<int64_t>(static_cast<double>(kRowsPerTask * blocks_) / std::max(1.0, parent.node.count)), 1, blocks_);
  part.packed = memory_.packed;
  part.shift = format_.shift;
  if (memory_.weights) part.weight_bounds = {block_total_.data(), block_most_.data()};
  part.whole_weights = whole_weights_ ? memory_.weights : nullptr;
  part.left_weight = block_weight_.data();
  part.cells = cells_;
  part.scratch = memory_.scratch;
  context.kernels.gbrt_partition(part, context.workers);
  is_identity_ = false;
  if (context.workers.cancelled()) return;
  int64_t left_weight = 0;
  for (const int64_t weight : block_weight_) left_weight += weight;
  left.node.count = static_cast<double>(left_weight);
  right.node.count = parent.node.count - left.node.count;

  Leaf& fresh = is_left_smaller ? left : right;
  Leaf& sibling = is_left_smaller ? right : left;
  left.split.gain = right.split.gain = kNone;
  if (needed) {
    fresh.slot = right_at;  // the parent's slot becomes the sibling's
    GbrtFind find{};
    find.features = features_.data();
    const int64_t left_number = 2 * right_at - 1;
    find.usable = node_features(is_left_smaller ? left_number : left_number + 1, fresh_usable_);
    find.usable_sibling = node_features(is_left_smaller ? left_number + 1 : left_number, sibling_usable_);
    find.monotone = options_.monotone.empty() ? nullptr : options_.monotone.data();
    find.count = bins_.features;
    find.cells = cells_;
    find.shift = format_.shift;
    find.fresh = memory_.histograms + fresh.slot * histogram;
    find.sibling = memory_.histograms + sibling.slot * histogram;
    find.fresh_node = fresh.node;
    find.sibling_node = sibling.node;
    find.search_fresh = may_split(fresh);
    find.search_sibling = may_split(sibling);
    find.search = search_;
    find.fresh_splits = fresh_splits_.data();
    find.sibling_splits = sibling_splits_.data();
    context.kernels.gbrt_find(find, context.workers);
    if (find.search_fresh) fresh.split = best_of(fresh_splits_);
    if (find.search_sibling) sibling.split = best_of(sibling_splits_);
  }
  add_split(at, parent, left, right);
}

// A node of the model in place of the leaf that it splits.
void GbrtTrainer::add_split(int64_t at, const Leaf& parent, Leaf left, Leaf right) {
  const GbrtSplit& split = parent.split;
  const size_t first_node = model_.split_feature.size() - leaves_.size() + 1;
  const auto node = static_cast<int32_t>(leaves_.size()) - 1;
  if (parent.parent >= 0) {
    auto& children = parent.is_left ? model_.left_child : model_.right_child;
    children[first_node + static_cast<size_t>(parent.parent)] = node;
  }
  model_.split_feature.push_back(split.feature);
  model_.threshold_bin.push_back(split.is_category ? static_cast<int32_t>(model_.category_bins.size() / 4) : split.bin);
  if (split.is_category) {
    model_.category_bins.insert(model_.category_bins.end(), split.left_bins, split.left_bins + 4);
  }
  model_.decision.push_back(static_cast<uint8_t>((split.is_category ? 1 : 0) | (split.nan_left ? 2 : 0)));
  model_.left_child.push_back(0);
  model_.right_child.push_back(0);
  model_.split_gain.push_back(split.gain);
  model_.internal_value.push_back(leaf_value(parent) * rate_);
  model_.internal_weight.push_back(static_cast<double>(parent.node.h) * search_.h_unit);
  model_.internal_count.push_back(parent.node.count);
  left.parent = right.parent = node;
  left.is_left = true;
  right.is_left = false;
  leaves_[static_cast<size_t>(at)] = left;
  leaves_.push_back(right);
}

}  // namespace seqrisk
