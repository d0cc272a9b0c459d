// Forests: trees checked and made ready for prediction.
#include "ops/forest_predict.h"

#include <algorithm>
#include <cmath>
#include <new>

#include "bindings/args.h"
#include "bindings/bindings.h"
#include "bindings/environment.h"
#include "bindings/host_array.h"
#include "bindings/tree_handles.h"
#include "bindings/wrap.h"
#include "runtime/kernel_table.h"
#include "runtime/thread_pool.h"
#include "trees/tree_shap.h"

namespace seqrisk {
namespace {

using Info = Napi::CallbackInfo;

constexpr napi_type_tag kForestTag = {0x5e9715c0a51de2f6, 0x70e4b1d59c2fa863};
constexpr int64_t kMostClasses = 4096;
constexpr int64_t kMostRows = int64_t{1} << 31;

struct Forest {
  std::vector<ForestNode> nodes;
  std::vector<int32_t> roots;
  std::vector<double> leaves;
  std::vector<uint32_t> category_bits;
  std::vector<ForestMask> masks;
  std::vector<int32_t> first_node;
  std::vector<int32_t> first_leaf;
  std::vector<double> ordered_leaves;
  std::vector<uint8_t> has_masks;
  bool is_narrow = true;
  int64_t features = 0;
  int64_t classes = 1;
  double sigmoid = 1;
};
using Handle = std::shared_ptr<const Forest>;

const std::string kWhere = "[forest] expected ";

Napi::Value argument(const Info& info, size_t i) {
  return i < info.Length() ? info[i] : info.Env().Undefined();
}

double number(const Info& info, size_t i, const char* name, double low, double high) {
  const Napi::Value value = argument(info, i);
  const double given = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : std::nan("");
  if (given >= low && given <= high) return given;
  throw Error::range(kWhere + name + " in [" + std::to_string(low) + ", " + std::to_string(high) + "] but received " +
                     describe(value));
}

int64_t integer(const Info& info, size_t i, const char* name, int64_t low, int64_t high) {
  const double given = number(info, i, name, static_cast<double>(low), static_cast<double>(high));
  if (given != std::trunc(given)) {
    throw Error::range(kWhere + name + " to be an integer but received " + std::to_string(given));
  }
  return static_cast<int64_t>(given);
}

const Handle& forest_of(const Napi::Value& value) {
  const Handle* handle = unwrap<Handle>(value, kForestTag);
  if (!handle) throw Error::type(kWhere + "a forest but received " + describe(value));
  return *handle;
}

[[noreturn]] void refuse(const std::string& expected, int64_t received, int64_t tree) {
  throw Error::range(kWhere + expected + " but received " + std::to_string(received) + " in tree " +
                     std::to_string(tree));
}

// Gives a tree masks, if its nodes and leaves allow them. Its leaves are appended from left to right.
void add_masks(Forest& forest, int64_t leaves, int32_t root) {
  const size_t first = forest.masks.size();
  forest.first_node.push_back(static_cast<int32_t>(first));
  forest.first_leaf.push_back(static_cast<int32_t>(forest.ordered_leaves.size()));
  const auto inner = static_cast<size_t>(leaves - 1);
  forest.masks.resize(first + inner);
  const auto number = [&](int32_t node) { return static_cast<size_t>(node - root); };
  // Nodes that wait for their left, then for their right side; small, or the tree has no masks.
  struct Open {
    int32_t node;
    bool left_done;
    uint32_t first_leaf;
  };
  std::vector<Open> open;
  const size_t base = forest.ordered_leaves.size();
  bool fits = leaves <= kForestMaskLeaves;
  const auto visit = [&](int32_t at) {
    if (at < 0) {
      forest.ordered_leaves.push_back(forest.leaves[static_cast<size_t>(-1 - at)]);
    } else {
      open.push_back({at, false, static_cast<uint32_t>(forest.ordered_leaves.size() - base)});
    }
  };
  if (fits) visit(root);
  while (!open.empty() && fits) {
    Open& top = open.back();
    const ForestNode& node = forest.nodes[static_cast<size_t>(top.node)];
    if (!top.left_done) {
      top.left_done = true;
      // Zeros as missing values and categories are not one comparison.
      fits = !node.is_category && node.missing != ForestMissing::zero;
      visit(node.left);
      continue;
    }
    const auto end = static_cast<uint32_t>(forest.ordered_leaves.size() - base);
    uint64_t lefts = 0;
    for (uint32_t leaf = top.first_leaf; leaf < end; ++leaf) lefts |= uint64_t{1} << leaf;
    ForestMask mask{};
    mask.keep = ~lefts;
    mask.threshold = node.threshold;
    mask.narrow = static_cast<float>(node.threshold);
    if (static_cast<double>(mask.narrow) > node.threshold) mask.narrow = std::nextafterf(mask.narrow, -HUGE_VALF);
    mask.feature = node.feature;
    // A missing value where training saw none counts as 0.
    mask.nan_left = node.missing == ForestMissing::nan ? node.nan_left : 0 <= node.threshold;
    forest.masks[first + number(top.node)] = mask;
    open.pop_back();
    visit(node.right);
    // A node that comes twice makes a graph of the tree: it is walked.
    fits = fits && forest.ordered_leaves.size() - base <= static_cast<size_t>(leaves);
  }
  fits = fits && forest.ordered_leaves.size() - base == static_cast<size_t>(leaves);
  forest.has_masks.push_back(fits);
  if (!fits) forest.ordered_leaves.resize(base + static_cast<size_t>(leaves));
  if (fits && leaves > kForestNarrowLeaves) forest.is_narrow = false;
}

// features, classes, sigmoid, numLeaves, splitFeature, threshold, decision, left, right, leafValue, categoryStart,
// categoryWords; as lib/trees/model.ts keeps them.
Napi::Value forest_create(const Info& info) {
  auto forest = std::make_shared<Forest>();
  forest->features = integer(info, 0, "features", 1, int64_t{1} << 30);
  forest->classes = integer(info, 1, "classes", 1, kMostClasses);
  forest->sigmoid = number(info, 2, "sigmoid", -1e30, 1e30);
  const int64_t trees = host_numbers(argument(info, 3), kWhere).length;
  const int32_t* num_leaves = host_ints(argument(info, 3), trees, kWhere);
  int64_t nodes = 0;
  int64_t leaves = 0;
  for (int64_t t = 0; t < trees; ++t) {
    if (num_leaves[t] < 1) refuse("at least one leaf", num_leaves[t], t);
    leaves += num_leaves[t];
    nodes += num_leaves[t] - 1;
  }
  const int32_t* feature = host_ints(argument(info, 4), nodes, kWhere);
  const double* threshold = host_doubles(argument(info, 5), nodes, kWhere);
  const uint8_t* decision = host_bytes(argument(info, 6), nodes, kWhere);
  const int32_t* left = host_ints(argument(info, 7), nodes, kWhere);
  const int32_t* right = host_ints(argument(info, 8), nodes, kWhere);
  const double* value = host_doubles(argument(info, 9), leaves, kWhere);
  const int64_t categories = host_numbers(argument(info, 10), kWhere).length;
  const int32_t* start = host_ints(argument(info, 10), categories, kWhere);
  const int64_t words = host_numbers(argument(info, 11), kWhere).length;
  const int32_t* bits = host_ints(argument(info, 11), words, kWhere);
  forest->leaves.assign(value, value + leaves);
  forest->category_bits.assign(bits, bits + words);
  forest->nodes.reserve(static_cast<size_t>(nodes));
  int64_t node = 0;
  int64_t leaf = 0;
  for (int64_t t = 0; t < trees; ++t) {
    const int64_t inner = num_leaves[t] - 1;
    const int64_t first = node;
    forest->roots.push_back(inner > 0 ? static_cast<int32_t>(first) : static_cast<int32_t>(-1 - leaf));
    // Children come after their parent, so that every walk ends.
    const auto child = [&](int32_t number, int64_t parent) {
      if (number >= 0 ? number <= parent || number >= inner : -1 - int64_t{number} >= num_leaves[t]) {
        refuse("children to be later nodes or leaves of their tree", number, t);
      }
      return static_cast<int32_t>(number >= 0 ? first + number : -1 - (leaf - 1 - number));
    };
    for (int64_t i = 0; i < inner; ++i, ++node) {
      ForestNode made{};
      if (feature[node] < 0 || feature[node] >= forest->features) {
        refuse("features below " + std::to_string(forest->features), feature[node], t);
      }
      made.feature = feature[node];
      made.is_category = decision[node] & 1;
      made.nan_left = decision[node] >> 1 & 1;
      const int missing = decision[node] >> 2 & 3;
      if (missing > 2) refuse("missing types from 0 to 2", missing, t);
      made.missing = static_cast<ForestMissing>(missing);
      made.threshold = threshold[node];
      if (made.is_category) {
        const double at = threshold[node];
        if (!(at >= 0 && at + 1 < static_cast<double>(categories)) || at != std::trunc(at)) {
          throw Error::range(kWhere + "categorical splits to name one of " + std::to_string(categories - 1) +
                             " lists but received " + std::to_string(at));
        }
        const int64_t begin = start[static_cast<int64_t>(at)];
        const int64_t end = start[static_cast<int64_t>(at) + 1];
        if (begin < 0 || end < begin || end > words || end - begin > 65535) {
          refuse("category lists inside " + std::to_string(words) + " words", end, t);
        }
        made.threshold = static_cast<double>(begin);
        made.words = static_cast<uint16_t>(end - begin);
      }
      made.left = child(left[node], i);
      made.right = child(right[node], i);
      forest->nodes.push_back(made);
    }
    leaf += num_leaves[t];
    add_masks(*forest, num_leaves[t], forest->roots.back() >= 0 ? static_cast<int32_t>(first) : forest->roots.back());
  }
  forest->first_node.push_back(static_cast<int32_t>(forest->masks.size()));
  return wrap<Handle>(info.Env(), std::move(forest), kForestTag);
}

ForestPredict call_of(const Forest& forest, const Info& info, size_t at) {
  ForestPredict call{};
  call.transform = static_cast<ForestTransform>(integer(info, at, "transform", 0, 3));
  const auto trees = static_cast<int64_t>(forest.roots.size());
  call.trees = integer(info, at + 1, "trees", 0, trees);
  call.nodes = forest.nodes.data();
  call.roots = forest.roots.data();
  call.leaves = forest.leaves.data();
  call.category_bits = forest.category_bits.data();
  call.classes = forest.classes;
  call.sigmoid = forest.sigmoid;
  call.features = forest.features;
  call.first_node = forest.first_node.data();
  call.first_leaf = forest.first_leaf.data();
  call.ordered_leaves = forest.ordered_leaves.data();
  call.has_masks = forest.has_masks.data();
  call.is_narrow = forest.is_narrow;
  return call;
}

// As a task: the memory that it writes lives until its own completion.
Napi::Value submit_predict(const Info& info, const StreamHandle& stream, ForestPredict call,
                           std::shared_ptr<const void> keep, const Napi::Float64Array& out) {
  auto [promise, done] = Environment::of(info.Env()).promise(info.Env(), out, stream);
  stream->run(
      [call, keep = std::move(keep)](HostContext& context) -> std::optional<Error> {
        const int64_t words = context.workers.count() * call.features * kForestTileRows;
        // Vectors are loaded from it: on their boundary.
        const std::unique_ptr<double[], void (*)(double*)> scratch(
            static_cast<double*>(::operator new[](static_cast<size_t>(words) * 8, std::align_val_t{64})),
            [](double* memory) { ::operator delete[](memory, std::align_val_t{64}); });
        ForestPredict with_scratch = call;
        with_scratch.scratch = scratch.get();
        context.kernels.forest_predict(with_scratch, context.workers);
        return std::nullopt;
      },
      std::move(done));
  return promise;
}

// Each bin's value: the upper bound of a number's, the code of a category's. A model whose thresholds are bounds of
// these bins cannot tell them from the values that were binned.
std::vector<double> values_of_bins(const std::vector<BinnedColumn>& columns) {
  std::vector<double> values;
  values.reserve(columns.size() * static_cast<size_t>(kGbrtCells));
  for (const BinnedColumn& column : columns) {
    const size_t first = values.size();
    values.resize(first + static_cast<size_t>(kGbrtCells), std::nan(""));
    for (size_t i = 0; i < column.bounds.size(); ++i) {
      values[first + (column.bin_of.empty() ? i : column.bin_of[i])] = column.bounds[i];
    }
  }
  return values;
}

// stream, forest, matrix, start, count, transform, trees
Napi::Value forest_predict_binned(const Info& info) {
  StreamHandle* stream = unwrap_stream(argument(info, 0));
  if (!stream) throw Error::type(kWhere + "a stream but received " + describe(argument(info, 0)));
  const Handle& forest = forest_of(argument(info, 1));
  const auto matrix = binned_of(argument(info, 2), kWhere, true);
  if (matrix->stream != *stream) throw Error::type(kWhere + "a matrix on this device but received another's");
  if (matrix->features != forest->features) {
    throw Error::range(kWhere + std::to_string(forest->features) + " features but received " +
                       std::to_string(matrix->features));
  }
  struct Keep {
    Handle forest;
    std::vector<double> values;
  };
  auto keep = std::make_shared<Keep>(Keep{forest, values_of_bins(*matrix->columns)});
  ForestPredict call = call_of(*forest, info, 5);
  call.masks = forest->masks.data();
  call.bin_values = keep->values.data();
  call.bins = matrix->kernel_bins();
  call.first_row = integer(info, 3, "start", 0, matrix->rows);
  call.rows = integer(info, 4, "count", 0, matrix->rows - call.first_row);
  const Napi::Float64Array out = Napi::Float64Array::New(info.Env(), static_cast<size_t>(call.rows * forest->classes));
  Napi::Float64Array target = out;
  call.out = target.Data();
  return submit_predict(info, *stream, call, std::move(keep), out);
}

// stream, forest, values (a typed array of rows or a list of columns), start, count, transform, trees
Napi::Value forest_predict(const Info& info) {
  StreamHandle* stream = unwrap_stream(argument(info, 0));
  if (!stream) throw Error::type(kWhere + "a stream but received " + describe(argument(info, 0)));
  if ((*stream)->closed()) throw Error::coded("CLOSED", kWhere + "an open stream but received a closed one");
  const Handle& forest = forest_of(argument(info, 1));
  const int64_t start = integer(info, 3, "start", 0, kMostRows);
  const int64_t count = integer(info, 4, "count", 0, kMostRows);
  struct Keep {
    Handle forest;
    StagedRows rows;
  };
  auto keep =
      std::make_shared<Keep>(Keep{forest, StagedRows(argument(info, 2), forest->features, start, count, true, kWhere)});
  ForestPredict call = call_of(*forest, info, 5);
  const std::vector<StagedColumn>& columns = keep->rows.columns();
  call.values = columns[0].values;
  call.is_double = columns[0].is_double;
  call.row_stride = columns[0].stride;
  call.feature_stride = columns[0].stride == 1 ? count : 1;
  call.rows = count;
  const Napi::Float64Array out = Napi::Float64Array::New(info.Env(), static_cast<size_t>(count * forest->classes));
  Napi::Float64Array target = out;
  call.out = target.Data();
  call.masks = forest->masks.data();
  return submit_predict(info, *stream, call, std::move(keep), out);
}

// stream, forest, values, start, count, trees, factor, rows of each node, rows of each leaf
Napi::Value forest_shap(const Info& info) {
  StreamHandle* stream = unwrap_stream(argument(info, 0));
  if (!stream) throw Error::type(kWhere + "a stream but received " + describe(argument(info, 0)));
  if ((*stream)->closed()) throw Error::coded("CLOSED", kWhere + "an open stream but received a closed one");
  const Handle& forest = forest_of(argument(info, 1));
  const int64_t start = integer(info, 3, "start", 0, kMostRows);
  const int64_t count = integer(info, 4, "count", 0, kMostRows);
  TreeShap call{};
  call.trees = integer(info, 5, "trees", 0, static_cast<double>(forest->roots.size()));
  call.factor = number(info, 6, "factor", 0, 1);
  const auto rows_in = [&](size_t i, size_t size) {
    const double* rows = host_doubles(argument(info, i), static_cast<int64_t>(size), kWhere);
    for (size_t k = 0; k < size; ++k) {
      if (!(rows[k] > 0 && std::isfinite(rows[k]))) {
        throw Error::range(kWhere + "a number of rows above 0 in every node and leaf but received " +
                           std::to_string(rows[k]) + "; the model does not say how many rows it saw");
      }
    }
    return std::vector<double>(rows, rows + size);
  };
  struct Keep {
    Handle forest;
    StagedRows rows;
    std::vector<double> node_rows;
    std::vector<double> leaf_rows;
  };
  auto keep =
      std::make_shared<Keep>(Keep{forest, StagedRows(argument(info, 2), forest->features, start, count, true, kWhere),
                                  rows_in(7, forest->nodes.size()), rows_in(8, forest->leaves.size())});
  int64_t depth = 0;
  for (int64_t t = 0; t < call.trees; ++t) {
    const auto i = static_cast<size_t>(t);
    const size_t leaves = (i + 1 < forest->first_leaf.size() ? static_cast<size_t>(forest->first_leaf[i + 1])
                                                             : forest->ordered_leaves.size()) -
                          static_cast<size_t>(forest->first_leaf[i]);
    const int64_t own = shap_depth(forest->nodes.data(), forest->roots[i], static_cast<int64_t>(leaves));
    if (own < 0) {
      throw Error::range(kWhere + "trees at most " + std::to_string(kShapMostDepth) +
                         " deep, each node in them once, but received another in tree " + std::to_string(t));
    }
    depth = std::max(depth, own);
  }
  call.nodes = forest->nodes.data();
  call.roots = forest->roots.data();
  call.leaves = forest->leaves.data();
  call.category_bits = forest->category_bits.data();
  call.node_rows = keep->node_rows.data();
  call.leaf_rows = keep->leaf_rows.data();
  call.classes = forest->classes;
  call.features = forest->features;
  const std::vector<StagedColumn>& columns = keep->rows.columns();
  call.values = columns[0].values;
  call.is_double = columns[0].is_double;
  call.row_stride = columns[0].stride;
  call.feature_stride = columns[0].stride == 1 ? count : 1;
  call.rows = count;
  const auto words = static_cast<size_t>(count * call.classes * (call.features + 1));
  const Napi::Float64Array out = Napi::Float64Array::New(info.Env(), words);
  Napi::Float64Array target = out;
  call.out = target.Data();
  auto [promise, done] = Environment::of(info.Env()).promise(info.Env(), out, *stream);
  (*stream)->run(
      [call, depth, keep = std::move(keep)](HostContext& context) -> std::optional<Error> {
        tree_shap(call, depth, context.workers);
        return std::nullopt;
      },
      std::move(done));
  return promise;
}

class ThisThread final : public Workers {
 public:
  int count() const override { return 1; }

 private:
  void run_tasks(int64_t tasks, Call call, void* body) override {
    for (int64_t task = 0; task < tasks; ++task) call(body, task, 0);
  }
};

// forest, values (Float32Array or Float64Array of one row), out (Float64Array), transform, trees: at once.
Napi::Value forest_predict_row(const Info& info) {
  static const KernelTable& kernels = choose_cpu_variant("");
  const Handle& forest = forest_of(argument(info, 0));
  const HostNumbers row = host_numbers(argument(info, 1), kWhere);
  if (row.length != forest->features) {
    throw Error::range(kWhere + std::to_string(forest->features) + " values but received " +
                       std::to_string(row.length));
  }
  if (row.type != napi_float32_array && row.type != napi_float64_array) {
    throw Error::type(kWhere + "a Float32Array or Float64Array but received a typed array of another type");
  }
  ForestPredict call = call_of(*forest, info, 3);
  call.out = const_cast<double*>(host_doubles(argument(info, 2), forest->classes, kWhere));
  call.values = row.data;
  call.is_double = row.type == napi_float64_array;
  call.row_stride = forest->features;
  call.feature_stride = 1;
  call.rows = 1;
  ThisThread workers;
  kernels.forest_predict(call, workers);
  return info.Env().Undefined();
}

}  // namespace

void register_forest_predict(Napi::Object& exports) {
  add_function<forest_create>(exports, "forest_create");
  add_function<forest_predict>(exports, "forest_predict");
  add_function<forest_predict_binned>(exports, "forest_predict_binned");
  add_function<forest_predict_row>(exports, "forest_predict_row");
  add_function<forest_shap>(exports, "forest_shap");
}

}  // namespace seqrisk
