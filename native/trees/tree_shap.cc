#include "trees/tree_shap.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

namespace seqrisk {
namespace {

// Few: a row of deep trees takes tens of milliseconds, and a cancel waits for its task.
constexpr int64_t kRowsPerTask = 2;

// One feature of a path: the share of its splits that rows take without knowing it, and with (0 or 1), and the weight
// of all sets of features of one size.
struct Element {
  int64_t feature;
  double zero;
  double one;
  double weight;
};

void extend(Element* path, int64_t depth, double zero, double one, int64_t feature) {
  path[depth] = {feature, zero, one, depth == 0 ? 1.0 : 0.0};
  const auto sizes = static_cast<double>(depth + 1);
  for (int64_t i = depth - 1; i >= 0; --i) {
    path[i + 1].weight += one * path[i].weight * static_cast<double>(i + 1) / sizes;
    path[i].weight = zero * path[i].weight * static_cast<double>(depth - i) / sizes;
  }
}

// Calls with the weight of each size as it was before element `at` was added.
template <class Take>
void without(const Element* path, int64_t depth, int64_t at, Take take) {
  const auto sizes = static_cast<double>(depth + 1);
  const double zero = path[at].zero;
  const double one = path[at].one;
  double next = path[depth].weight;
  for (int64_t i = depth - 1; i >= 0; --i) {
    const double share = static_cast<double>(depth - i) / sizes;
    if (one != 0) {
      const double before = path[i].weight;
      const double weight = next * sizes / (static_cast<double>(i + 1) * one);
      next = before - weight * zero * share;
      take(i, weight);
    } else {
      take(i, path[i].weight / (zero * share));
    }
  }
}

void unwind(Element* path, int64_t depth, int64_t at) {
  without(path, depth, at, [&](int64_t i, double weight) { path[i].weight = weight; });
  for (int64_t i = at; i < depth; ++i) {
    path[i].feature = path[i + 1].feature;
    path[i].zero = path[i + 1].zero;
    path[i].one = path[i + 1].one;
  }
}

struct Walk {
  const TreeShap& call;
  int64_t row;
  double* phi;

  double value(int64_t feature) const {
    const int64_t at = row * call.row_stride + feature * call.feature_stride;
    return call.is_double ? static_cast<const double*>(call.values)[at]
                          : static_cast<double>(static_cast<const float*>(call.values)[at]);
  }

  double rows_of(int32_t at) const { return at >= 0 ? call.node_rows[at] : call.leaf_rows[-1 - at]; }

  // `before` has `depth` elements; this node's path stands behind it.
  void visit(int32_t at, Element* before, int64_t depth, double zero, double one, int64_t feature) {
    Element* path = before + depth;
    std::copy_n(before, depth, path);
    extend(path, depth, zero, one, feature);
    if (at < 0) {
      const double leaf = call.leaves[-1 - at] * call.factor;
      for (int64_t i = 1; i <= depth; ++i) {
        double sum = 0;
        without(path, depth, i, [&](int64_t, double weight) { sum += weight; });
        phi[path[i].feature] += sum * (path[i].one - path[i].zero) * leaf;
      }
      return;
    }
    const ForestNode& node = call.nodes[at];
    const bool left = forest_goes_left(call.category_bits, node, value(node.feature));
    const int32_t hot = left ? node.left : node.right;
    const int32_t cold = left ? node.right : node.left;
    const double all = rows_of(hot) + rows_of(cold);
    double zero_before = 1;
    double one_before = 1;
    int64_t known = 1;
    while (known <= depth && path[known].feature != node.feature) ++known;
    if (known <= depth) {
      zero_before = path[known].zero;
      one_before = path[known].one;
      unwind(path, depth--, known);
    }
    visit(hot, path, depth + 1, zero_before * rows_of(hot) / all, one_before, node.feature);
    visit(cold, path, depth + 1, zero_before * rows_of(cold) / all, 0, node.feature);
  }

  double mean(int32_t at) const {
    if (at < 0) return call.leaves[-1 - at] * call.factor;
    const ForestNode& node = call.nodes[at];
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
  int64_t depth = 0;
  for (int64_t t = 0; t < call.trees; ++t) {
    const int64_t own = depth_of(call, call.roots[t]);
    if (own < 0) {
      return Error::range(kWhere + "trees at most " + std::to_string(kShapMostDepth) +
                          " deep, each node in them once, but received another in tree " + std::to_string(t));
    }
    depth = std::max(depth, own);
  }
  // The paths of all nodes from the root to a leaf, one after the other.
  const auto elements = static_cast<size_t>((depth + 2) * (depth + 3) / 2);
  std::vector<Element> paths(elements * static_cast<size_t>(workers.count()));
  std::vector<double> means(static_cast<size_t>(call.trees));
  for (int64_t t = 0; t < call.trees; ++t) means[static_cast<size_t>(t)] = Walk{call, 0, nullptr}.mean(call.roots[t]);
  const int64_t columns = call.features + 1;
  workers.run((call.rows + kRowsPerTask - 1) / kRowsPerTask, [&](int64_t task, int worker) {
    Element* path = paths.data() + elements * static_cast<size_t>(worker);
    const int64_t end = std::min(call.rows, (task + 1) * kRowsPerTask);
    for (int64_t row = task * kRowsPerTask; row < end; ++row) {
      double* out = call.out + row * call.classes * columns;
      std::memset(out, 0, static_cast<size_t>(call.classes * columns) * sizeof(double));
      for (int64_t t = 0; t < call.trees; ++t) {
        Walk walk = {call, row, out + t % call.classes * columns};
        walk.phi[call.features] += means[static_cast<size_t>(t)];
        walk.visit(call.roots[t], path, 0, 1, 1, -1);
      }
    }
  });
  return std::nullopt;
}

}  // namespace seqrisk
