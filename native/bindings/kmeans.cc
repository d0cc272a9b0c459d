// K-Means: rows are copied in, then seeded, iterated and read.
#include "trees/kmeans.h"

#include <algorithm>
#include <memory>

#include "bindings/bindings.h"
#include "bindings/call_args.h"
#include "bindings/environment.h"
#include "bindings/host_array.h"
#include "bindings/result_array.h"
#include "bindings/wrap.h"
#include "runtime/carver.h"

namespace seqrisk {
namespace {

using Info = Napi::CallbackInfo;

constexpr napi_type_tag kKmeansTag = {0x5e9715c0a51de2fa, 0x63a17c0de5482b9f};
constexpr int64_t kMostRows = (int64_t{1} << 31) - 1;
constexpr int64_t kMostValues = int64_t{1} << 40;
constexpr int64_t kMostCenterValues = int64_t{1} << 26;
const std::string kWhere = "[kmeans] expected ";

// What tasks on the stream have. It owns no memory of the stream, and not the stream: these end on the JavaScript
// thread.
struct Problem {
  explicit Problem(const KmeansOptions& options) : kmeans(options) {}
  Kmeans kmeans;
  KmeansMemory memory, card;
  std::vector<float> host;  // on a card: what `memory` points to
  int64_t written = 0;      // rows: a cancel or an error may skip some that were filled in
  bool has_begun = false;
};

struct Held {
  StreamHandle stream;
  std::shared_ptr<Problem> problem;
  std::shared_ptr<Buffer> buffer;  // null once it was freed
  int64_t filled = 0;              // rows, counted by the JavaScript thread

  const KmeansOptions& options() const { return problem->kmeans.options(); }
};
using Handle = std::shared_ptr<Held>;

Handle kmeans_of(const Napi::Value& value) {
  const Handle* handle = unwrap<Handle>(value, kKmeansTag);
  if (!handle) throw Error::type(kWhere + "a K-Means problem but received " + describe(value));
  if (!(*handle)->buffer) throw Error::type(kWhere + "a live K-Means problem but received a freed one");
  if (!(*handle)->stream->closed()) return *handle;
  throw Error::coded("CLOSED", kWhere + "a K-Means problem of an open device but received one of a closed device");
}

size_t carve_card(std::byte* base, const Kmeans& kmeans, KmeansMemory& memory) {
  const KmeansOptions& options = kmeans.options();
  Carver carver(base);
  carver.take(memory.values, options.rows * options.features);
  carver.take(memory.assigned, options.rows);
  carver.take(memory.upper, options.rows);
  carver.take(memory.lower, options.rows);
  const int64_t sample = kmeans.sample_rows();
  carver.take(memory.sample, sample < options.rows ? sample * options.features : 0);
  carver.take(memory.candidates, options.features * kKmeansLanes);
  carver.take(memory.potentials, kmeans.tasks() * kKmeansLanes);
  carver.take(memory.centers, kmeans.padded() * options.features);
  carver.take(memory.moved, options.clusters);
  carver.take(memory.apart, options.clusters);
  carver.take(memory.changed, kmeans.tasks());
  carver.take(memory.sums, kmeans.parts() * options.clusters * options.features);
  carver.take(memory.counts, kmeans.parts() * options.clusters);
  return carver.bytes();
}

// stream, rows, features, clusters, tolerance, seed
Napi::Value kmeans_create(const Info& info) {
  const CallArgs args(info, kWhere);
  const StreamHandle stream = args.open_stream(0);
  KmeansOptions options;
  options.rows = args.integer(1, "rows", 1, kMostRows);
  options.features = args.integer(2, "features", 1, std::min(kMostCenterValues, kMostValues / options.rows));
  options.clusters = args.integer(3, "clusters", 1, std::min(options.rows, kMostCenterValues / options.features));
  options.tolerance = args.number(4, "tolerance", 0, 1e9);
  options.seed = args.seed(5);
  const auto rows = static_cast<size_t>(options.rows);
  const size_t values = rows * static_cast<size_t>(options.features);
  auto problem = std::make_shared<Problem>(options);
  auto held = std::make_shared<Held>(Held{stream, problem, nullptr});
  const auto lay_out = [&](float* base, KmeansMemory& memory) {
    memory.values = base;
    memory.assigned = reinterpret_cast<int32_t*>(base + values);
    memory.upper = base + values + rows;
    memory.lower = memory.upper + rows;
  };
  if (stream->has_scratch()) {
    held->buffer = std::make_shared<Buffer>(stream, (values + 3 * rows) * 4, "kmeans");
    lay_out(reinterpret_cast<float*>(held->buffer->data()), problem->memory);
  } else {
    held->buffer = std::make_shared<Buffer>(stream, carve_card(nullptr, problem->kmeans, problem->card), "kmeans");
    carve_card(held->buffer->data(), problem->kmeans, problem->card);
    problem->host.resize(values + 3 * rows);
    lay_out(problem->host.data(), problem->memory);
  }
  return wrap<Handle>(info.Env(), std::move(held), kKmeansTag);
}

// Runs on the problem's stream. Its memory may be freed before: what is allocated next is used behind it.
template <class Value, class Task>
Napi::Value submit(const Info& info, const Handle& held, const Value& result, Task task) {
  auto [promise, done] = Environment::of(info.Env()).promise(info.Env(), result, held->stream);
  held->stream->run(
      [problem = held->problem, task = std::move(task)](HostContext& context) { return task(*problem, context); },
      std::move(done));
  return promise;
}

// problem, values (a typed array of rows or a list of columns), start, count: the next rows
Napi::Value kmeans_append(const Info& info) {
  const CallArgs args(info, kWhere);
  const Handle held = kmeans_of(args.value(0));
  const int64_t features = held->options().features;
  const int64_t start = args.integer(2, "start", 0, kMostRows);
  const int64_t count = args.integer(3, "count", 0, held->options().rows);
  auto rows = std::make_shared<StagedRows>(args.value(1), features, start, count, true, kWhere);
  // A list of columns may have run the caller's code.
  kmeans_of(args.value(0));
  args.integer(3, "count", 0, held->options().rows - held->filled);
  float* to = held->problem->memory.values + held->filled * features;
  held->filled += count;
  return submit(
      info, held, info[0], [rows, to, features, count](Problem& problem, HostContext&) -> std::optional<Error> {
        for (int64_t f = 0; f < features; ++f) {
          const StagedColumn& column = rows->columns()[static_cast<size_t>(f)];
          for (int64_t r = 0; r < count; ++r) {
            to[r * features + f] =
                column.is_double ? static_cast<float>(static_cast<const double*>(column.values)[r * column.stride])
                                 : static_cast<const float*>(column.values)[r * column.stride];
          }
        }
        problem.written += count;
        return std::nullopt;
      });
}

// problem, centres or null
Napi::Value kmeans_begin(const Info& info) {
  const CallArgs args(info, kWhere);
  const Handle held = kmeans_of(args.value(0));
  const KmeansOptions& options = held->options();
  if (held->filled != options.rows) {
    throw Error::range(kWhere + std::to_string(options.rows) + " rows before it begins but received " +
                       std::to_string(held->filled));
  }
  std::vector<float> centers;
  if (!is_absent(args.value(1))) {
    const int64_t size = options.clusters * options.features;
    const float* given = host_floats(args.value(1), size, kWhere + "centers as ");
    centers.assign(given, given + size);
    for (const float value : centers) {
      if (!(value >= -1e15F && value <= 1e15F)) {
        throw Error::range(kWhere + "centers in [-1e15, 1e15] but received " + std::to_string(value));
      }
    }
  }
  const auto task = [centers = std::move(centers)](Problem& problem, HostContext& context) -> std::optional<Error> {
    problem.has_begun = false;
    if (problem.written != problem.kmeans.options().rows) {
      return Error::range(kWhere + "all rows to be written but received " + std::to_string(problem.written) +
                          "; make another problem, as one append was cancelled or failed");
    }
    auto error = problem.kmeans.begin(problem.memory, problem.card, centers, context);
    problem.has_begun = !error;
    return error;
  };
  return submit(info, held, info[0], task);
}

std::optional<Error> not_begun() {
  return Error::range(kWhere + "a problem that has begun but received one that has not; call begin first");
}

// problem, iterations; gives [iterations so far, rows that changed, Σ of squared steps, done]
Napi::Value kmeans_step(const Info& info) {
  const CallArgs args(info, kWhere);
  const Handle held = kmeans_of(args.value(0));
  const int64_t iterations = args.integer(1, "iterations", 0, int64_t{1} << 31);
  Napi::Float64Array result = result_array<double>(info.Env(), kWhere, {4});
  double* to = result.Data();
  return submit(info, held, result, [iterations, to](Problem& problem, HostContext& context) -> std::optional<Error> {
    if (!problem.has_begun) return not_begun();
    if (auto error = problem.kmeans.step(iterations, context)) return error;
    const KmeansProgress& progress = problem.kmeans.progress();
    to[0] = static_cast<double>(progress.iterations);
    to[1] = static_cast<double>(progress.changed);
    to[2] = progress.shift;
    to[3] = progress.is_done ? 1 : 0;
    return std::nullopt;
  });
}

// problem; gives {centers (clusters, features), assigned (rows), inertia (1)}
Napi::Value kmeans_finish(const Info& info) {
  const CallArgs args(info, kWhere);
  const Handle held = kmeans_of(args.value(0));
  const KmeansOptions& options = held->options();
  const Napi::Env env = info.Env();
  Napi::Float32Array centers = result_array<float>(env, kWhere, {options.clusters, options.features});
  Napi::Int32Array assigned = result_array<int32_t>(env, kWhere, {options.rows});
  Napi::Float64Array inertia = result_array<double>(env, kWhere, {1});
  Napi::Object result = Napi::Object::New(env);
  result.Set("centers", centers);
  result.Set("assigned", assigned);
  result.Set("inertia", inertia);
  const auto task = [to_centers = centers.Data(), to_assigned = assigned.Data(), to_inertia = inertia.Data()](
                        Problem& problem, HostContext& context) -> std::optional<Error> {
    if (!problem.has_begun) return not_begun();
    if (auto error = problem.kmeans.finish(to_inertia, context)) return error;
    std::copy(problem.kmeans.centers().begin(), problem.kmeans.centers().end(), to_centers);
    std::copy(problem.memory.assigned, problem.memory.assigned + problem.kmeans.options().rows, to_assigned);
    return std::nullopt;
  };
  return submit(info, held, result, task);
}

Napi::Value kmeans_dispose(const Info& info) {
  const CallArgs args(info, kWhere);
  const Handle* handle = unwrap<Handle>(args.value(0), kKmeansTag);
  if (!handle) throw Error::type(kWhere + "a K-Means problem but received " + describe(args.value(0)));
  (*handle)->buffer.reset();
  return info.Env().Undefined();
}

}  // namespace

void register_kmeans(Napi::Object& exports) {
  add_function<kmeans_create>(exports, "kmeans_create");
  add_function<kmeans_append>(exports, "kmeans_append");
  add_function<kmeans_begin>(exports, "kmeans_begin");
  add_function<kmeans_step>(exports, "kmeans_step");
  add_function<kmeans_finish>(exports, "kmeans_finish");
  add_function<kmeans_dispose>(exports, "kmeans_dispose");
}

}  // namespace seqrisk
