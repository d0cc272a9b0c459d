// Rows of another matrix whose loss a trainer watches.
#include <algorithm>
#include <cmath>

#include "bindings/args.h"
#include "bindings/bindings.h"
#include "bindings/call_args.h"
#include "bindings/environment.h"
#include "bindings/host_array.h"
#include "bindings/trainer_handle.h"

namespace seqrisk {
namespace {

using Info = Napi::CallbackInfo;

const std::string kWhere = "[GbrtTrainer] expected ";

bool same_bins(const std::vector<BinnedColumn>& a, const std::vector<BinnedColumn>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const BinnedColumn& one, const BinnedColumn& other) {
    return one.feature.kind == other.feature.kind && one.feature.has_nan == other.feature.has_nan &&
           one.bounds == other.bounds && one.bin_of == other.bin_of;
  });
}

// trainer, matrix, targets, weights or null, scores or null
Napi::Value gbrt_trainer_watch(const Info& info) {
  TrainerHeld& held = trainer_of(argument(info, 0));
  const std::shared_ptr<BinnedMatrix> matrix = binned_of(argument(info, 1), kWhere, true);
  if (matrix->stream != held.matrix->stream) {
    throw Error::range(kWhere + "a matrix of the trainer's device to watch but received one of another device");
  }
  if (matrix->columns != held.matrix->columns && !same_bins(*matrix->columns, *held.matrix->columns)) {
    throw Error::range(kWhere +
                       "a matrix to watch with the trainer's bins but received one with others; bin its rows with "
                       "`like` of the trainer's matrix");
  }
  if (held.options.objective == GbrtObjective::custom || held.options.forest) {
    throw Error::range(kWhere + "an objective with a loss to watch but received one without");
  }
  const int64_t rows = matrix->rows;
  const int64_t classes = held.options.classes;
  const auto numbers = [&](size_t i, const char* name) {
    const HostNumbers given = host_numbers(argument(info, i), kWhere + "validation " + name + " as ");
    if (given.length != rows) {
      throw Error::range(kWhere + std::to_string(rows) + " validation " + name + " but received " +
                         std::to_string(given.length));
    }
    std::vector<float> values(static_cast<size_t>(rows));
    copy_numbers(given, 0, 1, rows, values.data());
    return values;
  };
  std::vector<float> targets = numbers(2, "targets");
  std::vector<float> weights;
  if (!is_absent(argument(info, 3))) weights = numbers(3, "weights");
  std::vector<double> scores;
  if (!is_absent(argument(info, 4))) {
    const double* given = host_doubles(argument(info, 4), rows * classes, kWhere + "validation scores as ");
    scores.assign(given, given + rows * classes);
    for (const double score : scores) {
      if (!std::isfinite(score)) throw Error::range(kWhere + "finite scores but received " + std::to_string(score));
    }
  }
  auto given = std::make_shared<GbrtGiven>();
  given->targets = std::move(targets);
  given->weights = std::move(weights);
  given->scores = std::move(scores);
  if (!held.watched_rows || held.watched_bins != matrix->bins) {
    held.watched = {};
    held.is_watched.reset();
    held.watched_rows.reset();
    const size_t bytes = static_cast<size_t>(classes * rows) * sizeof(double);
    held.watched_rows = std::make_shared<Buffer>(held.matrix->stream, bytes, "GbrtTrainer");
    held.watched_bins = matrix->bins;
  }
  held.watched = {matrix->kernel_bins(), std::move(given), reinterpret_cast<double*>(held.watched_rows->data())};
  held.is_watched = std::make_shared<std::atomic<bool>>(false);
  auto [promise, done] = Environment::of(info.Env()).promise(info.Env(), info[0], held.matrix->stream);
  expect_written(*matrix, kWhere);
  held.stream().run(
      [trainer = held.trainer, watched = held.watched, is_right = held.is_watched](HostContext& context) {
        std::optional<Error> error = trainer->begin_watched(watched, context);
        *is_right = !error;
        return error;
      },
      counted(held, std::move(done)));
  return promise;
}

}  // namespace

void register_gbrt_watch(Napi::Object& exports) {
  add_function<gbrt_trainer_watch>(exports, "gbrt_trainer_watch");
}

}  // namespace seqrisk
