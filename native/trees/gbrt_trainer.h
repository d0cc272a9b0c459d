// Gradient boosted regression trees (Friedman 2001) by histograms: the training loop over the tree kernels. On a
// processor it holds some numbers a block of rows, on a card what it checks of them; a refit reuses all of it.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "ops/gbrt_grow.h"
#include "ops/gbrt_tree.h"
#include "runtime/error.h"
#include "runtime/stream.h"
#include "trees/gbrt_model.h"

namespace seqrisk {

struct GbrtOptions {
  GbrtObjective objective = GbrtObjective::squared;
  int64_t classes = 1;
  int64_t num_leaves = 31;
  int64_t max_depth = -1;
  double learning_rate = 0.1;
  double min_data_in_leaf = 20;
  double min_hessian = 1e-3;
  double min_gain = 0;
  double lambda_l1 = 0;
  double lambda_l2 = 0;
  double max_delta_step = 0;  // of a leaf's output before the learning rate; 0: no limit
  double bagging_fraction = 1;
  int64_t bagging_freq = 0;
  double feature_fraction = 1;
  double feature_fraction_by_node = 1;
  uint64_t seed = 0;
  int64_t max_cat_threshold = 32;
  int64_t max_cat_to_onehot = 4;
  double cat_l2 = 10;
  double cat_smooth = 10;
  int64_t min_data_per_group = 100;
  bool boost_from_average = true;
  // Averages trees that know nothing of each other, each on a bootstrap of the rows (Breiman 2001); squared loss, of
  // the indicator of a class where there are more. Scores are then those of the trees that a row was no part of.
  bool forest = false;
  std::vector<int8_t> monotone;  // of each feature, or empty
};

// What a fit is given, on the host. Empty: none.
struct GbrtGiven {
  std::vector<float> targets;  // (rows)
  std::vector<float> weights;  // (rows)
  std::vector<uint8_t> roles;  // (rows)
  std::vector<double> scores;  // (classes, rows) to start from
};

// Rows of another matrix with the same bins, whose loss is watched.
struct GbrtWatched {
  GbrtBins bins{};
  std::shared_ptr<const GbrtGiven> given;
  double* scores = nullptr;  // (classes, rows) in the stream's memory
};

// One call of boost.
struct GbrtBoost {
  int64_t rounds = 0;
  // Rounds without a better loss on the validating rows before it stops; 0: never. Then the model and the scores are
  // those of the best round.
  int64_t patience = 0;
  std::vector<double> rates;      // learning rate of each round; empty: that of the options
  double* best_scores = nullptr;  // (classes, rows), with patience
  GbrtWatched watched;            // their loss counts instead of that of validating rows; no rows: none
  std::vector<float> grad, hess;  // (classes, rows) custom: of the one round
};

enum class RowRole : uint8_t { unused = 0, train = 1, validate = 2 };

// Memory of the stream.
struct GbrtMemory {
  double* scores = nullptr;         // (classes, rows)
  int64_t* packed = nullptr;        // (rows)
  float* targets = nullptr;         // (rows)
  uint16_t* index = nullptr;        // (blocks·kGbrtBlockRows); this and the other parts of a processor's alone
  double* log_sum = nullptr;        // (rows) softmax
  float* weights = nullptr;         // (rows) or null; with forest those of the bag
  float* own_weights = nullptr;     // (rows) forest: the given ones
  double* outside_sum = nullptr;    // (classes, rows) forest: over trees that a row is no part of
  float* outside_count = nullptr;   // (rows) forest: such trees
  uint8_t* roles = nullptr;         // (rows) or null
  uint8_t* trains = nullptr;        // (rows) or null
  uint8_t* candidates = nullptr;    // (rows) on a card, with trains: rows that bags are drawn from
  float* custom_grad = nullptr;     // (classes, rows) or null
  float* custom_hess = nullptr;     // (classes, rows) or null
  int64_t* histograms = nullptr;    // (num_leaves, features, 2, kGbrtCells)
  int64_t* cells = nullptr;         // (workers, GbrtCellMemory::words)
  uint16_t* scratch = nullptr;      // (workers, 2·kGbrtBlockRows)
  GbrtSegment* segments = nullptr;  // (num_leaves, blocks)
  // A card's alone.
  uint32_t* order = nullptr;         // (2, rows)
  GbrtCardTotals* totals = nullptr;  // (1)
  GbrtGrowing* growing = nullptr;    // (1), GbrtGrown[num_leaves] behind it
  GbrtSplit* splits = nullptr;       // (2, features)
  GbrtFeature* features = nullptr;   // (features)
  int8_t* monotone = nullptr;        // (features)
  uint8_t* usable = nullptr;         // (2·num_leaves − 1, features)
  GbrtRun* runs = nullptr;           // (2·num_leaves)
  GbrtFollowNode* follow = nullptr;  // (num_leaves)
  double* follow_values = nullptr;   // (num_leaves)
};

class GbrtTrainer {
 public:
  GbrtTrainer(const GbrtBins& bins, std::vector<GbrtFeature> features, const GbrtOptions& options, int workers);

  // Checks targets, weights and roles, and starts from the average or from the scores that are given.
  // `first_round` counts rounds of an earlier fit, so that bags and features are drawn as if it went on.
  std::optional<Error> begin(const GbrtMemory& memory, GbrtGiven given, int64_t first_round, HostContext& context);
  // After begin: checks rows to watch, which start from the average or from the scores that they are given.
  std::optional<Error> begin_watched(const GbrtWatched& watched, HostContext& context) const;
  // Adds rounds. Stops early for want of patience, when no split is left, or when `stop` is set. After an error, a
  // cancel among them, the model has the rounds before, and only begin goes on.
  std::optional<Error> boost(GbrtBoost boost, const std::atomic<bool>& stop, HostContext& context);

  // After begin: (classes, rows). With forest means over the trees that a row is no part of, NaN where there are none.
  std::optional<Error> scores(double* out, HostContext& context);
  const GbrtModel& model() const { return model_; }
  int64_t rounds() const { return rounds_.load(std::memory_order_relaxed); }
  int64_t best_round() const { return best_round_; }
  const std::vector<double>& losses() const { return losses_; }

 private:
  struct Leaf {
    GbrtNode node;
    GbrtSplit split;
    double l2;
    int64_t depth;
    int64_t parent;  // internal node, −1 for the root
    bool is_left;
    int64_t slot;  // of its histogram
  };

  std::optional<Error> expect_begun(const char* what) const;
  std::optional<Error> boost_rounds(GbrtBoost boost, const std::atomic<bool>& stop, HostContext& context);
  std::optional<Error> prepare_weights();
  std::optional<Error> prepare_targets(HostContext& context);
  std::optional<Error> prepare_custom();
  void start_scores(HostContext& context);
  void bag(HostContext& context);
  void bootstrap(HostContext& context);
  void collect_outside(int64_t cls, HostContext& context);
  void outside_scores(double* out, HostContext& context);
  void choose_features();
  uint32_t tree_number() const;
  const uint8_t* node_features(int64_t node, std::vector<uint8_t>& usable);
  bool grow(int64_t cls, HostContext& context);
  void start_tree();
  void grow_leaves(int64_t cls, HostContext& context);
  void split_leaf(int64_t at, HostContext& context);
  void add_split(int64_t at, const Leaf& parent, Leaf left, Leaf right);
  bool may_split(const Leaf& leaf) const;
  double leaf_value(const Leaf& leaf) const;
  GbrtLeafRules rules() const;
  // The same on a card; false when it failed or there was a cancel.
  void begin_card(HostContext& context);
  bool grow_card(int64_t cls, HostContext& context);
  void draw_card(bool is_bootstrap, HostContext& context);
  bool take_grown(HostContext& context);
  void add_leaves_card(double* out, float* counts, double start, HostContext& context);
  std::vector<GbrtFollowNode> follow_nodes(size_t first_node) const;
  void flush_scores(HostContext& context);
  GbrtGradient gradient_call(int64_t cls);
  bool target_fits(double target) const;
  std::optional<Error> check_target(double target, int64_t row) const;
  bool has_validation() const;
  double validation_loss(HostContext& context);
  void score_watched(int64_t cls, size_t first_node, HostContext& context);
  void copy_scores(const double* from, double* to, HostContext& context) const;
  bool watch(const GbrtBoost& boost, HostContext& context);
  double target_mean(int64_t cls, HostContext& context) const;

  GbrtBins bins_;
  std::vector<GbrtFeature> features_;
  GbrtOptions options_;
  int64_t blocks_;
  GbrtMemory memory_;  // on a card: of the host, what it has of it
  GbrtMemory card_;    // on a card: the stream's
  bool on_card_ = false;
  bool has_begun_ = false;
  GbrtGiven host_;  // on a card: what memory_ points to
  std::vector<uint8_t> host_trains_;
  std::vector<float> host_grad_, host_hess_;
  std::vector<double> host_scores_;   // on a card, for losses
  std::vector<std::byte> grown_;      // on a card: what came back of the tree
  std::vector<uint8_t> node_usable_;  // on a card
  int64_t most_units_ = 1;            // of a row of the bag
  GbrtCellMemory cells_;
  GbrtFormat format_{};
  GbrtSearch search_{};
  bool constant_hessian_ = false;
  bool whole_weights_ = true;
  double unit_ = 1;         // of weights
  double total_count_ = 0;  // of the rows that train: Σ of whole weights, or their number
  double bag_count_ = 0;
  double most_residual_ = 0;  // bounds of the next gradients
  double most_hessian_ = 0;   // custom ones
  bool is_identity_ = true;
  double g_scale_ = 1;
  double h_scale_ = 1;

  std::vector<uint32_t> block_total_, block_most_;
  std::vector<double> block_residual_;
  std::vector<int64_t> block_weight_;
  std::vector<double> block_loss_, block_loss_weight_;
  std::vector<uint8_t> usable_, fresh_usable_, sibling_usable_;
  std::vector<Leaf> leaves_;
  std::vector<double> values_;  // of the last tree's leaves
  std::vector<GbrtSplit> fresh_splits_, sibling_splits_;
  std::vector<double> init_;
  int64_t pending_class_ = -1;  // whose scores still lack the last tree

  GbrtWatched watched_;  // of this boost
  GbrtModel model_;
  std::atomic<int64_t> rounds_{0};
  int64_t first_round_ = 0;
  double rate_ = 0;  // of this round
  int64_t best_round_ = 0;
  double best_loss_ = 0;
  std::vector<double> losses_;
};

}  // namespace seqrisk
