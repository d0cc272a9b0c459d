#include "trees/tree_shap.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numbers>
#include <string>
#include <vector>

namespace seqrisk {
namespace {

// Few: a row of many deep trees takes milliseconds, and a cancel waits for its task.
constexpr int64_t kRowsPerTask = 2;
// No factor of a path is smaller, so that what is divided by one was not lost below the smallest number. It moves a
// value by less than 2⁻⁴⁹⁹ of its leaves.
constexpr double kLeastShare = 0x1p-500;

// Gauss–Legendre on [0, 1]: n nodes take the integral of a polynomial of degree 2n − 1 exactly.
struct Quadrature {
  explicit Quadrature(int64_t nodes = 0) : t(static_cast<size_t>(nodes)), rest(t.size()), weight(t.size()) {
    const auto n = static_cast<double>(nodes);
    for (size_t i = 0; i < t.size(); ++i) {
      // Newton's method on the Legendre polynomial; from here it doubles its digits in each round.
      double x = std::cos(std::numbers::pi * (static_cast<double>(i) + 0.75) / (n + 0.5));
      double slope = 1;
      for (int round = 0; round < 6; ++round) {
        double value = 1;
        double before = 0;
        for (int64_t degree = 1; degree <= nodes; ++degree) {
          const auto j = static_cast<double>(degree);
          const double next = ((2 * j - 1) * x * value - (j - 1) * before) / j;
          before = value;
          value = next;
        }
        slope = n * (x * value - before) / (x * x - 1);
        x -= value / slope;
      }
      t[i] = (1 - x) / 2;
      rest[i] = (1 + x) / 2;
      weight[i] = 1 / ((1 - x * x) * slope * slope);
    }
  }

  std::vector<double> t;
  std::vector<double> rest;  // 1 − t
  std::vector<double> weight;
};

// A feature on a path from the root: the share of its splits that rows take without knowing it, and with (0 or 1).
// Among sets in which every feature is with probability t, a split on it is taken with probability
// zero·(1 − t) + one·t.
struct Element {
  int64_t feature;
  double zero;
  double one;
};
constexpr Element kNone = {-1, 1, 1};

// One row through one tree. A set of k of m features weighs k!·(m − 1 − k)!/m! = ∫ t^k·(1 − t)^(m−1−k) dt,
// so what feature i adds through a leaf is (one_i − zero_i)·leaf·∫ of the other features' product.
// Nothing is subtracted but in the first factor: paths of any length keep their digits. Products go down the tree, and
// come back as sums over the leaves below, at each node of the quadrature.
struct Walk {
  const TreeShap& call;
  const Quadrature& at;
  Element* path;
  double* levels;  // of each depth, products and sums
  int64_t row;
  double* phi;

  double value(int64_t feature) const {
    const int64_t i = row * call.row_stride + feature * call.feature_stride;
    return call.is_double ? static_cast<const double*>(call.values)[i]
                          : static_cast<double>(static_cast<const float*>(call.values)[i]);
  }

  double rows_of(int32_t node) const { return node >= 0 ? call.node_rows[node] : call.leaf_rows[-1 - node]; }
  size_t nodes() const { return at.t.size(); }
  double* products(int64_t depth) const { return levels + static_cast<size_t>(2 * depth) * nodes(); }
  double* sums(int64_t depth) const { return products(depth) + nodes(); }
  double factor(const Element& element, size_t q) const { return element.zero * at.rest[q] + element.one * at.t[q]; }

  // The feature as the path above knows it; its last split stands for all.
  Element known(int64_t feature, int64_t depth) const {
    while (--depth >= 0) {
      if (path[depth].feature == feature) return path[depth];
    }
    return kNone;
  }

  void visit(int32_t index, int64_t depth) const {
    const double* product = products(depth);
    double* sum = sums(depth);
    if (index < 0) {
      const double leaf = call.leaves[-1 - index] * call.factor;
      for (size_t q = 0; q < nodes(); ++q) sum[q] = product[q] * leaf;
      return;
    }
    const ForestNode& node = call.nodes[index];
    const bool left = forest_goes_left(call.category_bits, node, value(node.feature));
    const int32_t hot = left ? node.left : node.right;
    const int32_t cold = left ? node.right : node.left;
    const double all = rows_of(hot) + rows_of(cold);
    const Element before = known(node.feature, depth);
    const auto share = [&](int32_t child) { return std::max(before.zero * rows_of(child) / all, kLeastShare); };
    std::fill_n(sum, nodes(), 0.0);
    follow(hot, depth, {node.feature, share(hot), before.one}, before);
    follow(cold, depth, {node.feature, share(cold), 0}, before);
  }

  void follow(int32_t child, int64_t depth, const Element& now, const Element& before) const {
    const double* product = products(depth);
    double* sum = sums(depth);
    double others = 0;
    const bool is_new = before.feature < 0;
    if (is_new && child < 0) {  // most edges of small trees, and without a division
      const double leaf = call.leaves[-1 - child] * call.factor;
      for (size_t q = 0; q < nodes(); ++q) {
        sum[q] += product[q] * factor(now, q) * leaf;
        others += product[q];
      }
      phi[now.feature] += (now.one - now.zero) * others * leaf;
      return;
    }
    path[depth] = now;
    double* below = products(depth + 1);
    for (size_t q = 0; q < nodes(); ++q) below[q] = product[q] * factor(now, q);
    for (size_t q = 0; !is_new && q < nodes(); ++q) below[q] /= factor(before, q);
    visit(child, depth + 1);
    const double* from = sums(depth + 1);
    for (size_t q = 0; q < nodes(); ++q) {
      sum[q] += from[q];
      others += from[q] / factor(now, q);
    }
    phi[now.feature] += (now.one - now.zero) * others;
    if (is_new) return;
    // The split above on the same feature counts these leaves too, as if it were their last: they are taken out of it.
    others = 0;
    for (size_t q = 0; q < nodes(); ++q) others += from[q] / factor(before, q);
    phi[now.feature] -= (before.one - before.zero) * others;
  }

  double mean(int32_t index) const {
    if (index < 0) return call.leaves[-1 - index] * call.factor;
    const ForestNode& node = call.nodes[index];
    const double left = rows_of(node.left);
    const double right = rows_of(node.right);
    return (mean(node.left) * left + mean(node.right) * right) / (left + right);
  }
};

// Depth of the tree under a root; −1 if it is too deep, or has more nodes than there are: one comes twice.
int64_t depth_of(const TreeShap& call, int32_t root) {
  struct Open {
    int32_t at;
    int64_t depth;
  };
  std::vector<Open> open = {{root, 0}};
  int64_t deepest = 0;
  int64_t visits = 0;
  while (!open.empty()) {
    const Open top = open.back();
    open.pop_back();
    if (++visits > call.all_nodes + call.all_leaves || top.depth > kShapMostDepth) return -1;
    deepest = std::max(deepest, top.depth);
    if (top.at < 0) continue;
    open.push_back({call.nodes[top.at].left, top.depth + 1});
    open.push_back({call.nodes[top.at].right, top.depth + 1});
  }
  return deepest;
}

const std::string kWhere = "[forest] expected ";

std::optional<Error> check_rows(const double* rows, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    if (rows[i] > 0 && std::isfinite(rows[i])) continue;
    return Error::range(kWhere + "a number of rows above 0 in every node and leaf but received " +
                        std::to_string(rows[i]) + "; the model does not say how many rows it saw");
  }
  return std::nullopt;
}

}  // namespace

std::optional<Error> tree_shap(const TreeShap& call, Workers& workers) {
  if (auto error = check_rows(call.node_rows, call.all_nodes)) return error;
  if (auto error = check_rows(call.leaf_rows, call.all_leaves)) return error;
  const auto trees = static_cast<size_t>(call.trees);
  std::vector<int64_t> nodes(trees);  // of each tree's quadrature: a path has no more features than its tree is deep
  int64_t deepest = 0;
  for (size_t t = 0; t < trees; ++t) {
    const int64_t depth = depth_of(call, call.roots[t]);
    if (depth < 0) {
      return Error::range(kWhere + "trees at most " + std::to_string(kShapMostDepth) +
                          " deep, each node in them once, but received another in tree " + std::to_string(t));
    }
    nodes[t] = (std::min(depth, call.features) + 1) / 2;
    deepest = std::max(deepest, depth);
  }
  std::vector<Quadrature> quadratures;
  for (const int64_t count : nodes) {
    while (static_cast<int64_t>(quadratures.size()) <= count) quadratures.emplace_back();
    Quadrature& own = quadratures[static_cast<size_t>(count)];
    if (static_cast<int64_t>(own.t.size()) != count) own = Quadrature(count);
  }
  const auto quadrature_of = [&](size_t t) -> const Quadrature& { return quadratures[static_cast<size_t>(nodes[t])]; };
  std::vector<double> means(trees);
  for (size_t t = 0; t < trees; ++t) {
    means[t] = Walk{call, quadrature_of(t), nullptr, nullptr, 0, nullptr}.mean(call.roots[t]);
  }
  const auto steps = static_cast<size_t>(deepest + 1);
  const size_t words = steps * 2 * quadratures.size();
  std::vector<Element> paths(steps * static_cast<size_t>(workers.count()));
  std::vector<double> levels(words * static_cast<size_t>(workers.count()));
  const int64_t columns = call.features + 1;
  workers.run((call.rows + kRowsPerTask - 1) / kRowsPerTask, [&](int64_t task, int worker) {
    Element* path = paths.data() + steps * static_cast<size_t>(worker);
    double* own = levels.data() + words * static_cast<size_t>(worker);
    const int64_t end = std::min(call.rows, (task + 1) * kRowsPerTask);
    for (int64_t row = task * kRowsPerTask; row < end; ++row) {
      double* out = call.out + row * call.classes * columns;
      std::memset(out, 0, static_cast<size_t>(call.classes * columns) * sizeof(double));
      for (size_t t = 0; t < trees; ++t) {
        const Walk walk = {
            call, quadrature_of(t), path, own, row, out + static_cast<int64_t>(t) % call.classes * columns};
        walk.phi[call.features] += means[t];
        std::copy(walk.at.weight.begin(), walk.at.weight.end(), walk.products(0));
        walk.visit(call.roots[t], 0);
      }
    }
  });
  return std::nullopt;
}

}  // namespace seqrisk
