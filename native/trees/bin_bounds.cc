#include "trees/bin_bounds.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>

namespace seqrisk {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

struct Distinct {
  double value;
  int64_t count;
};

// Ascending order of floating-point numbers, as unsigned integers.
template <class U>
U order_key(U bits) {
  constexpr U kSign = U{1} << (sizeof(U) * 8 - 1);
  return bits & kSign ? static_cast<U>(~bits) : static_cast<U>(bits | kSign);
}

template <class U>
U order_bits(U key) {
  constexpr U kSign = U{1} << (sizeof(U) * 8 - 1);
  return key & kSign ? static_cast<U>(key & ~kSign) : static_cast<U>(~key);
}

// Least significant digit first; digits that all values share cost nothing.
template <class U>
void radix_sort(std::vector<U>& keys) {
  constexpr int kDigitBits = 11;
  constexpr uint32_t kDigits = uint32_t{1} << kDigitBits;
  constexpr int kPasses = (static_cast<int>(sizeof(U) * 8) + kDigitBits - 1) / kDigitBits;
  std::vector<U> other(keys.size());
  // Counts of all digits in one pass.
  std::vector<uint32_t> counts(static_cast<size_t>(kPasses) * kDigits);
  for (const U key : keys) {
    for (int pass = 0; pass < kPasses; ++pass) {
      ++counts[static_cast<size_t>(pass) * kDigits + ((key >> (pass * kDigitBits)) & (kDigits - 1))];
    }
  }
  for (int pass = 0; pass < kPasses; ++pass) {
    const int shift = pass * kDigitBits;
    uint32_t* starts = counts.data() + static_cast<size_t>(pass) * kDigits;
    if (starts[(keys[0] >> shift) & (kDigits - 1)] == keys.size()) continue;
    uint32_t start = 0;
    for (uint32_t digit = 0; digit < kDigits; ++digit) {
      const uint32_t count = starts[digit];
      starts[digit] = start;
      start += count;
    }
    for (const U key : keys) other[starts[(key >> shift) & (kDigits - 1)]++] = key;
    keys.swap(other);
  }
}

// Sorted distinct values without NaN.
template <class T>
std::vector<Distinct> distinct_values(std::vector<T>& sample, int64_t* nans) {
  using U = std::conditional_t<sizeof(T) == 4, uint32_t, uint64_t>;
  std::vector<U> keys;
  keys.reserve(sample.size());
  for (const T value : sample) {
    if (std::isnan(value)) continue;
    U bits;
    const T positive = value == 0 ? T{0} : value;  // −0 is 0
    std::memcpy(&bits, &positive, sizeof(T));
    keys.push_back(order_key(bits));
  }
  *nans = static_cast<int64_t>(sample.size() - keys.size());
  std::vector<T>().swap(sample);
  std::vector<Distinct> result;
  if (keys.empty()) return result;
  radix_sort(keys);
  size_t distinct = 1;
  for (size_t i = 1; i < keys.size(); ++i) distinct += keys[i] != keys[i - 1] ? 1 : 0;
  result.reserve(distinct);
  for (size_t i = 0; i < keys.size();) {
    size_t end = i + 1;
    while (end < keys.size() && keys[end] == keys[i]) ++end;
    const U bits = order_bits(keys[i]);
    T value;
    std::memcpy(&value, &bits, sizeof(T));
    result.push_back({static_cast<double>(value), static_cast<int64_t>(end - i)});
    i = end;
  }
  return result;
}

// A number m with a ≤ m < b, in the middle.
double between(double a, double b) {
  if (a == -kInfinity) return std::nextafter(b, a);
  const double middle = a / 2 + b / 2;
  return middle >= a && middle < b ? middle : a;
}

// Closes a bin when it holds its share of the values; a value that is frequent enough has a bin of its own.
std::vector<double> cut(const std::vector<Distinct>& values, int64_t total, int max_bins, int min_data) {
  std::vector<double> bounds;
  const size_t count = values.size();
  const auto close = [&](size_t i) { bounds.push_back(between(values[i].value, values[i + 1].value)); };
  if (count <= static_cast<size_t>(max_bins)) {
    int64_t in_bin = 0;
    for (size_t i = 0; i + 1 < count; ++i) {
      in_bin += values[i].count;
      if (in_bin < min_data) continue;
      close(i);
      in_bin = 0;
    }
    return bounds;
  }
  if (min_data > 0) max_bins = static_cast<int>(std::clamp<int64_t>(total / min_data, 1, max_bins));
  const double share = static_cast<double>(total) / max_bins;
  int64_t left_bins = max_bins;
  int64_t left_values = total;
  std::vector<bool> is_frequent(count);
  for (size_t i = 0; i < count; ++i) {
    if (static_cast<double>(values[i].count) < share) continue;
    is_frequent[i] = true;
    --left_bins;
    left_values -= values[i].count;
  }
  double wanted = static_cast<double>(left_values) / static_cast<double>(std::max<int64_t>(1, left_bins));
  int64_t in_bin = 0;
  for (size_t i = 0; i + 1 < count && bounds.size() + 1 < static_cast<size_t>(max_bins); ++i) {
    if (!is_frequent[i]) left_values -= values[i].count;
    in_bin += values[i].count;
    const bool before_frequent = is_frequent[i + 1] && static_cast<double>(in_bin) >= std::max(1.0, wanted / 2);
    if (!is_frequent[i] && static_cast<double>(in_bin) < wanted && !before_frequent) continue;
    close(i);
    in_bin = 0;
    if (is_frequent[i]) continue;
    --left_bins;
    wanted = static_cast<double>(left_values) / static_cast<double>(std::max<int64_t>(1, left_bins));
  }
  return bounds;
}

template <class T>
BinnedColumn learn(std::vector<T>& sample, const BinOptions& options) {
  int64_t nans = 0;
  std::vector<Distinct> values = distinct_values(sample, &nans);
  BinnedColumn column;
  column.is_double = sizeof(T) == 8;
  column.feature.has_nan = nans > 0;
  column.feature.kind = GbrtKind::numeric;
  // +infinity has the last bin to itself: its lower neighbour's bound can be written, one above it could not.
  const bool infinite = !values.empty() && values.back().value == kInfinity;
  column.feature.ends_infinite = infinite;
  const int max_bins = std::max(1, options.max_bins - (nans > 0 ? 1 : 0) - (infinite ? 1 : 0));
  if (infinite) values.pop_back();
  int64_t total = 0;
  for (const Distinct& value : values) total += value.count;
  if (!values.empty()) column.bounds = cut(values, total, max_bins, options.min_data_in_bin);
  // Above the values, so that bounds ascend whatever there is.
  const bool is_huge = !values.empty() && values.back().value > kMostFinite;
  const double most = is_huge ? std::numeric_limits<double>::max() : kMostFinite;
  if (!values.empty() || infinite) column.bounds.push_back(most);
  if (infinite) column.bounds.push_back(kInfinity);
  if (values.empty() && infinite) column.bounds.erase(column.bounds.begin());
  column.feature.bins = static_cast<int16_t>(column.bounds.size());
  fill_tables(column);
  return column;
}

}  // namespace

BinnedColumn learn_numeric(std::vector<float>& sample, const BinOptions& options) {
  return learn(sample, options);
}

BinnedColumn learn_numeric(std::vector<double>& sample, const BinOptions& options) {
  return learn(sample, options);
}

BinnedColumn learn_categories(std::vector<double>& sample, const BinOptions& options) {
  int64_t nans = 0;
  std::vector<Distinct> values = distinct_values(sample, &nans);
  const size_t kept = std::min(values.size(), static_cast<size_t>(std::max(1, options.max_bins - 1)));
  std::stable_sort(values.begin(), values.end(), [](const auto& a, const auto& b) { return a.count > b.count; });
  values.resize(kept);
  std::vector<size_t> bin_order(kept);
  for (size_t i = 0; i < kept; ++i) bin_order[i] = i;
  std::sort(bin_order.begin(), bin_order.end(), [&](size_t a, size_t b) { return values[a].value < values[b].value; });
  BinnedColumn column;
  column.is_double = true;
  column.feature.kind = GbrtKind::categorical;
  column.feature.bins = static_cast<int16_t>(kept + 1);
  for (const size_t i : bin_order) {
    column.bounds.push_back(values[i].value);
    column.bin_of.push_back(static_cast<uint8_t>(i + 1));
  }
  fill_tables(column);
  return column;
}

void fill_tables(BinnedColumn& column) {
  constexpr auto kSize = static_cast<size_t>(kGbrtBounds);
  const bool is_category = column.feature.kind == GbrtKind::categorical;
  column.wide_table.assign(kSize, kInfinity);
  column.narrow_table.assign(kSize, std::numeric_limits<float>::infinity());
  column.bin_of.resize(is_category ? kSize : 0);
  for (size_t i = 0; i < column.bounds.size(); ++i) {
    // Rounded down, so that v ≤ bound says the same of a float32 v.
    const double bound = column.bounds[i];
    float narrow = static_cast<float>(bound);
    if (static_cast<double>(narrow) > bound) {
      narrow = std::nextafterf(narrow, -std::numeric_limits<float>::infinity());
    }
    column.wide_table[i] = bound;
    column.narrow_table[i] = narrow;
  }
  if (is_category) {
    column.nan_bin = 0;
    return;
  }
  // Where training saw no NaN, one counts as 0 later on, as it does in prediction.
  size_t zero = 0;
  while (zero + 1 < column.bounds.size() && column.bounds[zero] < 0) ++zero;
  column.nan_bin = static_cast<uint8_t>(column.feature.has_nan ? column.bounds.size() : zero);
}

GbrtBinColumn BinnedColumn::kernel_column(const void* values, int64_t stride, bool values_are_double) const {
  GbrtBinColumn result{};
  result.values = values;
  result.stride = stride;
  result.is_double = values_are_double;
  result.bounds =
      values_are_double ? static_cast<const void*>(wide_table.data()) : static_cast<const void*>(narrow_table.data());
  result.bin_of = bin_of.empty() ? nullptr : bin_of.data();
  result.last = static_cast<uint8_t>(feature.bins > 0 ? feature.bins - 1 : 0);
  result.nan = nan_bin;
  return result;
}

}  // namespace seqrisk
