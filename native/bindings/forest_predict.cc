// Forests: trees checked and made ready for prediction.
#include "ops/forest_predict.h"

#include <cmath>
#include <new>

#include "bindings/args.h"
#include "bindings/bindings.h"
#include "bindings/call_args.h"
#include "bindings/environment.h"
#include "bindings/forest_handle.h"
#include "bindings/host_array.h"
#include "bindings/result_array.h"
#include "bindings/tree_handles.h"
#include "bindings/wrap.h"
#include "runtime/kernel_table.h"
#include "runtime/thread_pool.h"

namespace seqrisk {
namespace {

using Info = Napi::CallbackInfo;

constexpr napi_type_tag kForestTag = {0x5e9715c0a51de2f6, 0x70e4b1d59c2fa863};
constexpr int64_t kMostClasses = 4096;
constexpr int64_t kMostRows = int64_t{1} << 31;

using Handle = ForestHandle;

const std::string kWhere = "[forest] expected ";

[[noreturn]] void refuse(const std::string& expected, int64_t received, int64_t tree) {
  throw Error::range(kWhere + expected + " but received " + std::to_string(received) + " in tree " +
                     std::to_string(tree));
}

// The largest float32 that is not above it: float32 values compare with both alike.
float narrow_of(double threshold) {
  const auto narrow = static_cast<float>(threshold);
  return static_cast<double>(narrow) > threshold ? std::nextafterf(narrow, -HUGE_VALF) : narrow;
}

// A missing value where training saw none counts as 0.
bool nan_goes_left(const ForestNode& node) {
  return node.missing == ForestMissing::nan ? node.nan_left : 0 <= node.threshold;
}

// Zeros as missing values and categories are not one comparison.
bool is_comparison(const ForestNode& node) {
  return !node.is_category && node.missing != ForestMissing::zero;
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
      fits = is_comparison(node);
      visit(node.left);
      continue;
    }
    const auto end = static_cast<uint32_t>(forest.ordered_leaves.size() - base);
    uint64_t lefts = 0;
    for (uint32_t leaf = top.first_leaf; leaf < end; ++leaf) lefts |= uint64_t{1} << leaf;
    ForestMask mask{};
    mask.keep = ~lefts;
    mask.threshold = node.threshold;
    mask.narrow = narrow_of(node.threshold);
    mask.feature = node.feature;
    mask.nan_left = nan_goes_left(node);
    // A node that comes twice makes a graph of the tree: it is walked. (A mask keeps some leaves, so this one is new.)
    fits = forest.masks[first + number(top.node)].keep == 0;
    forest.masks[first + number(top.node)] = mask;
    open.pop_back();
    visit(node.right);
    fits = fits && forest.ordered_leaves.size() - base <= static_cast<size_t>(leaves);
  }
  fits = fits && forest.ordered_leaves.size() - base == static_cast<size_t>(leaves);
  forest.has_masks.push_back(fits);
  if (!fits) forest.ordered_leaves.resize(base + static_cast<size_t>(leaves));
  if (fits && leaves > kForestNarrowLeaves) forest.is_narrow = false;
}

// Gives a tree steps, level by level, if its nodes allow them.
void add_steps(Forest& forest, int64_t leaves, int32_t root) {
  const size_t first = forest.steps.size();
  const auto most = static_cast<size_t>(2 * leaves - 1);
  std::vector<int32_t> nodes = {root};  // of the steps, in their order
  bool fits = true;
  for (size_t i = 0; i < nodes.size() && fits; ++i) {
    const int32_t at = nodes[i];
    if (at < 0) {
      forest.steps.push_back({HUGE_VAL, HUGE_VALF, 0, static_cast<int32_t>(i), 0});
      forest.step_leaves.push_back(forest.leaves[static_cast<size_t>(-1 - at)]);
      continue;
    }
    const ForestNode& node = forest.nodes[static_cast<size_t>(at)];
    forest.steps.push_back({node.threshold, narrow_of(node.threshold), node.feature, static_cast<int32_t>(nodes.size()),
                            !nan_goes_left(node)});
    forest.step_leaves.push_back(0);
    nodes.insert(nodes.end(), {node.left, node.right});
    // More of them than a tree has: a node comes twice.
    fits = is_comparison(node) && nodes.size() <= most;
  }
  if (!fits) {
    forest.steps.resize(first);
    forest.step_leaves.resize(first);
  }
  forest.first_step.push_back(fits ? static_cast<int64_t>(first) : -1);
}

// features, classes, sigmoid, numLeaves, splitFeature, threshold, decision, left, right, leafValue, categoryStart,
// categoryWords; as lib/trees/model.ts keeps them.
Napi::Value forest_create(const Info& info) {
  const CallArgs args(info, kWhere);
  auto forest = std::make_shared<Forest>();
  forest->features = args.integer(0, "features", 1, int64_t{1} << 30);
  forest->classes = args.integer(1, "classes", 1, kMostClasses);
  forest->sigmoid = args.number(2, "sigmoid", -1e30, 1e30);
  const int64_t trees = host_numbers(args.value(3), kWhere).length;
  const int32_t* num_leaves = host_ints(args.value(3), trees, kWhere);
  int64_t nodes = 0;
  int64_t leaves = 0;
  for (int64_t t = 0; t < trees; ++t) {
    if (num_leaves[t] < 1) refuse("at least one leaf", num_leaves[t], t);
    leaves += num_leaves[t];
    nodes += num_leaves[t] - 1;
  }
  if (nodes + leaves > INT32_MAX) {
    throw Error::range(kWhere + "at most 2147483647 nodes and leaves but received " + std::to_string(nodes + leaves) +
                       "; use fewer trees");
  }
  const int32_t* feature = host_ints(args.value(4), nodes, kWhere);
  const double* threshold = host_doubles(args.value(5), nodes, kWhere);
  const uint8_t* decision = host_bytes(args.value(6), nodes, kWhere);
  const int32_t* left = host_ints(args.value(7), nodes, kWhere);
  const int32_t* right = host_ints(args.value(8), nodes, kWhere);
  const double* value = host_doubles(args.value(9), leaves, kWhere);
  const int64_t categories = host_numbers(args.value(10), kWhere).length;
  const int32_t* start = host_ints(args.value(10), categories, kWhere);
  const int64_t words = host_numbers(args.value(11), kWhere).length;
  const int32_t* bits = host_ints(args.value(11), words, kWhere);
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
    add_masks(*forest, num_leaves[t], forest->roots.back());
    if (forest->has_masks.back()) {
      forest->first_step.push_back(-1);
    } else {
      add_steps(*forest, num_leaves[t], forest->roots.back());
    }
  }
  forest->first_node.push_back(static_cast<int32_t>(forest->masks.size()));
  return wrap<Handle>(info.Env(), std::move(forest), kForestTag);
}

ForestPredict call_of(const Forest& forest, const CallArgs& args, size_t at) {
  ForestPredict call{};
  call.transform = static_cast<ForestTransform>(args.integer(at, "transform", 0, 3));
  const auto trees = static_cast<int64_t>(forest.roots.size());
  call.trees = args.integer(at + 1, "trees", 0, trees);
  call.nodes = forest.nodes.data();
  call.roots = forest.roots.data();
  call.leaves = forest.leaves.data();
  call.category_bits = forest.category_bits.data();
  call.all_nodes = static_cast<int64_t>(forest.nodes.size());
  call.all_leaves = static_cast<int64_t>(forest.leaves.size());
  call.all_words = static_cast<int64_t>(forest.category_bits.size());
  call.classes = forest.classes;
  call.sigmoid = forest.sigmoid;
  call.features = forest.features;
  call.first_node = forest.first_node.data();
  call.first_leaf = forest.first_leaf.data();
  call.ordered_leaves = forest.ordered_leaves.data();
  call.has_masks = forest.has_masks.data();
  call.is_narrow = forest.is_narrow;
  call.steps = forest.steps.empty() ? nullptr : forest.steps.data();
  call.step_leaves = forest.step_leaves.data();
  call.first_step = forest.first_step.data();
  return call;
}

// On a card. `rows` are those of the host, or null where bins are read.
Napi::Value submit_on_card(const Info& info, const StreamHandle& stream, ForestPredict call,
                           std::shared_ptr<const void> keep, const StagedRows* rows, Napi::Float64Array out) {
  const size_t bytes = out.ByteLength();
  const Buffer results(stream, bytes, "forest_predict");
  const Buffer values(stream, rows ? rows->bytes() : 0, "forest_predict");
  auto [promise, done] = Environment::of(info.Env()).promise(info.Env(), out, stream);
  call.out = reinterpret_cast<double*>(results.data());
  if (rows) call.values = values.data();
  stream->run(
      [call, rows, keep = std::move(keep)](HostContext& context) -> std::optional<Error> {
        if (rows) context.card->upload(const_cast<void*>(call.values), rows->data(), rows->bytes());
        context.card->launch(Kernel::forest_predict, call);
        return std::nullopt;
      },
      nullptr);
  stream->download(out.Data(), results.data(), bytes, std::move(done));
  return promise;
}

// As a task: the memory that it writes lives until its own completion.
Napi::Value submit_predict(const Info& info, const StreamHandle& stream, ForestPredict call,
                           std::shared_ptr<const void> keep, const StagedRows* rows, const Napi::Float64Array& out) {
  if (!stream->has_scratch()) return submit_on_card(info, stream, call, std::move(keep), rows, out);
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
  const CallArgs args(info, kWhere);
  const StreamHandle stream = args.open_stream(0);
  const Handle& forest = forest_of(args.value(1));
  const auto matrix = binned_of(args.value(2), kWhere, true);
  if (matrix->stream != stream) throw Error::type(kWhere + "a matrix on this device but received another's");
  if (matrix->features != forest->features) {
    throw Error::range(kWhere + std::to_string(forest->features) + " features but received " +
                       std::to_string(matrix->features));
  }
  struct Keep {
    Handle forest;
    std::vector<double> values;
  };
  auto keep = std::make_shared<Keep>(Keep{forest, values_of_bins(*matrix->columns)});
  ForestPredict call = call_of(*forest, args, 5);
  call.masks = forest->masks.data();
  call.bin_values = keep->values.data();
  call.bins = matrix->kernel_bins();
  call.first_row = args.integer(3, "start", 0, matrix->rows);
  call.rows = args.integer(4, "count", 0, matrix->rows - call.first_row);
  const Napi::Float64Array out = result_array<double>(info.Env(), kWhere, {call.rows, forest->classes});
  Napi::Float64Array target = out;
  call.out = target.Data();
  expect_written(*matrix, kWhere);
  return submit_predict(info, stream, call, std::move(keep), nullptr, out);
}

// stream, forest, values (a typed array of rows or a list of columns), start, count, transform, trees
Napi::Value forest_predict(const Info& info) {
  const CallArgs args(info, kWhere);
  const StreamHandle stream = args.open_stream(0);
  const Handle& forest = forest_of(args.value(1));
  const int64_t start = args.integer(3, "start", 0, kMostRows);
  const int64_t count = args.integer(4, "count", 0, kMostRows);
  struct Keep {
    Handle forest;
    StagedRows rows;
  };
  auto keep =
      std::make_shared<Keep>(Keep{forest, StagedRows(args.value(2), forest->features, start, count, true, kWhere)});
  ForestPredict call = call_of(*forest, args, 5);
  keep->rows.give(call);
  const Napi::Float64Array out = result_array<double>(info.Env(), kWhere, {count, forest->classes});
  Napi::Float64Array target = out;
  call.out = target.Data();
  call.masks = forest->masks.data();
  const StagedRows* rows = &keep->rows;
  return submit_predict(info, stream, call, std::move(keep), rows, out);
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
  const CallArgs args(info, kWhere);
  const Handle& forest = forest_of(args.value(0));
  const HostNumbers row = host_numbers(args.value(1), kWhere);
  if (row.length != forest->features) {
    throw Error::range(kWhere + std::to_string(forest->features) + " values but received " +
                       std::to_string(row.length));
  }
  if (row.type != napi_float32_array && row.type != napi_float64_array) {
    throw Error::type(kWhere + "a Float32Array or Float64Array but received a typed array of another type");
  }
  ForestPredict call = call_of(*forest, args, 3);
  call.out = const_cast<double*>(host_doubles(args.value(2), forest->classes, kWhere));
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

const ForestHandle& forest_of(const Napi::Value& value) {
  const ForestHandle* handle = unwrap<ForestHandle>(value, kForestTag);
  if (!handle) throw Error::type(kWhere + "a forest but received " + describe(value));
  return *handle;
}

void register_forest_predict(Napi::Object& exports) {
  add_function<forest_create>(exports, "forest_create");
  add_function<forest_predict>(exports, "forest_predict");
  add_function<forest_predict_binned>(exports, "forest_predict_binned");
  add_function<forest_predict_row>(exports, "forest_predict_row");
}

}  // namespace seqrisk
