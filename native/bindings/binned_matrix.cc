// Binned matrices: a sample of each column, bounds learned from it, then rows, chunk by chunk.
#include <algorithm>
#include <cmath>
#include <limits>

#include "bindings/args.h"
#include "bindings/bindings.h"
#include "bindings/call_args.h"
#include "bindings/environment.h"
#include "bindings/host_array.h"
#include "bindings/result_array.h"
#include "bindings/tree_handles.h"
#include "bindings/wrap.h"
#include "runtime/thread_pool.h"

namespace seqrisk {
namespace {

using Info = Napi::CallbackInfo;
using Handle = std::shared_ptr<BinnedMatrix>;

constexpr napi_type_tag kBinnedTag = {0x5e9715c0a51de2f4, 0x3a86d5c07f19be42};
constexpr int64_t kMostRows = int64_t{1} << 31;
const std::string kWhere = "[BinnedMatrix] expected ";

Napi::Value binned_create(const Info& info) {
  const CallArgs args(info, kWhere);
  auto matrix = std::make_shared<BinnedMatrix>();
  matrix->stream = args.open_stream(0);
  matrix->features = args.integer(1, "features", 1, kGbrtMostFeatures);
  matrix->options.max_bins = static_cast<int>(args.integer(2, "maxBin", 2, 255));
  matrix->options.min_data_in_bin = static_cast<int>(args.integer(3, "minDataInBin", 1, 1 << 30));
  const uint8_t* categories = host_bytes(args.value(4), matrix->features, kWhere + "categorical flags as ");
  matrix->is_category.assign(categories, categories + matrix->features);
  matrix->columns = std::make_shared<std::vector<BinnedColumn>>();
  matrix->phase = std::make_shared<std::atomic<BinnedMatrix::Phase>>(BinnedMatrix::sampling);
  matrix->samples = std::make_shared<std::vector<BinnedMatrix::Sample>>(static_cast<size_t>(matrix->features));
  return wrap_binned(info.Env(), std::move(matrix));
}

// Whole numbers from 0, or NaN.
void to_categories(double* values, int64_t count, int64_t stride) {
  for (int64_t i = 0; i < count; ++i) {
    double& value = values[i * stride];
    value = value >= 0 ? std::floor(value) : std::numeric_limits<double>::quiet_NaN();
    if (value > kMostCategory) {
      throw Error::range(kWhere + "categories to be numbers below 1048576 but received " + std::to_string(value) +
                         "; number them from 0");
    }
  }
}

// A matrix whose bins were not asked for yet.
Handle sampling_of(const Napi::Value& value) {
  Handle matrix = binned_of(value, kWhere, false);
  if (matrix->phase->load() == BinnedMatrix::sampling) return matrix;
  throw Error::range(kWhere + "a matrix whose bins are not learned yet but received one that has them");
}

// Adds values[first + rows[i]·stride] of one column to its sample; all `count` rows from `first` when rows is null.
Napi::Value binned_sample(const Info& info) {
  const CallArgs args(info, kWhere);
  const Handle matrix = sampling_of(args.value(0));
  const int64_t column = args.integer(1, "column", 0, matrix->features - 1);
  const int64_t first = args.integer(3, "first", 0, int64_t{1} << 53);
  const int64_t stride = args.integer(4, "stride", 1, int64_t{1} << 30);
  const int64_t count = args.integer(5, "count", 0, kMostRows);
  const Napi::Value listed = args.value(6);
  const int32_t* rows = is_absent(listed) ? nullptr : host_ints(listed, count, kWhere);
  const HostNumbers numbers = host_numbers(args.value(2), kWhere);
  int64_t last = count - 1;
  for (int64_t i = 0; rows && i < count; ++i) {
    if (rows[i] < 0) throw Error::range(kWhere + "rows from 0 but received " + std::to_string(rows[i]));
    last = i == 0 ? rows[0] : std::max<int64_t>(last, rows[i]);
  }
  if (count > 0 && first + last * stride >= numbers.length) {
    throw Error::range(kWhere + "at least " + std::to_string(first + last * stride + 1) + " values but received " +
                       std::to_string(numbers.length));
  }
  BinnedMatrix::Sample& sample = (*matrix->samples)[static_cast<size_t>(column)];
  const bool is_category = matrix->is_category[static_cast<size_t>(column)] != 0;
  const auto append = [&](auto& to) {
    const size_t before = to.size();
    to.resize(before + static_cast<size_t>(count));
    if (!rows) return copy_numbers(numbers, first, stride, count, to.data() + before);
    gather_numbers(numbers, first, stride, rows, count, to.data() + before);
  };
  if (!is_category && numbers.fits_float() && sample.wide.empty()) {
    append(sample.narrow);
    return info.Env().Undefined();
  }
  sample.wide.insert(sample.wide.end(), sample.narrow.begin(), sample.narrow.end());
  std::vector<float>().swap(sample.narrow);
  append(sample.wide);
  if (is_category) {
    to_categories(sample.wide.data() + sample.wide.size() - static_cast<size_t>(count), count, 1);
  }
  return info.Env().Undefined();
}

Napi::Value binned_learn(const Info& info) {
  const CallArgs args(info, kWhere);
  const Handle matrix = sampling_of(args.value(0));
  matrix->phase->store(BinnedMatrix::learning);
  auto [promise, done] = Environment::of(info.Env()).promise(info.Env(), info[0], matrix->stream);
  matrix->stream->run(
      [columns = matrix->columns, samples = matrix->samples, phase = matrix->phase, options = matrix->options,
       is_category = matrix->is_category](HostContext& context) -> std::optional<Error> {
        std::vector<BinnedColumn> result(is_category.size());
        std::atomic<bool> failed = false;
        context.workers.run(static_cast<int64_t>(is_category.size()), [&](int64_t f, int) {
          const auto i = static_cast<size_t>(f);
          BinnedMatrix::Sample& sample = (*samples)[i];
          try {  // an exception must not leave a worker
            result[i] = is_category[i]        ? learn_categories(sample.wide, options)
                        : sample.wide.empty() ? learn_numeric(sample.narrow, options)
                                              : learn_numeric(sample.wide, options);
          } catch (const std::bad_alloc&) {
            failed = true;
          }
        });
        if (context.workers.cancelled()) return std::nullopt;
        if (failed) throw std::bad_alloc();
        *columns = std::move(result);
        samples->clear();
        phase->store(BinnedMatrix::learned, std::memory_order_release);
        return std::nullopt;
      },
      std::move(done));
  return promise;
}

// An empty matrix with the bins of another one.
Napi::Value binned_like(const Info& info) {
  const CallArgs args(info, kWhere);
  const Handle like = binned_of(args.value(0), kWhere, false);
  auto matrix = std::make_shared<BinnedMatrix>(*like);
  matrix->bins.reset();
  matrix->written = std::make_shared<int64_t>(0);
  matrix->rows = 0;
  return wrap_binned(info.Env(), std::move(matrix));
}

Napi::Value binned_reserve(const Info& info) {
  const CallArgs args(info, kWhere);
  const Handle matrix = binned_of(args.value(0), kWhere, false);
  // Also once they are freed: trainers, and calls that read the caller's lists meanwhile, rely on the number of rows.
  if (matrix->rows > 0) throw Error::range(kWhere + "to reserve once but received a second call");
  const int64_t rows = args.integer(1, "rows", 1, kMostRows);
  matrix->bins = std::make_shared<Buffer>(
      matrix->stream, static_cast<size_t>(rows) * static_cast<size_t>(matrix->features), "BinnedMatrix");
  matrix->rows = rows;
  return info.Env().Undefined();
}

Napi::Value binned_append(const Info& info) {
  const CallArgs args(info, kWhere);
  const Handle matrix = binned_of(args.value(0), kWhere, true);
  const int64_t row = args.integer(1, "row", 0, matrix->rows);
  const int64_t start = args.integer(3, "start", 0, kMostRows);
  const int64_t count = args.integer(4, "count", 0, matrix->rows - row);
  struct Keep {
    StagedRows rows;
    std::shared_ptr<std::vector<BinnedColumn>> columns;
    std::vector<GbrtBinColumn> list;
  };
  auto keep = std::make_shared<Keep>(
      Keep{StagedRows(args.value(2), matrix->features, start, count, false, kWhere), matrix->columns, {}});
  binned_of(args.value(0), kWhere, true);  // a list of columns may have run the caller's code
  const GbrtBins bins = matrix->kernel_bins();
  for (int64_t f = 0; f < matrix->features; ++f) {
    const StagedColumn& staged = keep->rows.columns()[static_cast<size_t>(f)];
    GbrtBinColumn column =
        (*matrix->columns)[static_cast<size_t>(f)].kernel_column(staged.values, staged.stride, staged.is_double);
    const GbrtGroup group = bins.group_of(f);
    column.out = const_cast<uint8_t*>(group.bins) + row * group.width + f - group.first;
    column.out_stride = group.width;
    keep->list.push_back(column);
  }
  GbrtBin call{};
  call.columns = keep->list.data();
  call.rows = count;
  call.features = matrix->features;
  matrix->stream->submit(Kernel::gbrt_bin, call, std::move(keep));
  auto [promise, done] = Environment::of(info.Env()).promise(info.Env(), info[0], matrix->stream);
  count_written(*matrix, count * matrix->features, std::move(done));
  return promise;
}

Napi::Value binned_columns(const Info& info) {
  const Napi::Env env = info.Env();
  const CallArgs args(info, kWhere);
  const Handle matrix = binned_of(args.value(0), kWhere, false);
  Napi::Array result = Napi::Array::New(env);
  if (matrix->phase->load(std::memory_order_acquire) != BinnedMatrix::learned) return result;
  for (const BinnedColumn& column : *matrix->columns) {
    const auto count = static_cast<int64_t>(column.bounds.size());
    Napi::Object item = Napi::Object::New(env);
    Napi::Float64Array bounds = result_array<double>(env, kWhere, {count});
    std::copy(column.bounds.begin(), column.bounds.end(), bounds.Data());
    item.Set("isCategorical", column.feature.kind == GbrtKind::categorical);
    item.Set("hasNaN", column.feature.has_nan);
    item.Set("bins", static_cast<double>(column.feature.bins));
    item.Set("bounds", bounds);
    const bool is_category = !column.bin_of.empty();
    Napi::Uint8Array bin_of = result_array<uint8_t>(env, kWhere, {is_category ? count : 0});
    if (is_category) std::copy_n(column.bin_of.begin(), count, bin_of.Data());
    item.Set("binOf", bin_of);
    result.Set(result.Length(), item);
  }
  return result;
}

// matrix, first byte, bytes: of the bins as memory keeps them
Napi::Value binned_read(const Info& info) {
  const CallArgs args(info, kWhere);
  const Handle matrix = binned_of(args.value(0), kWhere, true);
  const int64_t all = matrix->rows * matrix->features;
  const int64_t start = args.integer(1, "start", 0, all);
  const int64_t bytes = args.integer(2, "count", 0, all - start);
  Napi::Uint8Array array = result_array<uint8_t>(info.Env(), kWhere, {bytes});
  auto [promise, done] = Environment::of(info.Env()).promise(info.Env(), array, matrix->stream);
  expect_written(*matrix, kWhere);
  matrix->stream->download(array.Data(), matrix->bins->data() + start, static_cast<size_t>(bytes), std::move(done));
  return promise;
}

// Also of a closed device: what is freed twice, or late, harms nobody.
Napi::Value binned_dispose(const Info& info) {
  const Handle* handle = unwrap<Handle>(argument(info, 0), kBinnedTag);
  if (!handle) throw Error::type(kWhere + "a binned matrix but received " + describe(argument(info, 0)));
  BinnedMatrix& matrix = **handle;
  matrix.bins.reset();
  // Learning may still read the samples: it has them until then.
  matrix.samples = std::make_shared<std::vector<BinnedMatrix::Sample>>(static_cast<size_t>(matrix.features));
  return info.Env().Undefined();
}

}  // namespace

Napi::Value wrap_binned(Napi::Env env, std::shared_ptr<BinnedMatrix> matrix) {
  return wrap(env, std::move(matrix), kBinnedTag);
}

std::shared_ptr<BinnedMatrix> binned_of(const Napi::Value& value, const std::string& where, bool filled) {
  const Handle* handle = unwrap<Handle>(value, kBinnedTag);
  if (!handle) throw Error::type(where + "a binned matrix but received " + describe(value));
  if ((*handle)->stream->closed()) {
    throw Error::coded("CLOSED", where + "a matrix of an open device but received one of a closed device");
  }
  if (filled && (*handle)->phase->load(std::memory_order_acquire) != BinnedMatrix::learned) {
    throw Error::range(where + "a matrix whose bins are learned but received one without them");
  }
  if (filled && !(*handle)->bins) throw Error::type(where + "a matrix with rows but received an empty or freed one");
  return *handle;
}

void count_written(const BinnedMatrix& matrix, int64_t bins, Completion done) {
  matrix.stream->run(
      [written = matrix.written, bins](HostContext&) -> std::optional<Error> {
        *written += bins;
        return std::nullopt;
      },
      std::move(done));
}

void expect_written(const BinnedMatrix& matrix, const std::string& where) {
  const auto check = [written = matrix.written, all = matrix.rows * matrix.features,
                      where](HostContext&) -> std::optional<Error> {
    if (*written >= all) return std::nullopt;
    return Error::range(where + "a matrix whose rows were all written but received " + std::to_string(*written) +
                        " of " + std::to_string(all) + " bins; append the others");
  };
  matrix.stream->run(check, nullptr);
}

void register_binned_matrix(Napi::Object& exports) {
  add_function<binned_create>(exports, "binned_create");
  add_function<binned_sample>(exports, "binned_sample");
  add_function<binned_learn>(exports, "binned_learn");
  add_function<binned_like>(exports, "binned_like");
  add_function<binned_reserve>(exports, "binned_reserve");
  add_function<binned_append>(exports, "binned_append");
  add_function<binned_columns>(exports, "binned_columns");
  add_function<binned_read>(exports, "binned_read");
  add_function<binned_dispose>(exports, "binned_dispose");
}

}  // namespace seqrisk
