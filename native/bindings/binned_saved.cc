// Binned matrices that were saved: columns as a file describes them, then the bins as they were kept.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>

#include "bindings/args.h"
#include "bindings/bindings.h"
#include "bindings/call_args.h"
#include "bindings/environment.h"
#include "bindings/host_array.h"
#include "bindings/tree_handles.h"
#include "runtime/thread_pool.h"

namespace seqrisk {
namespace {

using Info = Napi::CallbackInfo;

const std::string kWhere = "[BinnedMatrix] expected ";
constexpr int64_t kRowsPerTask = 4096;

HostNumbers bytes_of(const Napi::Value& value, const char* name) {
  const HostNumbers numbers = host_numbers(value, kWhere + name + " as ");
  if (numbers.type == napi_uint8_array) return numbers;
  throw Error::type(kWhere + name + " as a Uint8Array but received " + describe(value));
}

void check_numeric(const BinnedColumn& column) {
  const size_t count = column.bounds.size();
  if (count + (column.feature.has_nan ? 1 : 0) > 255) throw Error::range(kWhere + "at most 255 bins but received more");
  for (size_t i = 0; i < count; ++i) {
    const double bound = column.bounds[i];
    const bool ascends = i == 0 || bound > column.bounds[i - 1];
    if (bound > -std::numeric_limits<double>::infinity() && ascends) continue;
    throw Error::range(kWhere + "bounds that ascend but received " + std::to_string(bound));
  }
  if (count > 0 && column.bounds.back() < kMostFinite) {
    throw Error::range(kWhere + "a last bound above all numbers but received " + std::to_string(column.bounds.back()));
  }
}

void check_categories(const BinnedColumn& column) {
  const size_t count = column.bounds.size();
  if (column.feature.has_nan || count > 254) {
    throw Error::range(kWhere + "at most 254 categories, none of them NaN, but received others");
  }
  bool seen[256] = {};
  for (size_t i = 0; i < count; ++i) {
    const double code = column.bounds[i];
    const bool ascends = i == 0 || code > column.bounds[i - 1];
    if (!(code >= 0 && code <= kMostCategory) || code != std::floor(code) || !ascends) {
      throw Error::range(kWhere + "codes of categories that ascend but received " + std::to_string(code));
    }
    const uint8_t bin = column.bin_of[i];
    if (bin == 0 || bin > count || seen[bin]) {
      throw Error::range(kWhere + "a bin of its own for each category but received " + std::to_string(bin));
    }
    seen[bin] = true;
  }
}

// stream, categorical flags, NaN flags, number of bounds, bounds, bins of categories
Napi::Value binned_restore(const Info& info) {
  StreamHandle stream = CallArgs(info, kWhere).open_stream(0);
  const HostNumbers flags = bytes_of(argument(info, 1), "categorical flags");
  const int64_t features = flags.length;
  if (features < 1 || features > kGbrtMostFeatures) {
    throw Error::range(kWhere + "features in [1, 65535] but received " + std::to_string(features));
  }
  const auto* categorical = static_cast<const uint8_t*>(flags.data);
  const uint8_t* nans = host_bytes(argument(info, 2), features, kWhere + "NaN flags as ");
  const int32_t* counts = host_ints(argument(info, 3), features, kWhere + "numbers of bounds as ");
  int64_t all = 0;
  int64_t codes = 0;
  for (int64_t f = 0; f < features; ++f) {
    if (counts[f] < 0 || counts[f] > 255) {
      throw Error::range(kWhere + "at most 255 bounds but received " + std::to_string(counts[f]));
    }
    all += counts[f];
    if (categorical[f]) codes += counts[f];
  }
  const double* bounds = host_doubles(argument(info, 4), all, kWhere + "bounds as ");
  const uint8_t* bin_of = host_bytes(argument(info, 5), codes, kWhere + "bins of categories as ");
  auto matrix = std::make_shared<BinnedMatrix>();
  matrix->stream = std::move(stream);
  matrix->features = features;
  matrix->is_category.assign(categorical, categorical + features);
  matrix->columns = std::make_shared<std::vector<BinnedColumn>>();
  for (int64_t f = 0; f < features; ++f) {
    BinnedColumn column;
    column.bounds.assign(bounds, bounds + counts[f]);
    bounds += counts[f];
    column.feature.has_nan = nans[f] != 0;
    column.feature.kind = categorical[f] ? GbrtKind::categorical : GbrtKind::numeric;
    if (categorical[f]) {
      column.bin_of.assign(bin_of, bin_of + counts[f]);
      bin_of += counts[f];
      check_categories(column);
    } else {
      check_numeric(column);
      column.feature.ends_infinite = counts[f] > 0 && std::isinf(column.bounds.back());
    }
    column.feature.bins = static_cast<int16_t>(counts[f] + (categorical[f] ? 1 : 0));
    fill_tables(column);
    matrix->columns->push_back(std::move(column));
  }
  matrix->phase = std::make_shared<std::atomic<BinnedMatrix::Phase>>(BinnedMatrix::learned);
  matrix->samples = std::make_shared<std::vector<BinnedMatrix::Sample>>();
  return wrap_binned(info.Env(), std::move(matrix));
}

// matrix, first byte, bytes
Napi::Value binned_put(const Info& info) {
  const std::shared_ptr<BinnedMatrix> matrix = binned_of(argument(info, 0), kWhere, true);
  const Napi::Value given = argument(info, 1);
  const double start = given.IsNumber() ? given.As<Napi::Number>().DoubleValue() : std::nan("");
  const HostNumbers bytes = bytes_of(argument(info, 2), "bins");
  const double room = static_cast<double>(matrix->rows) * static_cast<double>(matrix->features);
  if (!(start >= 0 && start == std::floor(start) && start + static_cast<double>(bytes.length) <= room)) {
    throw Error::range(kWhere + "bins inside the matrix but received " + std::to_string(bytes.length) + " at byte " +
                       describe(given));
  }
  std::byte* to = matrix->bins->data() + static_cast<size_t>(start);
  if (bytes.length > 0) matrix->stream->upload(to, bytes.data, static_cast<size_t>(bytes.length));
  auto [promise, done] = Environment::of(info.Env()).promise(info.Env(), info[0], matrix->stream);
  count_written(*matrix, bytes.length, std::move(done));
  return promise;
}

// Refuses bins that a column does not have.
Napi::Value binned_check(const Info& info) {
  const std::shared_ptr<BinnedMatrix> matrix = binned_of(argument(info, 0), kWhere, true);
  auto [promise, done] = Environment::of(info.Env()).promise(info.Env(), info[0], matrix->stream);
  expect_written(*matrix, kWhere);
  matrix->stream->run(
      [bins = matrix->kernel_bins(), columns = matrix->columns](HostContext& context) mutable -> std::optional<Error> {
        std::vector<uint8_t> copy;
        if (context.card) {
          copy.resize(static_cast<size_t>(bins.rows * bins.features));
          if (!context.card->download(copy.data(), bins.bins, copy.size())) return std::nullopt;
          bins.bins = copy.data();
        }
        std::atomic<bool> holds = true;
        context.workers.run((bins.rows + kRowsPerTask - 1) / kRowsPerTask, [&](int64_t task, int) {
          const int64_t end = std::min(bins.rows, (task + 1) * kRowsPerTask);
          for (int64_t g = 0; g < bins.groups(); ++g) {
            const GbrtGroup group = bins.group(g);
            int last[kGbrtGroup];
            for (int64_t i = 0; i < group.width; ++i) {
              const GbrtFeature& feature = (*columns)[static_cast<size_t>(group.first + i)].feature;
              last[i] = std::max(0, feature.bins - (feature.has_nan ? 0 : 1));
            }
            bool inside = true;
            for (int64_t r = task * kRowsPerTask; r < end; ++r) {
              for (int64_t i = 0; i < group.width; ++i) inside = inside && group.bins[r * group.width + i] <= last[i];
            }
            if (!inside) holds = false;
          }
        });
        if (holds) return std::nullopt;
        return Error::range(kWhere + "bins that the columns have but received others");
      },
      std::move(done));
  return promise;
}

}  // namespace

void register_binned_saved(Napi::Object& exports) {
  add_function<binned_restore>(exports, "binned_restore");
  add_function<binned_put>(exports, "binned_put");
  add_function<binned_check>(exports, "binned_check");
}

}  // namespace seqrisk
