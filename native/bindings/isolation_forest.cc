// Isolation forests: trees grown from rows that are copied out of host arrays, and scores of rows.
#include "trees/isolation_forest.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "bindings/bindings.h"
#include "bindings/call_args.h"
#include "bindings/environment.h"
#include "bindings/handles.h"
#include "bindings/host_array.h"
#include "bindings/result_array.h"
#include "bindings/wrap.h"
#include "runtime/kernel_table.h"
#include "runtime/thread_pool.h"

namespace seqrisk {
namespace {

using Info = Napi::CallbackInfo;

constexpr napi_type_tag kIforestTag = {0x5e9715c0a51de2f8, 0x1c60f7ab42d93e85};
constexpr int64_t kMostRows = int64_t{1} << 31;
constexpr int64_t kMostFeatures = 1 << 24;
constexpr int64_t kMostNodes = int64_t{1} << 28;
const std::string kWhere = "[IsolationForest] expected ";

// A tree counts as grown for what comes behind it on the stream: tasks alone look at it.
using Grown = std::vector<uint8_t>;  // (trees)

struct Held {
  Held(StreamHandle on, const IforestOptions& options)
      : stream(std::move(on)),
        forest(options),
        trees(stream, forest.bytes(), "IsolationForest"),
        grown(std::make_shared<Grown>(static_cast<size_t>(options.trees))) {
    forest.place(trees.data());
  }

  StreamHandle stream;
  IsolationForest forest;
  Buffer trees;
  std::shared_ptr<Grown> grown;
};
using Handle = std::shared_ptr<Held>;

const Handle& forest_of(const Napi::Value& value) {
  const Handle* handle = unwrap<Handle>(value, kIforestTag);
  if (!handle) throw Error::type(kWhere + "an isolation forest but received " + describe(value));
  if (!(*handle)->stream->closed()) return *handle;
  throw Error::coded("CLOSED", kWhere + "a forest of an open device but received one of a closed device");
}

// stream, features, trees, samples, extension, seed
Napi::Value iforest_create(const Info& info) {
  const CallArgs args(info, kWhere);
  const StreamHandle stream = args.open_stream(0);
  IforestOptions options;
  options.features = args.integer(1, "features", 1, kMostFeatures);
  options.trees = args.integer(2, "trees", 1, 1 << 16);
  options.samples = args.integer(3, "samples", 1, int64_t{1} << kIforestMostLevels);
  options.extension = args.integer(4, "extension", 0, options.features - 1);
  options.seed = args.seed(5);
  const int64_t most = kMostNodes / options.trees / (options.extension + 1);
  if (2 * options.samples > most) {
    throw Error::range(kWhere + "at most " + std::to_string(most / 2) + " samples for so many trees but received " +
                       std::to_string(options.samples));
  }
  return wrap<Handle>(info.Env(), std::make_shared<Held>(stream, options), kIforestTag);
}

// Rows by number, row-major, out of one array of rows or a list of columns.
void copy_rows(const Napi::Value& values, int64_t features, int64_t rows, const std::vector<int64_t>& taken,
               double* to) {
  const auto expect_length = [&](const HostNumbers& numbers, int64_t length) {
    if (numbers.length >= length) return;
    throw Error::range(kWhere + "at least " + std::to_string(length) + " values but received " +
                       std::to_string(numbers.length));
  };
  if (values.IsTypedArray()) {
    const HostNumbers numbers = host_numbers(values, kWhere);
    expect_length(numbers, rows * features);
    for (const int64_t row : taken) {
      copy_numbers(numbers, row * features, 1, features, to);
      to += features;
    }
    return;
  }
  if (!values.IsArray() || values.As<Napi::Array>().Length() != static_cast<size_t>(features)) {
    throw Error::type(kWhere + "a typed array of rows or a list of " + std::to_string(features) +
                      " columns but received " + describe(values));
  }
  for (int64_t f = 0; f < features; ++f) {
    const HostNumbers numbers = host_numbers(values.As<Napi::Array>().Get(static_cast<uint32_t>(f)), kWhere);
    expect_length(numbers, rows);
    double* next = to + f;
    for (const int64_t row : taken) {
      copy_numbers(numbers, row, 1, 1, next);
      next += features;
    }
  }
}

// forest, first tree, count, values (a typed array of rows or a list of columns), rows
Napi::Value iforest_grow(const Info& info) {
  const CallArgs args(info, kWhere);
  const Handle held = forest_of(args.value(0));
  const IforestOptions& options = held->forest.options();
  const int64_t first = args.integer(1, "tree", 0, options.trees);
  const int64_t count = args.integer(2, "count", 0, options.trees - first);
  const int64_t rows = args.integer(4, "rows", options.samples, kMostRows);
  const int64_t size = options.samples * options.features;
  std::vector<double> values(static_cast<size_t>(size * count));
  for (int64_t i = 0; i < count; ++i) {
    const std::vector<int64_t> sample = held->forest.sample(first + i, rows);
    copy_rows(args.value(3), options.features, rows, sample, values.data() + i * size);
  }
  forest_of(args.value(0));  // a list of columns may have run the caller's code
  IforestGrow call = held->forest.grow_call(first, count);
  const bool on_card = !held->stream->has_scratch();
  const size_t bytes = values.size() * sizeof(double);
  std::optional<Buffer> card;
  if (on_card) call.values = reinterpret_cast<double*>(card.emplace(held->stream, bytes, "IsolationForest").data());
  auto [promise, done] = Environment::of(info.Env()).promise(info.Env(), info[0], held->stream);
  held->stream->run(
      [call, bytes, values = std::move(values)](HostContext& context) mutable -> std::optional<Error> {
        if (context.card) {
          context.card->upload(const_cast<double*>(call.values), values.data(), bytes);
          context.card->launch(Kernel::iforest_grow, call);
          return std::nullopt;
        }
        // One tree has one worker. Memory that no worker comes to is none.
        const auto workers = static_cast<size_t>(call.count > 1 ? context.workers.count() : 1);
        const auto scratch = std::make_unique_for_overwrite<std::byte[]>(iforest_grow_bytes(call) * workers);
        call.values = values.data();
        call.scratch = scratch.get();
        context.kernels.iforest_grow(call, context.workers);
        return std::nullopt;
      },
      nullptr);
  // Behind it, as it is skipped where growing failed or was cancelled.
  held->stream->run(
      [grown = held->grown, first, count](HostContext&) -> std::optional<Error> {
        std::fill_n(grown->begin() + first, count, uint8_t{1});
        return std::nullopt;
      },
      std::move(done));
  return promise;
}

std::optional<Error> missing_tree(const Grown& grown) {
  const auto missing = std::find(grown.begin(), grown.end(), 0);
  if (missing == grown.end()) return std::nullopt;
  return Error::range(kWhere + "all trees to be grown but received a forest without tree " +
                      std::to_string(missing - grown.begin()));
}

// What a score reads until it has run.
struct Scored {
  std::shared_ptr<const Grown> grown;
  StagedRows rows;
};

Napi::Value score_on_card(const Info& info, const StreamHandle& stream, IforestScore call,
                          std::shared_ptr<const Scored> scored, Napi::Float64Array out) {
  const Buffer results(stream, out.ByteLength(), "IsolationForest");
  const Buffer values(stream, scored->rows.bytes(), "IsolationForest");
  call.out = reinterpret_cast<double*>(results.data());
  call.values = values.data();
  auto [promise, done] = Environment::of(info.Env()).promise(info.Env(), out, stream);
  stream->run(
      [call, scored = std::move(scored)](HostContext& context) -> std::optional<Error> {
        if (auto error = missing_tree(*scored->grown)) return error;
        context.card->upload(const_cast<void*>(call.values), scored->rows.data(), scored->rows.bytes());
        context.card->launch(Kernel::iforest_score, call);
        return std::nullopt;
      },
      nullptr);
  stream->download(out.Data(), results.data(), out.ByteLength(), std::move(done));
  return promise;
}

// forest, values (a typed array of rows or a list of columns), start, count
Napi::Value iforest_score(const Info& info) {
  const CallArgs args(info, kWhere);
  const Handle held = forest_of(args.value(0));
  const int64_t start = args.integer(2, "start", 0, kMostRows);
  const int64_t count = args.integer(3, "count", 0, kMostRows);
  auto scored = std::make_shared<Scored>(
      Scored{held->grown, StagedRows(args.value(1), held->forest.options().features, start, count, true, kWhere)});
  forest_of(args.value(0));  // a list of columns may have run the caller's code
  IforestScore call = held->forest.score_call();
  scored->rows.give(call);
  Napi::Float64Array out = result_array<double>(info.Env(), kWhere, {count});
  if (!held->stream->has_scratch()) return score_on_card(info, held->stream, call, std::move(scored), out);
  call.out = out.Data();
  auto [promise, done] = Environment::of(info.Env()).promise(info.Env(), out, held->stream);
  held->stream->run(
      [call, scored = std::move(scored)](HostContext& context) -> std::optional<Error> {
        if (auto error = missing_tree(*scored->grown)) return error;
        const int64_t words = context.workers.count() * call.features * kIforestTileRows;
        std::vector<double> scratch(static_cast<size_t>(words));
        IforestScore with_scratch = call;
        with_scratch.scratch = scratch.data();
        context.kernels.iforest_score(with_scratch, context.workers);
        return std::nullopt;
      },
      std::move(done));
  return promise;
}

}  // namespace

void register_isolation_forest(Napi::Object& exports) {
  add_function<iforest_create>(exports, "iforest_create");
  add_function<iforest_grow>(exports, "iforest_grow");
  add_function<iforest_score>(exports, "iforest_score");
}

}  // namespace seqrisk
