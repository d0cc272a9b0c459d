#include "tests/cuda_fits.h"

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstring>
#include <future>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "runtime/cpu_stream.h"
#include "runtime/cuda_device.h"
#include "runtime/thread_pool.h"
#include "tests/stream_calls.h"
#include "trees/gbrt_layout.h"

namespace seqrisk::parity {
namespace {

constexpr int kCpuThreads = 2;

struct Table {
  int64_t rows = 0;
  std::vector<GbrtFeature> features;
  std::vector<uint8_t> bins;  // as GbrtBins lays them out: one group
};

struct Fit {
  std::string label;
  Table table;
  GbrtOptions options;
  GbrtGiven given;
  int64_t first_round = 0;
  int64_t rounds = 4;
  int64_t patience = 0;
  std::vector<double> rates;
  std::vector<float> grad, hess;  // custom
  Table watched;
  GbrtGiven watched_given;
  bool begins_cancelled = false;  // once, before it begins
};

struct Fitted {
  GbrtModel model;
  std::vector<double> losses;
  std::vector<double> scores;
  std::vector<double> watched_scores;
  int64_t best_round = 0;
};

void run_on(Stream& stream, const HostTask& task) {
  await([&](Completion done) { stream.run(task, std::move(done)); });
}

// A begin that a cancel cut short has checked no targets: boost must not take it for one.
void expect_refused(Stream& stream, const HostTask& begin, const HostTask& boost) {
  const HostTask cut_short = [&](HostContext& context) {
    context.workers.cancel();
    return begin(context);
  };
  const std::optional<Error> first = outcome([&](Completion done) { stream.run(cut_short, std::move(done)); });
  const std::optional<Error> second = outcome([&](Completion done) { stream.run(boost, std::move(done)); });
  const auto says = [](const std::optional<Error>& error, const char* words) {
    return error && std::strstr(error->what(), words);
  };
  if (says(first, "a cancel") && says(second, "has begun before boost")) return;
  throw Error::range(std::string("[gbrt_fit] expected boost to refuse a begin that was cancelled but received ") +
                     (second ? second->what() : "a fit"));
}

GbrtBins put(Stream& stream, Memory& memory, const Table& table) {
  std::byte* bins = memory.take(table.bins.size());
  stream.upload(bins, table.bins.data(), table.bins.size());
  return {reinterpret_cast<uint8_t*>(bins), table.rows, static_cast<int64_t>(table.features.size())};
}

Fitted fit_on(Stream& stream, const Fit& fit) {
  Memory memory(stream);
  const GbrtOptions& options = fit.options;
  const int64_t rows = fit.table.rows;
  const GbrtLayout layout(options, rows, static_cast<int64_t>(fit.table.features.size()), stream);
  GbrtMemory places;
  const auto carve = [&](size_t (GbrtLayout::*part)(std::byte*, GbrtMemory&) const) {
    (layout.*part)(memory.take((layout.*part)(nullptr, places)), places);
  };
  carve(&GbrtLayout::carve_rows);
  carve(&GbrtLayout::carve_nodes);
  const auto count = static_cast<size_t>(rows);
  if (!fit.given.weights.empty()) places.weights = reinterpret_cast<float*>(memory.take(count * sizeof(float)));
  if (!fit.given.roles.empty()) places.roles = reinterpret_cast<uint8_t*>(memory.take(count));
  if (places.weights || places.roles || options.bagging_freq > 0) carve(&GbrtLayout::carve_flags);
  if (options.forest) carve(&GbrtLayout::carve_forest);
  if (options.objective == GbrtObjective::custom) carve(&GbrtLayout::carve_custom);
  GbrtTrainer trainer(put(stream, memory, fit.table), fit.table.features, options, stream.threads());

  GbrtBoost boost;
  boost.rounds = fit.rounds;
  boost.patience = fit.patience;
  boost.rates = fit.rates;
  boost.grad = fit.grad;
  boost.hess = fit.hess;
  const int64_t values = options.classes * rows;
  if (fit.patience > 0) {
    boost.best_scores = reinterpret_cast<double*>(memory.take(static_cast<size_t>(values) * sizeof(double)));
  }
  const int64_t watched_values = options.classes * fit.watched.rows;
  if (fit.watched.rows > 0) {
    boost.watched.bins = put(stream, memory, fit.watched);
    boost.watched.given = std::make_shared<const GbrtGiven>(fit.watched_given);
    const size_t bytes = static_cast<size_t>(watched_values) * sizeof(double);
    boost.watched.scores = reinterpret_cast<double*>(memory.take(bytes));
  }
  const std::atomic<bool> stop = false;
  const HostTask begin_fit = [&](HostContext& context) {
    return trainer.begin(places, fit.given, fit.first_round, context);
  };
  const HostTask boost_fit = [&](HostContext& context) { return trainer.boost(boost, stop, context); };
  if (fit.begins_cancelled) expect_refused(stream, begin_fit, boost_fit);
  run_on(stream, begin_fit);
  if (fit.watched.rows > 0) {
    run_on(stream, [&](HostContext& context) { return trainer.begin_watched(boost.watched, context); });
  }
  run_on(stream, boost_fit);
  Fitted fitted{trainer.model(), trainer.losses(), {}, {}, trainer.best_round()};
  fitted.scores.resize(static_cast<size_t>(values));
  run_on(stream, [&](HostContext& context) { return trainer.scores(fitted.scores.data(), context); });
  if (watched_values > 0) fitted.watched_scores = read(stream, boost.watched.scores, watched_values);
  return fitted;
}

// What differs, or nothing.
const char* difference(const Fitted& card, const Fitted& cpu) {
  const GbrtModel& a = card.model;
  const GbrtModel& b = cpu.model;
  if (!same_bits(a.num_leaves, b.num_leaves)) return "numbers of leaves";
  if (!same_bits(a.split_feature, b.split_feature)) return "features of splits";
  if (!same_bits(a.threshold_bin, b.threshold_bin)) return "thresholds";
  if (!same_bits(a.decision, b.decision)) return "sides of missing values";
  if (!same_bits(a.left_child, b.left_child) || !same_bits(a.right_child, b.right_child)) return "children";
  if (!same_bits(a.split_gain, b.split_gain)) return "gains";
  if (!same_bits(a.internal_value, b.internal_value)) return "values of nodes";
  if (!same_bits(a.internal_weight, b.internal_weight)) return "weights of nodes";
  if (!same_bits(a.internal_count, b.internal_count)) return "counts of nodes";
  if (!same_bits(a.leaf_value, b.leaf_value)) return "values of leaves";
  if (!same_bits(a.leaf_weight, b.leaf_weight)) return "weights of leaves";
  if (!same_bits(a.leaf_count, b.leaf_count)) return "counts of leaves";
  if (!same_bits(a.category_bins, b.category_bins)) return "categories of splits";
  if (card.best_round != cpu.best_round) return "the best round";
  if (!same_bits(card.losses, cpu.losses)) return "losses";
  if (!same_bits(card.scores, cpu.scores)) return "scores";
  if (!same_bits(card.watched_scores, cpu.watched_scores)) return "scores of watched rows";
  return nullptr;
}

class Random {
 public:
  explicit Random(uint64_t seed) : bits_(seed) {}
  int64_t below(int64_t count) { return std::uniform_int_distribution<int64_t>(0, count - 1)(bits_); }
  double unit() { return std::uniform_real_distribution<double>(0, 1)(bits_); }

 private:
  std::mt19937_64 bits_;
};

// Numbers with and without missing values, categories, and a column that says nothing. Rows of equal bins are common.
Table table_of(Random& random, int64_t rows) {
  Table table;
  table.rows = rows;
  table.features = {{GbrtKind::numeric, true, false, 12},     {GbrtKind::numeric, false, false, 200},
                    {GbrtKind::categorical, false, false, 3}, {GbrtKind::categorical, false, false, 40},
                    {GbrtKind::unused, false, false, 1},      {GbrtKind::numeric, true, true, 2},
                    {GbrtKind::numeric, false, true, 30}};
  for (int64_t row = 0; row < rows; ++row) {
    for (const GbrtFeature& feature : table.features) {
      table.bins.push_back(static_cast<uint8_t>(random.below(feature.bins + (feature.has_nan ? 1 : 0))));
    }
  }
  return table;
}

// Follows from two numbers and two categories, and noise.
std::vector<float> targets_of(Random& random, const Table& table, GbrtObjective objective, int64_t classes) {
  std::vector<float> targets;
  const size_t columns = table.features.size();
  for (int64_t row = 0; row < table.rows; ++row) {
    const uint8_t* bins = &table.bins[static_cast<size_t>(row) * columns];
    const double value = bins[0] / 12.0 + bins[1] / 200.0 + (bins[3] % 5) / 5.0 + random.unit();
    switch (objective) {
      case GbrtObjective::logistic:
        targets.push_back(row % 3 == 0 ? static_cast<float>(value / 4) : value > 2 ? 1.0F : 0.0F);
        break;
      case GbrtObjective::softmax:
        targets.push_back(static_cast<float>(std::min<int64_t>(classes - 1, static_cast<int64_t>(value))));
        break;
      default:
        targets.push_back(static_cast<float>(value));
    }
  }
  return targets;
}

std::vector<uint8_t> roles_of(Random& random, int64_t rows) {
  std::vector<uint8_t> roles;
  for (int64_t row = 0; row < rows; ++row) roles.push_back(static_cast<uint8_t>(std::min<int64_t>(1, random.below(5))));
  for (int64_t row = 0; row < rows; row += 4) roles[static_cast<size_t>(row)] = 2;
  return roles;
}

std::vector<Fit> fits(bool quick) {
  std::vector<Fit> all;
  Random random(7);
  const auto add = [&](const char* label, int64_t rows, GbrtObjective objective, auto change) {
    Fit fit;
    fit.label = std::string(label) + ", " + std::to_string(rows) + " rows";
    fit.table = table_of(random, rows);
    fit.options.objective = objective;
    if (objective == GbrtObjective::softmax) fit.options.classes = 3;
    fit.options.num_leaves = 8;
    fit.options.min_data_in_leaf = 5;
    fit.given.targets = targets_of(random, fit.table, objective, fit.options.classes);
    change(fit);
    all.push_back(std::move(fit));
  };
  const auto whole_weights = [&](Fit& fit) {
    for (int64_t row = 0; row < fit.table.rows; ++row) fit.given.weights.push_back(static_cast<float>(random.below(4)));
  };
  const auto nothing = [](Fit&) {};
  add("squared", 1, GbrtObjective::squared, nothing);
  add("squared", 700, GbrtObjective::squared, nothing);
  add("squared, whole weights", 700, GbrtObjective::squared, whole_weights);
  add("squared, begun again after a cancel", 700, GbrtObjective::squared,
      [](Fit& fit) { fit.begins_cancelled = true; });
  add("squared, weights, bags", 500, GbrtObjective::squared, [&](Fit& fit) {
    for (int64_t row = 0; row < 500; ++row) fit.given.weights.push_back(static_cast<float>(0.25 + random.unit()));
    fit.options.bagging_freq = 2;
    fit.options.bagging_fraction = 0.6;
    fit.rounds = 5;
  });
  add("logistic, roles, patience", 700, GbrtObjective::logistic, [&](Fit& fit) {
    fit.given.roles = roles_of(random, 700);
    fit.options.learning_rate = 0.9;
    fit.options.min_data_in_leaf = 1;
    fit.patience = 2;
    fit.rounds = 12;
  });
  add("logistic, rows of another matrix", 600, GbrtObjective::logistic, [&](Fit& fit) {
    fit.watched = table_of(random, 300);
    fit.watched_given.targets = targets_of(random, fit.watched, GbrtObjective::logistic, 1);
    fit.patience = 3;
  });
  add("logistic, from scores and rates", 400, GbrtObjective::logistic, [&](Fit& fit) {
    for (int64_t row = 0; row < 400; ++row) fit.given.scores.push_back(random.unit() - 0.5);
    fit.rates = {0.3, 0.2, 0.1, 0.05};
    fit.first_round = 3;
    fit.options.feature_fraction = 0.5;
  });
  add("softmax, whole weights, features of nodes", 600, GbrtObjective::softmax, [&](Fit& fit) {
    whole_weights(fit);
    fit.options.feature_fraction_by_node = 0.5;
    fit.rounds = 3;
  });
  add("monotone, largest steps, penalties", 600, GbrtObjective::logistic, [](Fit& fit) {
    fit.options.monotone = {1, -1, 0, 0, 0, 0, 1};
    fit.options.max_delta_step = 0.7;
    fit.options.lambda_l1 = 0.5;
    fit.options.lambda_l2 = 2;
    fit.options.max_depth = 3;
    fit.options.min_gain = 0.01;
  });
  add("custom", 500, GbrtObjective::custom, [&](Fit& fit) {
    fit.rounds = 1;
    for (int64_t row = 0; row < 500; ++row) {
      fit.grad.push_back(fit.given.targets[static_cast<size_t>(row)] - 1.5F);
      fit.hess.push_back(static_cast<float>(0.5 + random.unit()));
    }
  });
  add("a forest of classes", 500, GbrtObjective::squared, [&](Fit& fit) {
    fit.options.forest = true;
    fit.options.classes = 2;
    fit.given.targets = targets_of(random, fit.table, GbrtObjective::softmax, 2);
    whole_weights(fit);
    fit.options.feature_fraction_by_node = 0.5;
    fit.rounds = 3;
  });
  add("more leaves than are handed over together", 900, GbrtObjective::squared, [](Fit& fit) {
    fit.options.num_leaves = 90;
    fit.options.min_data_in_leaf = 1;
    fit.rounds = 1;
  });
  if (quick) return all;
  add("squared", 9000, GbrtObjective::squared, nothing);
  add("softmax, roles", 5000, GbrtObjective::softmax, [&](Fit& fit) { fit.given.roles = roles_of(random, 5000); });
  add("a forest", 20'000, GbrtObjective::squared, [&](Fit& fit) {
    fit.options.forest = true;
    fit.options.num_leaves = 64;
    whole_weights(fit);
  });
  return all;
}

}  // namespace

bool check_fits(bool quick) {
  StreamOptions options;
  options.threads = kCpuThreads;
  CpuStream cpu(options);
  const std::shared_ptr<Stream> card = open_cuda_stream({});
  int failures = 0;
  size_t trees = 0;
  const std::vector<Fit> all = fits(quick);
  for (const Fit& fit : all) {
    const Fitted expected = fit_on(cpu, fit);
    trees += expected.model.num_leaves.size();
    for (const char* run : {"", " in a second run"}) {
      const char* differs = difference(fit_on(*card, fit), expected);
      if (!differs) continue;
      ++failures;
      std::printf("gbrt_fit [%s] %s are not the CPU's%s\n", fit.label.c_str(), differs, run);
      break;
    }
  }
  card->close();
  std::printf("%-32s %4zu cases, %zu trees  %s\n", "gbrt_fit", all.size(), trees, failures == 0 ? "ok" : "FAILED");
  std::fflush(stdout);
  return failures == 0;
}

}  // namespace seqrisk::parity
