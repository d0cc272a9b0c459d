// SHAP values of rows.
#include <memory>
#include <utility>

#include "bindings/bindings.h"
#include "bindings/call_args.h"
#include "bindings/environment.h"
#include "bindings/forest_handle.h"
#include "bindings/host_array.h"
#include "bindings/result_array.h"
#include "runtime/thread_pool.h"
#include "trees/tree_shap.h"

namespace seqrisk {
namespace {

using Info = Napi::CallbackInfo;

constexpr int64_t kMostRows = int64_t{1} << 31;
const std::string kWhere = "[forest] expected ";

std::vector<double> copy_of(const Napi::Value& value, size_t count) {
  const double* from = host_doubles(value, static_cast<int64_t>(count), kWhere);
  return {from, from + count};
}

// stream, forest, values, start, count, trees, factor, rows of each node, rows of each leaf
Napi::Value forest_shap(const Info& info) {
  const CallArgs args(info, kWhere);
  const StreamHandle stream = args.open_stream(0);
  struct Keep {
    ForestHandle forest;
    StagedRows rows;
    std::vector<double> node_rows;
    std::vector<double> leaf_rows;
  };
  const ForestHandle& forest = forest_of(args.value(1));
  const int64_t start = args.integer(3, "start", 0, kMostRows);
  const int64_t count = args.integer(4, "count", 0, kMostRows);
  TreeShap call{};
  call.trees = args.integer(5, "trees", 0, static_cast<int64_t>(forest->roots.size()));
  call.factor = args.number(6, "factor", 0, 1);
  auto keep = std::make_shared<Keep>(
      Keep{forest, StagedRows(args.value(2), forest->features, start, count, true, kWhere),
           copy_of(args.value(7), forest->nodes.size()), copy_of(args.value(8), forest->leaves.size())});
  call.nodes = forest->nodes.data();
  call.all_nodes = static_cast<int64_t>(forest->nodes.size());
  call.roots = forest->roots.data();
  call.leaves = forest->leaves.data();
  call.all_leaves = static_cast<int64_t>(forest->leaves.size());
  call.category_bits = forest->category_bits.data();
  call.node_rows = keep->node_rows.data();
  call.leaf_rows = keep->leaf_rows.data();
  call.classes = forest->classes;
  call.features = forest->features;
  keep->rows.give(call);
  const Napi::Float64Array out = result_array<double>(info.Env(), kWhere, {count, call.classes, call.features + 1});
  Napi::Float64Array target = out;
  call.out = target.Data();
  auto [promise, done] = Environment::of(info.Env()).promise(info.Env(), out, stream);
  stream->run([call, keep = std::move(keep)](HostContext& context) { return tree_shap(call, context.workers); },
              std::move(done));
  return promise;
}

}  // namespace

void register_forest_shap(Napi::Object& exports) {
  add_function<forest_shap>(exports, "forest_shap");
}

}  // namespace seqrisk
