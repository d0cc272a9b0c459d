// What rows that do not train are for: the loss on them, the round at which it was best, out-of-bag scores.
#include <algorithm>
#include <cmath>

#include "runtime/thread_pool.h"
#include "trees/gbrt_trainer.h"

namespace seqrisk {

bool GbrtTrainer::has_validation() const {
  const auto validates = static_cast<uint8_t>(RowRole::validate);
  const uint8_t* end = memory_.roles + bins_.rows;
  return memory_.roles && options_.objective != GbrtObjective::custom &&
         std::find(memory_.roles, const_cast<uint8_t*>(end), validates) != end;
}

void GbrtTrainer::copy_scores(const double* from, double* to, HostContext& context) const {
  const int64_t count = options_.classes * bins_.rows;
  context.workers.run((count + kGbrtBlockRows - 1) / kGbrtBlockRows, [&](int64_t block, int) {
    std::copy(from + block * kGbrtBlockRows, from + std::min(count, (block + 1) * kGbrtBlockRows),
              to + block * kGbrtBlockRows);
  });
}

// Takes note of a round's loss; false when patience is at its end.
bool GbrtTrainer::watch(const GbrtBoost& boost, HostContext& context) {
  flush_scores(context);
  const double loss = validation_loss(context);
  if (context.workers.cancelled()) return false;
  losses_.push_back(loss);
  if (losses_.size() == 1 || loss < best_loss_) {
    best_loss_ = loss;
    best_round_ = rounds_.load();
    if (boost.patience > 0) copy_scores(memory_.scores, boost.best_scores, context);
    return true;
  }
  return boost.patience == 0 || rounds_.load() - best_round_ < boost.patience;
}

// Mean loss over the validating rows: squared error, log loss, or the softmax's. Added up block by block.
double GbrtTrainer::validation_loss(HostContext& context) {
  block_loss_.assign(static_cast<size_t>(blocks_), 0);
  block_loss_weight_.assign(static_cast<size_t>(blocks_), 0);
  const int64_t rows = bins_.rows;
  context.workers.run(blocks_, [&](int64_t block, int) {
    double loss = 0;
    double weight = 0;
    const int64_t end = std::min(rows, (block + 1) * kGbrtBlockRows);
    for (int64_t r = block * kGbrtBlockRows; r < end; ++r) {
      if (!memory_.roles || memory_.roles[r] != static_cast<uint8_t>(RowRole::validate)) continue;
      const double w = memory_.weights ? static_cast<double>(memory_.weights[r]) : 1.0;
      const double s = memory_.scores[r];
      const double t = static_cast<double>(memory_.targets[r]);
      double own = 0;
      switch (options_.objective) {
        case GbrtObjective::logistic:
          own = std::max(s, 0.0) + std::log1p(std::exp(-std::fabs(s))) - t * s;
          break;
        case GbrtObjective::softmax: {
          double most = s;
          for (int64_t k = 1; k < options_.classes; ++k) most = std::max(most, memory_.scores[k * rows + r]);
          double sum = 0;
          for (int64_t k = 0; k < options_.classes; ++k) sum += std::exp(memory_.scores[k * rows + r] - most);
          own = most + std::log(sum) - memory_.scores[static_cast<int64_t>(t) * rows + r];
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

void GbrtTrainer::outside_scores(double* out, HostContext& context) const {
  context.workers.run(blocks_, [&](int64_t block, int) {
    const int64_t end = std::min(bins_.rows, (block + 1) * kGbrtBlockRows);
    for (int64_t k = 0; k < options_.classes; ++k) {
      for (int64_t r = block * kGbrtBlockRows; r < end; ++r) {
        const double count = memory_.outside_count ? static_cast<double>(memory_.outside_count[r]) : 0;
        out[k * bins_.rows + r] = count > 0 ? memory_.outside_sum[k * bins_.rows + r] / count : std::nan("");
      }
    }
  });
}

}  // namespace seqrisk
