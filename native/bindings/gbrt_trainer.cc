// Trainers of boosted trees: memory on a stream, fits as tasks on it.
#include "trees/gbrt_trainer.h"

#include <cmath>

#include "bindings/args.h"
#include "bindings/bindings.h"
#include "bindings/call_args.h"
#include "bindings/environment.h"
#include "bindings/gbrt_options.h"
#include "bindings/host_array.h"
#include "bindings/result_array.h"
#include "bindings/trainer_handle.h"
#include "bindings/wrap.h"
#include "trees/gbrt_layout.h"

namespace seqrisk {
namespace {

using Info = Napi::CallbackInfo;

constexpr napi_type_tag kTrainerTag = {0x5e9715c0a51de2f5, 0xe92c40a7b8d6135f};

const std::string kWhere = "[GbrtTrainer] expected ";

using Held = TrainerHeld;
using Handle = std::shared_ptr<Held>;

int64_t whole(const Napi::Value& value, const char* name) {
  const double given = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : std::nan("");
  if (given >= 0 && given <= 1e9 && given == std::trunc(given)) return static_cast<int64_t>(given);
  throw Error::range(kWhere + name + " to be an integer from 0 but received " + describe(value));
}

GbrtLayout layout_of(const Held& held) {
  return GbrtLayout(held.options, held.matrix->rows, held.matrix->features, held.stream());
}

GbrtMemory memory_of(const Held& held) {
  GbrtMemory memory;
  const GbrtLayout layout = layout_of(held);
  layout.carve_rows(held.rows->data(), memory);
  layout.carve_nodes(held.nodes->data(), memory);
  return memory;
}

Napi::Value gbrt_trainer_create(const Info& info) {
  auto held = std::make_shared<Held>();
  // First: reading the list may run the caller's code, which may free the matrix.
  held->options = gbrt_options_of(argument(info, 1));
  held->matrix = binned_of(argument(info, 0), kWhere, true);
  held->bins = held->matrix->bins;
  // More leaves than rows could be told apart need no memory.
  held->options.num_leaves = std::max<int64_t>(2, std::min(held->options.num_leaves, held->matrix->rows));
  const GbrtBins bins = held->matrix->kernel_bins();
  std::vector<GbrtFeature> features;
  for (const BinnedColumn& column : *held->matrix->columns) features.push_back(column.feature);
  if (!is_absent(argument(info, 2))) held->options.monotone = gbrt_monotone_of(argument(info, 2), features);
  Stream& stream = held->stream();
  held->trainer = std::make_shared<GbrtTrainer>(bins, std::move(features), held->options, stream.threads());
  const GbrtLayout layout = layout_of(*held);
  GbrtMemory measured;
  held->rows = std::make_shared<Buffer>(held->matrix->stream, layout.carve_rows(nullptr, measured), "GbrtTrainer");
  held->nodes = std::make_shared<Buffer>(held->matrix->stream, layout.carve_nodes(nullptr, measured), "GbrtTrainer");
  return wrap(info.Env(), std::move(held), kTrainerTag);
}

std::shared_ptr<Buffer> buffer_for(const Held& held, std::shared_ptr<Buffer>& buffer, size_t bytes) {
  if (!buffer) buffer = std::make_shared<Buffer>(held.matrix->stream, bytes, "GbrtTrainer");
  return buffer;
}

template <class T>
std::vector<T> copy_of(const T* from, int64_t count) {
  return {from, from + count};
}

// trainer, targets, weights or null, roles or null, scores or null, first round
Napi::Value gbrt_trainer_begin(const Info& info) {
  Held& held = trainer_of(argument(info, 0));
  const int64_t first_round = whole(argument(info, 5), "firstRound");
  const int64_t rows = held.matrix->rows;
  const auto count = static_cast<size_t>(rows);
  GbrtGiven problem;
  std::vector<float>& targets = problem.targets;
  std::vector<float>& weights = problem.weights;
  std::vector<uint8_t>& roles = problem.roles;
  std::vector<double>& scores = problem.scores;
  targets.resize(count);
  if (!is_absent(argument(info, 1))) {
    const HostNumbers given = host_numbers(argument(info, 1), kWhere + "targets as ");
    if (given.length != rows) {
      throw Error::range(kWhere + std::to_string(rows) + " targets but received " + std::to_string(given.length));
    }
    copy_numbers(given, 0, 1, rows, targets.data());
  } else if (held.options.objective != GbrtObjective::custom) {
    throw Error::type(kWhere + "targets but received " + describe(argument(info, 1)));
  }
  if (!is_absent(argument(info, 2))) {
    const HostNumbers given = host_numbers(argument(info, 2), kWhere + "weights as ");
    if (given.length != rows) {
      throw Error::range(kWhere + std::to_string(rows) + " weights but received " + std::to_string(given.length));
    }
    weights.resize(count);
    copy_numbers(given, 0, 1, rows, weights.data());
  }
  if (held.options.forest && weights.empty()) weights.assign(count, 1);
  if (!is_absent(argument(info, 3))) {
    roles = copy_of(host_bytes(argument(info, 3), rows, kWhere + "roles as "), rows);
    for (const uint8_t role : roles) {
      if (role > 2) throw Error::range(kWhere + "roles from 0 to 2 but received " + std::to_string(role));
    }
  }
  if (!is_absent(argument(info, 4))) {
    const int64_t values = rows * held.options.classes;
    scores = copy_of(host_doubles(argument(info, 4), values, kWhere + "scores as "), values);
    for (const double score : scores) {
      if (!std::isfinite(score)) throw Error::range(kWhere + "finite scores but received " + std::to_string(score));
    }
  }
  held.watched = {};
  held.is_watched.reset();
  GbrtMemory memory = memory_of(held);
  if (!weights.empty()) {
    memory.weights = reinterpret_cast<float*>(buffer_for(held, held.weights, count * 4)->data());
  }
  if (!roles.empty()) memory.roles = reinterpret_cast<uint8_t*>(buffer_for(held, held.roles, count)->data());
  const GbrtLayout layout = layout_of(held);
  if (!weights.empty() || !roles.empty() || held.options.bagging_freq > 0) {
    layout.carve_flags(buffer_for(held, held.trains, layout.carve_flags(nullptr, memory))->data(), memory);
  }
  if (held.options.forest) {
    layout.carve_forest(buffer_for(held, held.forest, layout.carve_forest(nullptr, memory))->data(), memory);
  }
  if (held.options.objective == GbrtObjective::custom) {
    layout.carve_custom(buffer_for(held, held.custom, layout.carve_custom(nullptr, memory))->data(), memory);
  }
  auto [promise, done] = Environment::of(info.Env()).promise(info.Env(), info[0], held.matrix->stream);
  expect_written(*held.matrix, kWhere);
  held.stream().run(
      [trainer = held.trainer, memory, first_round, problem = std::move(problem)](HostContext& context) mutable {
        return trainer->begin(memory, std::move(problem), first_round, context);
      },
      counted(held, std::move(done)));
  return promise;
}

// trainer, rounds, patience, rates or null, gradients or null, Hessians or null
Napi::Value gbrt_trainer_boost(const Info& info) {
  Held& held = trainer_of(argument(info, 0));
  GbrtBoost boost;
  boost.rounds = whole(argument(info, 1), "rounds");
  boost.patience = whole(argument(info, 2), "earlyStoppingRound");
  if (!is_absent(argument(info, 3))) {
    boost.rates = copy_of(host_doubles(argument(info, 3), boost.rounds, kWhere + "rates as "), boost.rounds);
    for (const double rate : boost.rates) {
      if (!(rate > 0 && rate < kGbrtMostOption)) {
        throw Error::range(kWhere + "learning rates above 0 but received " + std::to_string(rate));
      }
    }
  }
  const int64_t values = held.matrix->rows * held.options.classes;
  if (held.options.objective == GbrtObjective::custom) {
    if (boost.rounds != 1)
      throw Error::range(kWhere + "one round for each set of gradients but received another number");
    boost.grad = copy_of(host_floats(argument(info, 4), values, kWhere + "gradients as "), values);
    boost.hess = copy_of(host_floats(argument(info, 5), values, kWhere + "Hessians as "), values);
  }
  if (boost.patience > 0) {
    boost.best_scores = reinterpret_cast<double*>(buffer_for(held, held.best, static_cast<size_t>(values) * 8)->data());
  }
  held.stop = std::make_shared<std::atomic<bool>>(false);
  auto [promise, done] = Environment::of(info.Env()).promise(info.Env(), info[0], held.matrix->stream);
  held.stream().run(
      [trainer = held.trainer, boost = std::move(boost), stop = held.stop, watched = held.watched,
       is_watched = held.is_watched](HostContext& context) mutable {
        if (is_watched && *is_watched) boost.watched = watched;
        return trainer->boost(std::move(boost), *stop, context);
      },
      counted(held, std::move(done)));
  return promise;
}

Napi::Value gbrt_trainer_stop(const Info& info) {
  trainer_of(argument(info, 0)).stop->store(true);
  return info.Env().Undefined();
}

Napi::Value gbrt_trainer_rounds(const Info& info) {
  return Napi::Number::New(info.Env(), static_cast<double>(trainer_of(argument(info, 0)).trainer->rounds()));
}

template <class T>
Napi::TypedArrayOf<T> array_of(Napi::Env env, const std::vector<T>& values) {
  Napi::TypedArrayOf<T> array = result_array<T>(env, kWhere, {static_cast<int64_t>(values.size())});
  std::copy(values.begin(), values.end(), array.Data());
  return array;
}

Napi::Value gbrt_trainer_model(const Info& info) {
  const Napi::Env env = info.Env();
  const Held& held = trainer_of(argument(info, 0));
  if (held.running->load() != 0) {
    throw Error::coded("BUSY", kWhere + "a trainer at rest but received one that trains; await its fit");
  }
  const GbrtModel& model = held.trainer->model();
  Napi::Object result = Napi::Object::New(env);
  result.Set("bestRound", static_cast<double>(held.trainer->best_round()));
  result.Set("losses", array_of(env, held.trainer->losses()));
  result.Set("numLeaves", array_of(env, model.num_leaves));
  result.Set("splitFeature", array_of(env, model.split_feature));
  result.Set("thresholdBin", array_of(env, model.threshold_bin));
  result.Set("decision", array_of(env, model.decision));
  result.Set("leftChild", array_of(env, model.left_child));
  result.Set("rightChild", array_of(env, model.right_child));
  result.Set("splitGain", array_of(env, model.split_gain));
  result.Set("internalValue", array_of(env, model.internal_value));
  result.Set("internalWeight", array_of(env, model.internal_weight));
  result.Set("internalCount", array_of(env, model.internal_count));
  result.Set("leafValue", array_of(env, model.leaf_value));
  result.Set("leafWeight", array_of(env, model.leaf_weight));
  result.Set("leafCount", array_of(env, model.leaf_count));
  // Bits of the bins that go left, 32 to a word.
  Napi::Uint32Array bits = result_array<uint32_t>(env, kWhere, {static_cast<int64_t>(model.category_bins.size()), 2});
  for (size_t i = 0; i < model.category_bins.size(); ++i) {
    bits[2 * i] = static_cast<uint32_t>(model.category_bins[i]);
    bits[2 * i + 1] = static_cast<uint32_t>(model.category_bins[i] >> 32);
  }
  result.Set("categoryBins", bits);
  return result;
}

// (classes, rows)
Napi::Value gbrt_trainer_scores(const Info& info) {
  const Held& held = trainer_of(argument(info, 0));
  const Napi::Float64Array array = result_array<double>(info.Env(), kWhere, {held.options.classes, held.matrix->rows});
  auto [promise, done] = Environment::of(info.Env()).promise(info.Env(), array, held.matrix->stream);
  Napi::Float64Array target = array;
  held.stream().run(
      [trainer = held.trainer, to = target.Data()](HostContext& context) { return trainer->scores(to, context); },
      std::move(done));
  return promise;
}

Napi::Value gbrt_trainer_dispose(const Info& info) {
  const Handle* handle = unwrap<Handle>(argument(info, 0), kTrainerTag);
  if (!handle) throw Error::type(kWhere + "a trainer but received " + describe(argument(info, 0)));
  Held& held = **handle;
  held.stop->store(true);
  held.trainer.reset();
  for (auto* buffer : {&held.bins, &held.rows, &held.nodes, &held.weights, &held.roles, &held.trains, &held.custom,
                       &held.best, &held.forest, &held.watched_bins, &held.watched_rows}) {
    buffer->reset();
  }
  return info.Env().Undefined();
}

}  // namespace

TrainerHeld& trainer_of(const Napi::Value& value) {
  const Handle* handle = unwrap<Handle>(value, kTrainerTag);
  if (!handle) throw Error::type(kWhere + "a trainer but received " + describe(value));
  if (!(*handle)->trainer) throw Error::type(kWhere + "a live trainer but received a freed one");
  if ((*handle)->stream().closed()) {
    throw Error::coded("CLOSED", kWhere + "a trainer of an open device but received one of a closed device");
  }
  return **handle;
}

Completion counted(const TrainerHeld& held, Completion done) {
  held.running->fetch_add(1);
  return [running = held.running, done = std::move(done)](const std::optional<Error>& error) {
    running->fetch_sub(1);
    done(error);
  };
}

void register_gbrt_trainer(Napi::Object& exports) {
  add_function<gbrt_trainer_create>(exports, "gbrt_trainer_create");
  add_function<gbrt_trainer_begin>(exports, "gbrt_trainer_begin");
  add_function<gbrt_trainer_boost>(exports, "gbrt_trainer_boost");
  add_function<gbrt_trainer_stop>(exports, "gbrt_trainer_stop");
  add_function<gbrt_trainer_rounds>(exports, "gbrt_trainer_rounds");
  add_function<gbrt_trainer_model>(exports, "gbrt_trainer_model");
  add_function<gbrt_trainer_scores>(exports, "gbrt_trainer_scores");
  add_function<gbrt_trainer_dispose>(exports, "gbrt_trainer_dispose");
}

}  // namespace seqrisk
