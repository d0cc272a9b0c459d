#include "trees/isolation_forest.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <unordered_set>

#include "trees/draws.h"

namespace seqrisk {
namespace {

constexpr uint32_t kSampleStream = 0x1f0;
constexpr uint32_t kGrowStream = 0x1f1;
// Infinities stand at the ends of what differences of float64 can hold.
constexpr double kEnd = 1e300;
constexpr double kInfinity = std::numeric_limits<double>::infinity();

}  // namespace

double mean_path(double rows) {
  if (rows <= 1) return 0;
  if (rows == 2) return 1;
  constexpr double kEuler = 0.57721566490153286;
  return 2 * (std::log(rows - 1) + kEuler) - 2 * (rows - 1) / rows;
}

IsolationForest::IsolationForest(int64_t features, const IforestOptions& options)
    : features_(features), options_(options), levels_(0) {
  while (int64_t{1} << levels_ < options.samples) ++levels_;
  const int64_t nodes = options.trees * nodes_per_tree();
  nodes_.resize(static_cast<size_t>(nodes));
  depths_.resize(static_cast<size_t>(nodes));
  if (options.extension > 0) {
    terms_.resize(static_cast<size_t>(options.trees * (options.samples - 1) * (options.extension + 1)));
  }
  roots_.resize(static_cast<size_t>(options.trees));
}

std::vector<int64_t> IsolationForest::sample(int64_t tree, int64_t rows) const {
  std::vector<int64_t> taken;
  if (rows == options_.samples) {
    taken.resize(static_cast<size_t>(rows));
    std::iota(taken.begin(), taken.end(), 0);
    return taken;
  }
  // Floyd's algorithm (Bentley & Floyd 1987).
  Draws draws(options_.seed, kSampleStream, tree);
  std::unordered_set<int64_t> seen;
  for (int64_t last = rows - options_.samples; last < rows; ++last) {
    const int64_t row = draws.below(last + 1);
    taken.push_back(seen.insert(row).second ? row : *seen.insert(last).first);
  }
  std::sort(taken.begin(), taken.end());
  return taken;
}

// Grows one tree. Rows of a node stand together in `rows_`; it works through nodes that wait, depth first.
class IsolationForest::Grower {
 public:
  Grower(IsolationForest& forest, int64_t tree, const double* values)
      : forest_(forest),
        values_(values),
        draws_(forest.options_.seed, kGrowStream, tree),
        next_(tree * forest.nodes_per_tree()),
        next_term_(tree * (forest.options_.samples - 1) * (forest.options_.extension + 1)),
        rows_(static_cast<size_t>(forest.options_.samples)),
        projected_(rows_.size()),
        order_(static_cast<size_t>(forest.features_)) {
    std::iota(rows_.begin(), rows_.end(), 0);
    std::iota(order_.begin(), order_.end(), 0);
  }

  void run() {
    struct Open {
      int64_t node, begin, end, depth;
    };
    std::vector<Open> open{{next_++, 0, forest_.options_.samples, 0}};
    // One row tells nothing: its trees have depth 1, for a score of 0.5.
    const double alone = forest_.options_.samples == 1 ? 1 : 0;
    while (!open.empty()) {
      const Open now = open.back();
      open.pop_back();
      const int64_t middle =
          now.end - now.begin > 1 && now.depth < forest_.levels_ ? split(now.node, now.begin, now.end) : now.begin;
      if (middle == now.begin) {
        forest_.nodes_[static_cast<size_t>(now.node)] = {kInfinity, static_cast<int32_t>(now.node), 0, 0};
        forest_.depths_[static_cast<size_t>(now.node)] =
            static_cast<double>(now.depth) + mean_path(static_cast<double>(now.end - now.begin)) + alone;
        continue;
      }
      forest_.nodes_[static_cast<size_t>(now.node)].left = static_cast<int32_t>(next_);
      open.push_back({next_ + 1, middle, now.end, now.depth + 1});
      open.push_back({next_, now.begin, middle, now.depth + 1});
      next_ += 2;
    }
  }

 private:
  struct Range {
    double low = kInfinity;
    double high = -kInfinity;
    bool varies() const { return high > low; }
  };

  double value(int64_t row, int64_t feature) const {
    return std::clamp(values_[row * forest_.features_ + feature], -kEnd, kEnd);
  }
  Range range_of(int64_t feature, int64_t begin, int64_t end) const {
    Range range;
    for (int64_t i = begin; i < end; ++i) {
      const double v = value(rows_[static_cast<size_t>(i)], feature);
      if (v < range.low) range.low = v;
      if (v > range.high) range.high = v;
    }
    return range;
  }

  // The next feature in random order that varies among the rows, or −1. `drawn` features were drawn before.
  int64_t next_varying(int64_t* drawn, int64_t begin, int64_t end, Range* range) {
    while (*drawn < forest_.features_) {
      const int64_t chosen = *drawn + draws_.below(forest_.features_ - *drawn);
      std::swap(order_[static_cast<size_t>(*drawn)], order_[static_cast<size_t>(chosen)]);
      const int64_t feature = order_[static_cast<size_t>((*drawn)++)];
      *range = range_of(feature, begin, end);
      if (range->varies()) return feature;
    }
    return -1;
  }

  // Where the right child's rows begin; `begin` when nothing tells the rows apart.
  int64_t split(int64_t at, int64_t begin, int64_t end) {
    IforestNode& node = forest_.nodes_[static_cast<size_t>(at)];
    Range range;
    int64_t drawn = 0;
    const int64_t feature = next_varying(&drawn, begin, end, &range);
    if (feature < 0) return begin;
    if (forest_.options_.extension == 0) {
      node.feature = static_cast<uint32_t>(feature) & 0x7fffffff;
      for (int64_t i = begin; i < end; ++i) projected(i) = value(rows_[static_cast<size_t>(i)], feature);
    } else {
      node.feature = static_cast<uint32_t>(next_term_) & 0x7fffffff;
      range = project(feature, range, drawn, begin, end);
      if (!range.varies()) return begin;
    }
    const double threshold = range.low + draws_.uniform() * (range.high - range.low);
    node.threshold = threshold < range.high ? threshold : range.low;
    // Missing values go along with the known ones, as likely to a side as those.
    int64_t known = 0;
    int64_t lefts = 0;
    for (int64_t i = begin; i < end; ++i) {
      known += projected(i) == projected(i);
      lefts += projected(i) <= node.threshold;
    }
    node.nan_right = draws_.uniform() * static_cast<double>(known) >= static_cast<double>(lefts);
    int64_t middle = begin;
    for (int64_t i = begin; i < end; ++i) {
      const double p = projected(i);
      if (p == p ? p > node.threshold : node.nan_right) continue;
      std::swap(rows_[static_cast<size_t>(i)], rows_[static_cast<size_t>(middle)]);
      std::swap(projected(i), projected(middle));
      ++middle;
    }
    return middle;
  }

  // A direction over the first varying feature and others, each on the scale of its range; returns what it ranges over.
  Range project(int64_t feature, Range range, int64_t drawn, int64_t begin, int64_t end) {
    std::fill(projected_.begin() + begin, projected_.begin() + end, 0.0);
    for (int64_t k = 0; k <= forest_.options_.extension; ++k) {
      IforestTerm& term = forest_.terms_[static_cast<size_t>(next_term_++)];
      if (k > 0 && feature >= 0) feature = next_varying(&drawn, begin, end, &range);
      if (feature < 0) {
        term = {0, 0, 0};
        continue;
      }
      term = {draws_.normal() / (range.high - range.low), range.low + (range.high - range.low) / 2,
              static_cast<int32_t>(feature)};
      for (int64_t i = begin; i < end; ++i) {
        const double part = term.weight * (value(rows_[static_cast<size_t>(i)], feature) - term.center);
        projected(i) += part == part ? part : 0;
      }
    }
    Range result;
    for (int64_t i = begin; i < end; ++i) {
      result.low = std::min(result.low, projected(i));
      result.high = std::max(result.high, projected(i));
    }
    return result;
  }

  double& projected(int64_t i) { return projected_[static_cast<size_t>(i)]; }

  IsolationForest& forest_;
  const double* values_;
  Draws draws_;
  int64_t next_;
  int64_t next_term_;
  std::vector<int64_t> rows_;
  std::vector<double> projected_;
  std::vector<int64_t> order_;
};

void IsolationForest::grow(int64_t tree, const double* values) {
  roots_[static_cast<size_t>(tree)] = static_cast<int32_t>(tree * nodes_per_tree());
  Grower(*this, tree, values).run();
}

IforestScore IsolationForest::score_call() const {
  IforestScore call{};
  call.nodes = nodes_.data();
  call.depths = depths_.data();
  call.roots = roots_.data();
  call.terms = options_.extension > 0 ? terms_.data() : nullptr;
  call.terms_per_node = options_.extension + 1;
  call.all_nodes = static_cast<int64_t>(nodes_.size());
  call.all_terms = static_cast<int64_t>(terms_.size());
  call.trees = options_.trees;
  call.levels = levels_;
  call.features = features_;
  const double path = mean_path(static_cast<double>(options_.samples));
  call.per_depth = path > 0 ? 1 / path : 1;
  return call;
}

}  // namespace seqrisk
