// What rows that do not train are for: the loss on them, the round at which it was best, out-of-bag scores.
#include <algorithm>
#include <cmath>

#include "runtime/thread_pool.h"
#include "trees/gbrt_trainer.h"

namespace seqrisk {

bool GbrtTrainer::has_validation() const {
  const auto validates = static_cast<uint8_t>(RowRole::validate);
  const uint8_t* end = memory_.roles + bins_.rows;
  if (watched_.bins.rows > 0) return true;
  return memory_.roles && options_.objective != GbrtObjective::custom &&
         std::find(memory_.roles, const_cast<uint8_t*>(end), validates) != end;
}

void GbrtTrainer::copy_scores(const double* from, double* to, HostContext& context) const {
  const int64_t count = options_.classes * bins_.rows;
  if (on_card_) return context.card->copy(to, from, static_cast<size_t>(count) * sizeof(double));
  context.workers.run((count + kGbrtBlockRows - 1) / kGbrtBlockRows, [&](int64_t block, int) {
    std::copy(from + block * kGbrtBlockRows, from + std::min(count, (block + 1) * kGbrtBlockRows),
              to + block * kGbrtBlockRows);
  });
}

// Takes note of a round's loss; false when patience is at its end.
bool GbrtTrainer::watch(const GbrtBoost& boost, HostContext& context) {
  // Rows of another matrix have the last tree already; those of this one get it with the next gradients.
  if (watched_.bins.rows == 0) flush_scores(context);
  const double loss = validation_loss(context);
  if (context.workers.cancelled()) return false;
  losses_.push_back(loss);
  if (losses_.size() == 1 || loss < best_loss_) {
    best_loss_ = loss;
    best_round_ = rounds_.load();
    if (boost.patience > 0) {
      flush_scores(context);
      copy_scores(on_card_ ? card_.scores : memory_.scores, boost.best_scores, context);
    }
    return true;
  }
  return boost.patience == 0 || rounds_.load() - best_round_ < boost.patience;
}

std::optional<Error> GbrtTrainer::begin_watched(const GbrtWatched& watched, HostContext& context) const {
  if (auto error = expect_begun("watch")) return error;
  const int64_t rows = watched.bins.rows;
  const GbrtGiven& given = *watched.given;
  const float* weights = given.weights.empty() ? nullptr : given.weights.data();
  double sum = 0;
  for (int64_t r = 0; r < rows; ++r) {
    const double w = weights ? static_cast<double>(weights[r]) : 1.0;
    if (!(w >= 0 && w < HUGE_VAL)) {
      return Error::range("[gbrt] expected weights to be finite and at least 0 but received " + std::to_string(w) +
                          " at validation row " + std::to_string(r));
    }
    sum += w;
    if (w == 0) continue;
    if (auto error = check_target(static_cast<double>(given.targets[static_cast<size_t>(r)]), r)) return error;
  }
  if (sum == 0) {
    return Error::range("[gbrt] expected at least one validation row with a weight above 0 but received none");
  }
  std::vector<double> scores = given.scores;
  if (scores.empty()) {
    for (const double start : init_) scores.insert(scores.end(), static_cast<size_t>(rows), start);
  }
  if (on_card_) {
    context.card->upload(watched.scores, scores.data(), scores.size() * sizeof(double));
  } else {
    std::copy(scores.begin(), scores.end(), watched.scores);
  }
  return std::nullopt;
}

// Adds the last tree to the watched rows' scores: the same sums, in the same order, as rows of the training matrix get.
void GbrtTrainer::score_watched(int64_t cls, size_t first_node, HostContext& context) {
  if (leaves_.size() == 1) return;
  const std::vector<GbrtFollowNode> nodes = follow_nodes(first_node);
  const int64_t rows = watched_.bins.rows;
  double* scores = watched_.scores + cls * rows;
  if (on_card_) {
    context.card->upload(card_.follow, nodes.data(), nodes.size() * sizeof(nodes[0]));
    context.card->upload(card_.follow_values, values_.data(), leaves_.size() * sizeof(double));
    context.card->launch(CardKernel::gbrt_follow, GbrtFollow{rows, card_.follow, card_.follow_values, scores});
    return;
  }
  context.workers.run(gbrt_blocks(rows), [&](int64_t block, int) {
    const int64_t end = std::min(rows, (block + 1) * kGbrtBlockRows);
    for (int64_t r = block * kGbrtBlockRows; r < end; ++r) {
      int32_t at = 0;
      while (at >= 0) {
        const GbrtFollowNode& node = nodes[static_cast<size_t>(at)];
        const uint8_t bin = node.bins[r * node.stride];
        at = node.children[node.left[bin >> 6] >> (bin & 63) & 1];
      }
      scores[r] += values_[static_cast<size_t>(-1 - at)];
    }
  });
}

// The last tree, over the bins of the watched rows.
std::vector<GbrtFollowNode> GbrtTrainer::follow_nodes(size_t first_node) const {
  std::vector<GbrtFollowNode> nodes(leaves_.size() - 1);
  for (size_t i = 0; i < nodes.size(); ++i) {
    const size_t at = first_node + i;
    const int64_t f = model_.split_feature[at];
    const GbrtGroup group = watched_.bins.group_of(f);
    GbrtFollowNode& node = nodes[i];
    node.bins = group.bins + f - group.first;
    node.stride = group.width;
    node.children[0] = model_.right_child[at];
    node.children[1] = model_.left_child[at];
    const GbrtFeature& feature = features_[static_cast<size_t>(f)];
    const int64_t threshold = model_.threshold_bin[at];
    if (model_.decision[at] & 1) {
      std::copy_n(model_.category_bins.begin() + threshold * 4, 4, node.left);
      continue;
    }
    std::fill_n(node.left, 4, 0);
    for (int64_t b = 0; b < kGbrtCells; ++b) {
      const bool left = feature.has_nan && b == feature.bins ? (model_.decision[at] & 2) != 0 : b <= threshold;
      if (left) node.left[b >> 6] |= uint64_t{1} << (b & 63);
    }
  }
  return nodes;
}

// Mean loss over the validating rows: squared error, log loss, or the softmax's. Added up block by block.
double GbrtTrainer::validation_loss(HostContext& context) {
  const bool is_apart = watched_.bins.rows > 0;
  const int64_t rows = is_apart ? watched_.bins.rows : bins_.rows;
  const int64_t blocks = gbrt_blocks(rows);
  const double* scores = is_apart ? watched_.scores : memory_.scores;
  if (on_card_) {
    // Its logarithms are the host's: a loss has the same bits whatever grew the trees.
    host_scores_.resize(static_cast<size_t>(options_.classes * rows));
    const double* from = is_apart ? watched_.scores : card_.scores;
    if (!context.card->download(host_scores_.data(), from, host_scores_.size() * sizeof(double))) return 0;
    scores = host_scores_.data();
  }
  const auto given = [](const std::vector<float>& values) { return values.empty() ? nullptr : values.data(); };
  const float* targets = is_apart ? given(watched_.given->targets) : memory_.targets;
  const float* weights = is_apart ? given(watched_.given->weights) : memory_.weights;
  block_loss_.assign(static_cast<size_t>(blocks), 0);
  block_loss_weight_.assign(static_cast<size_t>(blocks), 0);
  context.workers.run(blocks, [&](int64_t block, int) {
    double loss = 0;
    double weight = 0;
    const int64_t end = std::min(rows, (block + 1) * kGbrtBlockRows);
    for (int64_t r = block * kGbrtBlockRows; r < end; ++r) {
      if (!is_apart && memory_.roles[r] != static_cast<uint8_t>(RowRole::validate)) continue;
      const double w = weights ? static_cast<double>(weights[r]) : 1.0;
      if (w == 0) continue;
      const double s = scores[r];
      const double t = static_cast<double>(targets[r]);
      double own = 0;
      switch (options_.objective) {
        case GbrtObjective::logistic:
          own = std::max(s, 0.0) + std::log1p(std::exp(-std::fabs(s))) - t * s;
          break;
        case GbrtObjective::softmax: {
          double most = s;
          for (int64_t k = 1; k < options_.classes; ++k) most = std::max(most, scores[k * rows + r]);
          double sum = 0;
          for (int64_t k = 0; k < options_.classes; ++k) sum += std::exp(scores[k * rows + r] - most);
          own = most + std::log(sum) - scores[static_cast<int64_t>(t) * rows + r];
          break;
        }
        default:
          own = (s - t) * (s - t);
      }
      loss += own * w;
      weight += w;
    }
    block_loss_[static_cast<size_t>(block)] = loss;
    block_loss_weight_[static_cast<size_t>(block)] = weight;
  });
  double loss = 0;
  double weight = 0;
  for (size_t b = 0; b < block_loss_.size(); ++b) {
    loss += block_loss_[b];
    weight += block_loss_weight_[b];
  }
  return loss / weight;
}

// Adds the last tree's leaves to the rows that it did not see.
void GbrtTrainer::collect_outside(int64_t cls, HostContext& context) {
  const double start = init_[static_cast<size_t>(cls)];
  if (on_card_) {
    float* counts = cls == 0 ? card_.outside_count : nullptr;
    return add_leaves_card(card_.outside_sum + cls * bins_.rows, counts, start, context);
  }
  double* sum = memory_.outside_sum + cls * bins_.rows;
  context.workers.run(blocks_, [&](int64_t block, int) {
    const int64_t base = block * kGbrtBlockRows;
    for (size_t leaf = 0; leaf < leaves_.size(); ++leaf) {
      const GbrtSegment& segment = memory_.segments[static_cast<int64_t>(leaf) * blocks_ + block];
      const uint16_t* offset = memory_.index + base + segment.begin + segment.in;
      for (int64_t i = 0; i < segment.out; ++i) {
        sum[base + offset[i]] += values_[leaf] + start;
        if (cls == 0) memory_.outside_count[base + offset[i]] += 1;
      }
    }
  });
}

void GbrtTrainer::outside_scores(double* out, HostContext& context) {
  const double* sums = memory_.outside_sum;
  const float* counts = memory_.outside_count;
  std::vector<float> host_counts;
  if (on_card_ && card_.outside_sum) {
    host_counts.resize(static_cast<size_t>(bins_.rows));
    const auto bytes = static_cast<size_t>(options_.classes * bins_.rows) * sizeof(double);
    if (!context.card->download(host_counts.data(), card_.outside_count, host_counts.size() * sizeof(float)) ||
        !context.card->download(out, card_.outside_sum, bytes)) {
      return;
    }
    sums = out;
    counts = host_counts.data();
  }
  context.workers.run(blocks_, [&](int64_t block, int) {
    const int64_t end = std::min(bins_.rows, (block + 1) * kGbrtBlockRows);
    for (int64_t k = 0; k < options_.classes; ++k) {
      for (int64_t r = block * kGbrtBlockRows; r < end; ++r) {
        const double count = counts ? static_cast<double>(counts[r]) : 0;
        out[k * bins_.rows + r] = count > 0 ? sums[k * bins_.rows + r] / count : std::nan("");
      }
    }
  });
}

}  // namespace seqrisk
