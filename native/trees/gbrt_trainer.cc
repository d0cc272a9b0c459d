#include "trees/gbrt_trainer.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <utility>

#include "runtime/thread_pool.h"

namespace seqrisk {
namespace {

Error cancelled() {
  return Error::coded("ABORTED", "[gbrt] expected to finish but received a cancel; start again");
}

}  // namespace

GbrtTrainer::GbrtTrainer(const GbrtBins& bins, std::vector<GbrtFeature> features, const GbrtOptions& options,
                         int workers)
    : bins_(bins), features_(std::move(features)), options_(options), blocks_(gbrt_blocks(bins.rows)) {
  const auto count = static_cast<size_t>(bins.features);
  const auto leaves = static_cast<size_t>(options.num_leaves);
  cells_ = {nullptr, bins.features, workers};
  block_residual_.resize(static_cast<size_t>(blocks_));
  block_weight_.resize(static_cast<size_t>(blocks_));
  usable_.assign(count, 1);
  leaves_.reserve(leaves);
  values_.resize(leaves);
  fresh_splits_.resize(count);
  sibling_splits_.resize(count);
  init_.resize(static_cast<size_t>(options.classes));
  search_.lambda_l1 = options.lambda_l1;
  search_.lambda_l2 = options.lambda_l2;
  search_.min_gain = options.min_gain;
  search_.min_hessian = options.min_hessian;
  search_.min_count = options.min_data_in_leaf;
  search_.cat_l2 = options.cat_l2;
  search_.cat_smooth = options.cat_smooth;
  search_.max_cat_threshold = options.max_cat_threshold;
  search_.max_cat_to_onehot = options.max_cat_to_onehot;
  search_.min_data_per_group = options.min_data_per_group;
  search_.bounded = !options.monotone.empty() || options.max_delta_step > 0;
}

std::optional<Error> GbrtTrainer::begin(const GbrtMemory& memory, GbrtGiven given, int64_t first_round,
                                        HostContext& context) {
  on_card_ = context.card != nullptr;
  has_begun_ = false;
  const bool scores_given = !given.scores.empty();
  if (on_card_) {
    // The host checks and prepares copies of its own.
    card_ = memory;
    host_ = std::move(given);
    host_trains_.resize(memory.trains ? host_.targets.size() : 0);
    memory_ = {};
    memory_.targets = host_.targets.data();
    memory_.weights = host_.weights.empty() ? nullptr : host_.weights.data();
    memory_.roles = host_.roles.empty() ? nullptr : host_.roles.data();
    memory_.trains = memory.trains ? host_trains_.data() : nullptr;
    memory_.scores = scores_given ? host_.scores.data() : nullptr;
  } else {
    memory_ = memory;
    const auto put = [](auto* to, const auto& from) { std::copy(from.begin(), from.end(), to); };
    put(memory.targets, given.targets);
    put(memory.weights, given.weights);
    put(memory.roles, given.roles);
    put(memory.scores, given.scores);
    // A cancelled fit may have left sums behind.
    cells_.base = memory.cells;
    std::fill_n(memory.cells, GbrtCellMemory::words(bins_.features) * cells_.workers, 0);
  }
  model_.clear();
  losses_.clear();
  rounds_ = 0;
  first_round_ = first_round;
  best_round_ = 0;
  best_loss_ = std::numeric_limits<double>::infinity();
  pending_class_ = -1;
  if (auto error = prepare_weights()) return error;
  if (auto error = prepare_targets(context)) return error;
  bag_count_ = total_count_;
  const bool is_squared = options_.objective == GbrtObjective::squared;
  constant_hessian_ = is_squared && whole_weights_;
  // A forest's leaf is one mean, which no later tree corrects: it needs the weights' bits more.
  const bool takes_weights = is_squared && !options_.forest;
  format_ = constant_hessian_ ? kGbrtConstantHessian : takes_weights ? kGbrtWeightHessian : kGbrtGeneral;
  if (scores_given) {
    std::fill(init_.begin(), init_.end(), 0);
  } else {
    start_scores(context);
  }
  most_residual_ = 0;
  if (options_.forest && !on_card_) {
    std::copy(memory_.weights, memory_.weights + bins_.rows, memory_.own_weights);
    std::fill(memory_.outside_sum, memory_.outside_sum + options_.classes * bins_.rows, 0.0);
    std::fill(memory_.outside_count, memory_.outside_count + bins_.rows, 0.0F);
  }
  if (options_.classes > 1) {
    most_residual_ = 1;
  } else if (options_.objective == GbrtObjective::squared) {
    for (int64_t r = 0; r < bins_.rows; ++r) {
      if (memory_.trains && !memory_.trains[r]) continue;
      const double score = scores_given ? memory_.scores[r] : init_[0];
      most_residual_ = std::max(most_residual_, std::fabs(score - static_cast<double>(memory_.targets[r])));
    }
  }
  if (on_card_) begin_card(context);
  // A cancel leaves targets unchecked and scores in part.
  if (context.workers.cancelled()) return cancelled();
  has_begun_ = true;
  return std::nullopt;
}

std::optional<Error> GbrtTrainer::expect_begun(const char* what) const {
  if (has_begun_) return std::nullopt;
  return Error::range(std::string("[gbrt] expected a fit that has begun before ") + what +
                      " but received none; fit, and again where that was cancelled");
}

std::optional<Error> GbrtTrainer::scores(double* out, HostContext& context) {
  if (auto error = expect_begun("scores")) return error;
  const int64_t count = options_.classes * bins_.rows;
  if (options_.forest) {
    outside_scores(out, context);
  } else if (on_card_) {
    context.card->download(out, card_.scores, static_cast<size_t>(count) * sizeof(double));
  } else {
    std::copy_n(memory_.scores, count, out);
  }
  return std::nullopt;
}

GbrtGradient GbrtTrainer::gradient_call(int64_t cls) {
  GbrtGradient call{};
  call.bins = bins_;
  call.objective = options_.objective;
  if (pending_class_ >= 0) {
    call.update_scores = memory_.scores + pending_class_ * bins_.rows;
    call.value = values_.data();
    call.leaves = static_cast<int64_t>(leaves_.size());
  }
  call.segments = memory_.segments;
  call.index = memory_.index;
  call.is_identity = is_identity_;
  call.scores = memory_.scores;
  call.targets = memory_.targets;
  call.weights = memory_.weights;
  if (memory_.custom_grad) {
    call.custom_grad = memory_.custom_grad + cls * bins_.rows;
    call.custom_hess = memory_.custom_hess + cls * bins_.rows;
  }
  call.log_sum = memory_.log_sum;
  call.classes = options_.classes;
  call.cls = cls;
  call.shift = format_.shift;
  call.constant_hessian = constant_hessian_;
  call.whole_weights = whole_weights_;
  call.trains = memory_.trains;
  call.bounds_all_rows = options_.bagging_freq > 0;  // the next bag has others
  call.root = memory_.segments;
  if (memory_.weights) call.weight_bounds = {block_total_.data(), block_most_.data()};
  call.cells = cells_;
  call.most_residual = block_residual_.data();
  return call;
}

void GbrtTrainer::flush_scores(HostContext& context) {
  if (pending_class_ < 0) return;
  if (on_card_) {
    add_leaves_card(card_.scores + pending_class_ * bins_.rows, nullptr, 0, context);
    pending_class_ = -1;
    return;
  }
  const GbrtGradient call = gradient_call(0);
  context.kernels.gbrt_gradient(call, context.workers);
  pending_class_ = -1;
}

std::optional<Error> GbrtTrainer::boost(GbrtBoost boost, const std::atomic<bool>& stop, HostContext& context) {
  if (auto error = expect_begun("boost")) return error;
  // A round that ends early leaves scores and sums in part, and a tree: nothing goes on from there.
  has_begun_ = false;
  std::optional<Error> error = boost_rounds(std::move(boost), stop, context);
  if (error) {
    model_.truncate(static_cast<size_t>(rounds_.load() * options_.classes));
  } else {
    has_begun_ = true;
  }
  return error;
}

std::optional<Error> GbrtTrainer::boost_rounds(GbrtBoost boost, const std::atomic<bool>& stop, HostContext& context) {
  watched_ = boost.watched;
  const bool is_watched = has_validation();
  const bool is_random = options_.forest || options_.bagging_freq > 0 || options_.feature_fraction < 1 ||
                         options_.feature_fraction_by_node < 1;
  if (options_.objective == GbrtObjective::custom) {
    if (on_card_) {
      host_grad_ = std::move(boost.grad);
      host_hess_ = std::move(boost.hess);
      memory_.custom_grad = host_grad_.data();
      memory_.custom_hess = host_hess_.data();
    } else {
      std::copy(boost.grad.begin(), boost.grad.end(), memory_.custom_grad);
      std::copy(boost.hess.begin(), boost.hess.end(), memory_.custom_hess);
    }
    if (auto error = prepare_custom()) return error;
    if (on_card_) {
      context.card->upload(card_.custom_grad, host_grad_.data(), host_grad_.size() * 4);
      context.card->upload(card_.custom_hess, host_hess_.data(), host_hess_.size() * 4);
    }
  }
  for (int64_t round = 0; round < boost.rounds; ++round) {
    rate_ = boost.rates.empty() ? options_.learning_rate : boost.rates[static_cast<size_t>(round)];
    const bool bags = options_.bagging_freq > 0 && options_.bagging_fraction < 1;
    // A fit that goes on from another one draws the bag that it would have drawn before.
    if (bags && (round == 0 || (first_round_ + rounds_.load()) % options_.bagging_freq == 0)) bag(context);
    if (options_.forest) bootstrap(context);
    bool any = false;
    for (int64_t k = 0; k < options_.classes; ++k) {
      if (stop.load(std::memory_order_relaxed) || context.workers.cancelled()) return cancelled();
      any = grow(k, context) || any;
      if (context.workers.cancelled()) return cancelled();
    }
    rounds_.fetch_add(1);
    if (is_watched && !watch(boost, context)) break;
    if (context.workers.cancelled()) return cancelled();
    if (!any && !is_random) break;
  }
  flush_scores(context);
  if (is_watched && boost.patience > 0 && best_round_ < rounds_.load()) {
    copy_scores(boost.best_scores, on_card_ ? card_.scores : memory_.scores, context);
    model_.truncate(static_cast<size_t>(best_round_ * options_.classes));
  }
  return context.workers.cancelled() ? std::optional<Error>(cancelled()) : std::nullopt;
}

}  // namespace seqrisk
