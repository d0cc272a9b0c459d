#include "trees/isolation_forest.h"

#include <algorithm>
#include <numeric>
#include <unordered_set>

#include "ops/draws.h"
#include "runtime/carver.h"

namespace seqrisk {
namespace {

constexpr uint32_t kSampleStream = 0x1f0;

}  // namespace

IsolationForest::IsolationForest(const IforestOptions& options) : options_(options) {
  while (int64_t{1} << levels_ < options.samples) ++levels_;
}

IsolationForest::Memory IsolationForest::carve(std::byte* base) const {
  Memory memory{};
  Carver carver(base);
  const int64_t nodes = options_.trees * nodes_per_tree();
  carver.take(memory.nodes, nodes);
  carver.take(memory.depths, nodes);
  if (options_.extension > 0) {
    carver.take(memory.terms, options_.trees * (options_.samples - 1) * (options_.extension + 1));
  }
  memory.bytes = carver.bytes();
  return memory;
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

IforestGrow IsolationForest::grow_call(int64_t first, int64_t count) const {
  IforestGrow call{};
  call.first = first;
  call.count = count;
  call.samples = options_.samples;
  call.features = options_.features;
  call.extension = options_.extension;
  call.levels = levels_;
  call.seed = options_.seed;
  call.nodes = memory_.nodes;
  call.depths = memory_.depths;
  call.terms = memory_.terms;
  return call;
}

IforestScore IsolationForest::score_call() const {
  IforestScore call{};
  call.nodes = memory_.nodes;
  call.depths = memory_.depths;
  call.terms = memory_.terms;
  call.terms_per_node = options_.extension + 1;
  call.nodes_per_tree = nodes_per_tree();
  call.trees = options_.trees;
  call.levels = levels_;
  call.features = options_.features;
  const double path = iforest_mean_path(options_.samples);
  call.per_depth = path > 0 ? 1 / path : 1;
  return call;
}

}  // namespace seqrisk
