// A fit on a card: the host checks what it is given and keeps the model; rows, gradients, histograms and the search for
// splits stay there. The host waits once for each tree.
#include <algorithm>
#include <cstring>

#include "runtime/thread_pool.h"
#include "trees/gbrt_trainer.h"

namespace seqrisk {
namespace {

// Splits that are handed over together: a tree may end sooner, and what follows is launched for nothing.
constexpr int64_t kSplitsAhead = 64;

double of_bits(unsigned long long bits) {
  double value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

}  // namespace

// What was checked and prepared, to the card.
void GbrtTrainer::begin_card(HostContext& context) {
  Card& card = *context.card;
  const auto rows = static_cast<size_t>(bins_.rows);
  card.upload(card_.features, features_.data(), features_.size() * sizeof(GbrtFeature));
  card.upload(card_.monotone, options_.monotone.data(), options_.monotone.size());
  card.upload(card_.targets, host_.targets.data(), rows * sizeof(float));
  if (host_.scores.empty()) {
    card.clear(card_.scores, static_cast<size_t>(options_.classes) * rows * sizeof(double));
    for (int64_t k = 0; k < options_.classes; ++k) {
      const GbrtRun all{0, 0, init_[static_cast<size_t>(k)], true};
      card.upload(card_.runs, &all, sizeof all);
      card.launch(CardKernel::gbrt_add_leaves,
                  GbrtAddLeaves{bins_.rows, nullptr, card_.runs, 1, card_.scores + k * bins_.rows, nullptr});
    }
  } else {
    card.upload(card_.scores, host_.scores.data(), host_.scores.size() * sizeof(double));
    host_.scores = {};
    memory_.scores = nullptr;
  }
  if (!host_.weights.empty()) {
    card.upload(options_.forest ? card_.own_weights : card_.weights, host_.weights.data(), rows * sizeof(float));
  }
  if (card_.trains) {
    card.upload(card_.trains, host_trains_.data(), rows);
    card.upload(card_.candidates, host_trains_.data(), rows);
  }
  if (options_.forest) {
    card.clear(card_.outside_sum, static_cast<size_t>(options_.classes) * rows * sizeof(double));
    card.clear(card_.outside_count, rows * sizeof(float));
  }
}

void GbrtTrainer::draw_card(bool is_bootstrap, HostContext& context) {
  Card& card = *context.card;
  const int64_t round = first_round_ + rounds_.load();
  GbrtDrawRows call{};
  call.rows = bins_.rows;
  call.candidates = card_.candidates;
  call.is_bootstrap = is_bootstrap;
  call.limit = options_.bagging_fraction;
  call.stream = is_bootstrap ? kGbrtBootstrapStream : kGbrtBaggingStream;
  call.draw = static_cast<uint32_t>(is_bootstrap ? round : round / options_.bagging_freq);
  call.seed = options_.seed;
  call.whole_weights = whole_weights_;
  call.own_weights = is_bootstrap ? card_.own_weights : card_.weights;
  call.weights = is_bootstrap ? card_.weights : nullptr;
  call.trains = card_.trains;
  call.totals = card_.totals;
  card.clear(card_.totals, sizeof(GbrtCardTotals));
  card.launch(CardKernel::gbrt_draw_rows, call);
  GbrtCardTotals totals{};
  if (!card.download(&totals, card_.totals, sizeof totals)) return;
  bag_count_ = static_cast<double>(totals.drawn);
  if (is_bootstrap) most_units_ = std::max<int64_t>(1, totals.most_units);
}

// Rows that train with forest = false, or those outside with forest = true, get their leaves' values.
void GbrtTrainer::add_leaves_card(double* out, float* counts, double start, HostContext& context) {
  const auto* grown = reinterpret_cast<const GbrtGrown*>(grown_.data() + kGbrtGrowingBytes);
  std::vector<GbrtRun> runs;
  for (size_t l = 0; l < leaves_.size(); ++l) {
    const GbrtCardLeaf& leaf = grown[l].leaf;
    const double value = values_[l] + start;
    if (leaf.in.count > 0) runs.push_back({leaf.in.begin, leaf.list, value, !options_.forest});
    if (leaf.out.count > 0) runs.push_back({leaf.out.begin, leaf.list, value, true});
  }
  std::sort(runs.begin(), runs.end(), [](const GbrtRun& a, const GbrtRun& b) { return a.begin < b.begin; });
  context.card->upload(card_.runs, runs.data(), runs.size() * sizeof(GbrtRun));
  GbrtAddLeaves call{};
  call.rows = bins_.rows;
  call.order = grown[0].leaf.list < 0 ? nullptr : card_.order;
  call.runs = card_.runs;
  call.count = static_cast<int64_t>(runs.size());
  call.out = out;
  call.counts = counts;
  context.card->launch(CardKernel::gbrt_add_leaves, call);
}

bool GbrtTrainer::grow_card(int64_t cls, HostContext& context) {
  Card& card = *context.card;
  flush_scores(context);
  start_tree();
  GbrtPackGradients pack{};
  pack.rows = bins_.rows;
  pack.objective = options_.objective;
  pack.scores = card_.scores;
  pack.targets = card_.targets;
  pack.weights = card_.weights;
  if (card_.custom_grad) {
    pack.custom_grad = card_.custom_grad + cls * bins_.rows;
    pack.custom_hess = card_.custom_hess + cls * bins_.rows;
  }
  pack.log_sum = card_.log_sum;
  pack.classes = options_.classes;
  pack.cls = cls;
  pack.g_scale = g_scale_;
  pack.h_scale = h_scale_;
  pack.shift = format_.shift;
  pack.constant_hessian = constant_hessian_;
  pack.whole_weights = whole_weights_;
  pack.bounded = options_.bagging_freq > 0 ? nullptr : card_.trains;  // the next bag has others
  pack.packed = card_.packed;
  pack.totals = card_.totals;
  card.clear(card_.totals, sizeof(GbrtCardTotals));
  card.launch(CardKernel::gbrt_pack_gradients, pack);

  GbrtGrow grow{};
  grow.bins = bins_;
  grow.packed = card_.packed;
  grow.trains = card_.trains;
  grow.whole_weights = whole_weights_ ? card_.weights : nullptr;
  grow.most_weight = most_units_;
  grow.shift = format_.shift;
  grow.features = card_.features;
  grow.monotone = options_.monotone.empty() ? nullptr : card_.monotone;
  grow.search = search_;
  grow.rules = rules();
  grow.max_delta_step = options_.max_delta_step;
  grow.root_count = bag_count_;
  grow.num_leaves = options_.num_leaves;
  grow.order = card_.order;
  grow.histograms = card_.histograms;
  grow.splits = card_.splits;
  grow.growing = card_.growing;
  if (options_.feature_fraction < 1 || options_.feature_fraction_by_node < 1) {
    const bool by_node = options_.feature_fraction_by_node < 1;
    node_usable_.clear();
    for (int64_t node = 0; node < (by_node ? 2 * options_.num_leaves - 1 : 1); ++node) {
      const uint8_t* usable = node_features(node, fresh_usable_);
      node_usable_.insert(node_usable_.end(), usable, usable + bins_.features);
    }
    card.upload(card_.usable, node_usable_.data(), node_usable_.size());
    grow.usable = card_.usable;
    grow.usable_stride = by_node ? bins_.features : 0;
  }
  const int64_t splits = options_.num_leaves - 1;
  for (int64_t first = 0; first < splits; first += kSplitsAhead) {
    grow.first_split = first;
    grow.end_split = std::min(splits, first + kSplitsAhead);
    card.launch(CardKernel::gbrt_grow, grow);
    // With the leaves that there can be, unless they are many.
    const size_t leaves = static_cast<size_t>(grow.end_split + 1);
    grown_.resize(kGbrtGrowingBytes + leaves * sizeof(GbrtGrown));
    const bool is_end = grow.end_split == splits;
    const size_t bytes = is_end || first == 0 ? grown_.size() : sizeof(GbrtGrowing);
    if (!card.download(grown_.data(), card_.growing, bytes)) return false;
    const auto* growing = reinterpret_cast<const GbrtGrowing*>(grown_.data());
    if (growing->at >= 0 || is_end) continue;
    if (bytes == sizeof(GbrtGrowing) && !card.download(grown_.data(), card_.growing, grown_.size())) return false;
    break;
  }
  return take_grown(context);
}

// Leaves and nodes of the tree that came back.
bool GbrtTrainer::take_grown(HostContext& context) {
  const auto* growing = reinterpret_cast<const GbrtGrowing*>(grown_.data());
  const auto* grown = reinterpret_cast<const GbrtGrown*>(grown_.data() + kGbrtGrowingBytes);
  const auto leaf_of = [](const GbrtCardLeaf& from, const Leaf& place) {
    Leaf leaf = place;
    leaf.node = from.node;
    leaf.split = from.split;
    leaf.l2 = from.l2;
    leaf.depth = from.depth;
    return leaf;
  };
  for (int64_t l = 1; l < growing->leaves; ++l) {
    const Leaf parent = leaf_of(grown[l].before, leaves_[static_cast<size_t>(grown[l].at)]);
    add_split(grown[l].at, parent, parent, parent);
  }
  for (int64_t l = 0; l < growing->leaves; ++l) {
    Leaf& leaf = leaves_[static_cast<size_t>(l)];
    leaf = leaf_of(grown[l].leaf, leaf);
  }
  if (options_.objective == GbrtObjective::squared) {
    GbrtCardTotals totals{};
    if (!context.card->download(&totals, card_.totals, sizeof totals)) return false;
    block_residual_.assign(1, of_bits(totals.most_residual));
  }
  return true;
}

}  // namespace seqrisk
