// What a fit is given: weights, targets and roles, checked and brought into fixed point; starting scores; bags of rows
// and of features.
#include <algorithm>
#include <cmath>
#include <string>

#include "ops/philox.h"
#include "runtime/thread_pool.h"
#include "trees/fixed_point.h"
#include "trees/gbrt_trainer.h"

namespace seqrisk {
namespace {

constexpr uint32_t kFeatureStream = 0x6aa;
constexpr uint32_t kNodeStream = 0x6ab;
constexpr double kMostUnits = static_cast<double>(kGbrtMostPending);
constexpr double kMostTotal = 4294967296.0;  // of units; see ops/gbrt_rows.h

std::string at_row(double value, int64_t row) {
  return std::to_string(value) + " at row " + std::to_string(row);
}

}  // namespace

std::optional<Error> GbrtTrainer::prepare_weights() {
  const int64_t rows = bins_.rows;
  float* weights = memory_.weights;
  const uint8_t* roles = memory_.roles;
  double most = 0;
  double sum = 0;
  int64_t count = 0;
  whole_weights_ = true;
  const bool all_alike = !weights && !roles;
  if (all_alike) {
    if (memory_.trains) std::fill_n(memory_.trains, rows, uint8_t{1});
    most = 1;
    sum = static_cast<double>(rows);
    count = rows;
  }
  for (int64_t r = 0; !all_alike && r < rows; ++r) {
    const bool trains = !roles || roles[r] == static_cast<uint8_t>(RowRole::train);
    const double w = weights ? static_cast<double>(weights[r]) : 1.0;
    if (!(w >= 0 && w < HUGE_VAL)) {
      return Error::range("[gbrt] expected weights to be finite and at least 0 but received " + at_row(w, r));
    }
    if (memory_.trains) memory_.trains[r] = trains && w > 0;
    if (!trains || w == 0) continue;
    ++count;
    sum += w;
    most = std::max(most, w);
    whole_weights_ = whole_weights_ && w == std::floor(w);
  }
  if (count == 0) {
    return Error::range("[gbrt] expected at least one row that trains with a weight above 0 but received none");
  }
  unit_ = 1;
  const double draws = options_.forest ? kGbrtMostDraws : 1;
  if (!whole_weights_ || most * draws > kMostUnits) {
    whole_weights_ = false;
    unit_ = power_above(sum / static_cast<double>(count));
    while (most * draws / unit_ > kMostUnits) unit_ *= 2;
    for (int64_t r = 0; r < rows; ++r) weights[r] = static_cast<float>(weights[r] / unit_);
  }
  total_count_ = whole_weights_ ? sum : static_cast<double>(count);
  most_units_ = 1;
  if (!weights) return std::nullopt;
  double total = 0;
  block_total_.assign(static_cast<size_t>(blocks_), 0);
  block_most_.assign(static_cast<size_t>(blocks_), 0);
  for (int64_t r = 0; r < rows; ++r) {
    const size_t block = static_cast<size_t>(r / kGbrtBlockRows);
    if (!memory_.trains[r]) continue;
    const auto units = static_cast<uint32_t>(std::ceil(weights[r]));
    block_total_[block] += units;
    block_most_[block] = std::max(block_most_[block], units);
    most_units_ = std::max<int64_t>(most_units_, units);
    total += units;
  }
  if (!(total * draws < kMostTotal)) {
    return Error::range("[gbrt] expected weights with a sum below 2^32 times their unit but received " +
                        std::to_string(sum) + "; divide them by a constant");
  }
  return std::nullopt;
}

bool GbrtTrainer::target_fits(double target) const {
  const bool is_class = target >= 0 && target < static_cast<double>(options_.classes) && target == std::floor(target);
  switch (options_.objective) {
    case GbrtObjective::softmax:
      return is_class;
    case GbrtObjective::squared:
      return options_.classes > 1 ? is_class : std::isfinite(target);
    case GbrtObjective::logistic:
      return target >= 0 && target <= 1;
    case GbrtObjective::custom:
      break;
  }
  return true;
}

std::optional<Error> GbrtTrainer::check_target(double target, int64_t row) const {
  if (target_fits(target)) return std::nullopt;
  const bool of_class = options_.objective == GbrtObjective::softmax ||
                        (options_.objective == GbrtObjective::squared && options_.classes > 1);
  if (of_class) {
    return Error::range("[gbrt] expected targets to be classes from 0 to " + std::to_string(options_.classes - 1) +
                        " but received " + at_row(target, row));
  }
  if (options_.objective == GbrtObjective::squared) {
    return Error::range("[gbrt] expected targets to be finite but received " + at_row(target, row));
  }
  return Error::range("[gbrt] expected targets in [0, 1] but received " + at_row(target, row));
}

std::optional<Error> GbrtTrainer::prepare_targets(HostContext& context) {
  std::vector<int64_t>& wrong = block_weight_;  // the first in each block, or −1
  std::fill(wrong.begin(), wrong.end(), -1);
  context.workers.run(blocks_, [&](int64_t block, int) {
    const int64_t end = std::min(bins_.rows, (block + 1) * kGbrtBlockRows);
    for (int64_t r = block * kGbrtBlockRows; r < end; ++r) {
      const bool counts = !memory_.roles || memory_.roles[r] != static_cast<uint8_t>(RowRole::unused);
      float& target = memory_.targets[r];
      if (!counts) target = 0;
      if (!counts || target_fits(static_cast<double>(target))) continue;
      wrong[static_cast<size_t>(block)] = r;
      return;
    }
  });
  const auto first = std::find_if(wrong.begin(), wrong.end(), [](int64_t row) { return row >= 0; });
  if (first == wrong.end()) return std::nullopt;
  return check_target(static_cast<double>(memory_.targets[*first]), *first);
}

// Bounds of this round's gradients; there is one round for each set of them.
std::optional<Error> GbrtTrainer::prepare_custom() {
  most_residual_ = most_hessian_ = 0;
  for (int64_t i = 0; i < options_.classes * bins_.rows; ++i) {
    const int64_t r = i % bins_.rows;
    // Of all rows that may train: the next bag is not drawn yet.
    const bool may_train = (!memory_.roles || memory_.roles[r] == static_cast<uint8_t>(RowRole::train)) &&
                           (!memory_.weights || memory_.weights[r] > 0);
    if (!may_train) {
      memory_.custom_grad[i] = memory_.custom_hess[i] = 0;
      continue;
    }
    const double g = std::fabs(static_cast<double>(memory_.custom_grad[i]));
    const double h = static_cast<double>(memory_.custom_hess[i]);
    if (!(g < HUGE_VAL) || !(h >= 0 && h < HUGE_VAL)) {
      return Error::range("[gbrt] expected finite gradients, and Hessians of at least 0, but received " +
                          std::to_string(memory_.custom_grad[i]) + " and " + at_row(h, r));
    }
    most_residual_ = std::max(most_residual_, g);
    most_hessian_ = std::max(most_hessian_, h);
  }
  return std::nullopt;
}

// Weighted mean over the rows that train; of the indicator of a class for softmax. Sums of integers: the order of rows
// does not matter.
double GbrtTrainer::target_mean(int64_t cls, HostContext& context) const {
  const bool of_class = options_.classes > 1;
  struct Part {
    double most = 1;
    int64_t sum = 0;
    int64_t total = 0;
  };
  std::vector<Part> parts(static_cast<size_t>(blocks_));
  const auto over_rows = [&](auto&& add) {
    context.workers.run(blocks_, [&](int64_t block, int) {
      const int64_t end = std::min(bins_.rows, (block + 1) * kGbrtBlockRows);
      for (int64_t r = block * kGbrtBlockRows; r < end; ++r) {
        if (memory_.trains && !memory_.trains[r]) continue;
        add(parts[static_cast<size_t>(block)], r, static_cast<double>(memory_.targets[r]));
      }
    });
  };
  double most = 1;
  if (!of_class) {
    over_rows([](Part& part, int64_t, double t) { part.most = std::max(part.most, std::fabs(t)); });
    for (const Part& part : parts) most = std::max(most, part.most);
  }
  const double scale = of_class ? 1048576.0 : 1048576.0 / power_above(most);
  // 2^21 a target and 2^10 for fractions of a unit, times 2^32 units, stay within 2^63.
  constexpr double kFractions = 1024.0;
  over_rows([&](Part& part, int64_t r, double t) {
    const double w = memory_.weights ? static_cast<double>(memory_.weights[r]) : 1.0;
    const double value = of_class ? (static_cast<int64_t>(t) == cls ? 1.0 : 0.0) : t;
    if (whole_weights_) {
      part.sum += std::llrint(value * scale) * static_cast<int64_t>(w);
      part.total += static_cast<int64_t>(w);
    } else {
      part.sum += std::llrint(value * scale * w);
      part.total += std::llrint(w * kFractions);
    }
  });
  int64_t sum = 0;
  int64_t total = 0;
  for (const Part& part : parts) {
    sum += part.sum;
    total += part.total;
  }
  const double units = whole_weights_ ? static_cast<double>(total) : static_cast<double>(total) / kFractions;
  return units > 0 ? static_cast<double>(sum) / scale / units : 0;
}

void GbrtTrainer::start_scores(HostContext& context) {
  constexpr double kLeast = 1e-15;
  for (int64_t k = 0; k < options_.classes; ++k) {
    double start = 0;
    if (options_.boost_from_average && options_.objective != GbrtObjective::custom) {
      const double mean = target_mean(k, context);
      switch (options_.objective) {
        case GbrtObjective::logistic: {
          const double p = std::clamp(mean, kLeast, 1 - kLeast);
          start = std::log(p / (1 - p));
          break;
        }
        case GbrtObjective::softmax:
          start = std::log(std::max(mean, kLeast));
          break;
        default:
          start = mean;
      }
    }
    init_[static_cast<size_t>(k)] = start;
    if (on_card_) continue;  // see begin_card
    double* scores = memory_.scores + k * bins_.rows;
    context.workers.run(blocks_, [&](int64_t block, int) {
      const int64_t end = std::min(bins_.rows, (block + 1) * kGbrtBlockRows);
      for (int64_t r = block * kGbrtBlockRows; r < end; ++r) scores[r] = start;
    });
  }
}

// Draws the rows of a bag anew.
void GbrtTrainer::bag(HostContext& context) {
  if (on_card_) return draw_card(false, context);
  const double limit = options_.bagging_fraction;
  const auto draw = static_cast<uint64_t>((first_round_ + rounds_.load()) / options_.bagging_freq);
  std::vector<int64_t>& counts = block_weight_;
  context.workers.run(blocks_, [&](int64_t block, int) {
    int64_t count = 0;
    const int64_t end = std::min(bins_.rows, (block + 1) * kGbrtBlockRows);
    for (int64_t r = block * kGbrtBlockRows; r < end; ++r) {
      const bool candidate = (!memory_.roles || memory_.roles[r] == static_cast<uint8_t>(RowRole::train)) &&
                             (!memory_.weights || memory_.weights[r] > 0);
      const PhiloxBlock random = philox4x32(
          {{static_cast<uint32_t>(r), static_cast<uint32_t>(r >> 32), kGbrtBaggingStream, static_cast<uint32_t>(draw)}},
          options_.seed);
      const bool chosen = candidate && static_cast<double>(random.word[0]) * 0x1p-32 < limit;
      memory_.trains[r] = chosen;
      if (chosen) count += whole_weights_ && memory_.weights ? static_cast<int64_t>(memory_.weights[r]) : 1;
    }
    counts[static_cast<size_t>(block)] = count;
  });
  int64_t total = 0;
  for (const int64_t count : counts) total += count;
  bag_count_ = static_cast<double>(total);
}

// Draws how often each row is part of the next tree: Poisson of mean 1, which is what drawing as many rows as there are
// with replacement comes to (Oza & Russell 2001).
void GbrtTrainer::bootstrap(HostContext& context) {
  if (on_card_) return draw_card(true, context);
  uint32_t above[kGbrtMostDraws];
  gbrt_poisson_above(above);
  const auto tree = static_cast<uint32_t>(first_round_ + rounds_.load());
  std::vector<int64_t>& counts = block_weight_;
  context.workers.run(blocks_, [&](int64_t block, int) {
    int64_t count = 0;
    uint32_t total = 0;
    uint32_t most = 0;
    const int64_t end = std::min(bins_.rows, (block + 1) * kGbrtBlockRows);
    for (int64_t r = block * kGbrtBlockRows; r < end; ++r) {
      const bool candidate =
          (!memory_.roles || memory_.roles[r] == static_cast<uint8_t>(RowRole::train)) && memory_.own_weights[r] > 0;
      const PhiloxBlock random = philox4x32(
          {{static_cast<uint32_t>(r), static_cast<uint32_t>(r >> 32), kGbrtBootstrapStream, tree}}, options_.seed);
      int draws = 0;
      while (candidate && draws < kGbrtMostDraws && random.word[0] < above[draws]) ++draws;
      const float weight = memory_.own_weights[r] * static_cast<float>(draws);
      memory_.weights[r] = weight;
      memory_.trains[r] = draws > 0;
      if (draws == 0) continue;
      const auto units = static_cast<uint32_t>(std::ceil(weight));
      total += units;
      most = std::max(most, units);
      count += whole_weights_ ? units : 1;
    }
    counts[static_cast<size_t>(block)] = count;
    block_total_[static_cast<size_t>(block)] = total;
    block_most_[static_cast<size_t>(block)] = most;
  });
  int64_t total = 0;
  for (const int64_t count : counts) total += count;
  bag_count_ = static_cast<double>(total);
}

// Over the whole model, also the part that an earlier fit grew.
uint32_t GbrtTrainer::tree_number() const {
  return static_cast<uint32_t>(static_cast<int64_t>(model_.num_leaves.size()) + first_round_ * options_.classes);
}

// Draws the features that a node may be split on, out of those of the tree; null: all.
const uint8_t* GbrtTrainer::node_features(int64_t node, std::vector<uint8_t>& usable) {
  if (options_.feature_fraction_by_node >= 1) return options_.feature_fraction < 1 ? usable_.data() : nullptr;
  int64_t left = std::count(usable_.begin(), usable_.end(), 1);
  int64_t wanted = std::max<int64_t>(1, std::llrint(options_.feature_fraction_by_node * static_cast<double>(left)));
  const uint32_t tree = tree_number();
  usable.assign(usable_.size(), 0);
  for (size_t f = 0; f < usable.size(); ++f) {
    if (!usable_[f]) continue;
    const PhiloxBlock random =
        philox4x32({{static_cast<uint32_t>(f), tree, kNodeStream, static_cast<uint32_t>(node)}}, options_.seed);
    const double u = static_cast<double>(random.word[0]) * 0x1p-32;
    if (u * static_cast<double>(left--) < static_cast<double>(wanted)) {
      usable[f] = 1;
      --wanted;
    }
  }
  return usable.data();
}

// Draws the features of a tree.
void GbrtTrainer::choose_features() {
  if (options_.feature_fraction >= 1) return;
  const int64_t count = bins_.features;
  const auto wanted = std::max<int64_t>(1, std::llrint(options_.feature_fraction * static_cast<double>(count)));
  std::fill(usable_.begin(), usable_.end(), 0);
  // Selection sampling: every subset of that size is equally likely (Knuth, TAOCP 2, 3.4.2 S).
  int64_t chosen = 0;
  for (int64_t f = 0; f < count; ++f) {
    const PhiloxBlock random =
        philox4x32({{static_cast<uint32_t>(f), tree_number(), kFeatureStream, 0}}, options_.seed);
    const double u = static_cast<double>(random.word[0]) * 0x1p-32;
    if (u * static_cast<double>(count - f) < static_cast<double>(wanted - chosen)) {
      usable_[static_cast<size_t>(f)] = 1;
      ++chosen;
    }
  }
}

}  // namespace seqrisk
