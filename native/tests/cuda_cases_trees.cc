// Cases of what trees have on a card: bins and histograms, integers throughout.
#include <algorithm>
#include <limits>

#include "tests/cuda_cases.h"

namespace seqrisk::parity {
namespace {

// Raw values and bounds stand in host memory on both sides; every third column is one of categories.
template <class T>
GbrtBinColumn column_of(Side& side, int64_t rows, bool categories) {
  std::vector<T> values;
  std::vector<T> bounds;
  GbrtBinColumn column{};
  const int64_t number = side.pick(1, kGbrtBounds);
  for (int64_t i = 0; i < number; ++i) bounds.push_back(static_cast<T>(categories ? 2 * i : side.pick(-500, 500)));
  std::sort(bounds.begin(), bounds.end());
  for (int64_t row = 0; row < 2 * rows; ++row) {
    values.push_back(row % 17 == 0 ? std::numeric_limits<T>::quiet_NaN() : static_cast<T>(side.pick(-600, 600)));
  }
  bounds.resize(static_cast<size_t>(kGbrtBounds), std::numeric_limits<T>::infinity());
  if (categories) {
    std::vector<uint8_t> bin_of(static_cast<size_t>(kGbrtBounds));
    for (uint8_t& bin : bin_of) bin = static_cast<uint8_t>(side.pick(0, 256));
    column.bin_of = side.keep(std::move(bin_of));
  }
  column.values = side.keep(std::move(values));
  column.bounds = side.keep(std::move(bounds));
  column.stride = 2;
  column.last = static_cast<uint8_t>(number - 1);
  column.nan = 255;
  column.is_double = sizeof(T) == 8;
  return column;
}

GbrtBin bin_of(Side& side, int64_t rows, int64_t features) {
  GbrtBin a{};
  std::vector<GbrtBinColumn> columns;
  auto* out = side.output_of<uint8_t>("out", rows * features);
  for (int64_t f = 0; f < features; ++f) {
    columns.push_back(f % 2 == 0 ? column_of<float>(side, rows, f % 3 == 2)
                                 : column_of<double>(side, rows, f % 3 == 2));
    columns.back().out = out + f;
    columns.back().out_stride = features;
  }
  a.columns = side.keep(std::move(columns));
  a.rows = rows;
  a.features = features;
  return a;
}

enum class Rows { all, listed, at_fault };

GbrtHistogram histogram_of(Side& side, int64_t rows, int64_t features, Rows kind, int64_t most_weight) {
  side.align();  // 64-bit integers
  GbrtHistogram a{};
  std::vector<uint8_t> bins(static_cast<size_t>(rows * features));
  for (uint8_t& bin : bins) bin = static_cast<uint8_t>(side.pick(0, side.pick(0, 2) ? 256 : 3));
  std::vector<int64_t> packed(static_cast<size_t>(rows));
  for (int64_t& value : packed) {
    const int64_t weight = side.pick(1, most_weight + 1);
    value = weight * side.pick(-(1 << 20), (1 << 20) + 1) * (int64_t{1} << kGbrtGeneral.shift);
    value += weight * side.pick(0, (1 << 17) + 1);
  }
  a.bins = {side.input(bins), rows, features};
  a.packed = side.input(packed);
  a.count = rows;
  if (kind != Rows::all) {
    a.count = rows / 2 + 1;
    std::vector<int32_t> index = side.random_ids(a.count, 0, rows);
    if (kind == Rows::at_fault) index[static_cast<size_t>(a.count / 2)] = -3;
    a.row_index = side.input(index);
  }
  a.shift = kGbrtGeneral.shift;
  a.most_weight = most_weight;
  // The CPU leaves a whole block of listed rows out when one is at fault.
  a.out = side.output_of<int64_t>("out", features * 2 * kGbrtCells, kind == Rows::at_fault ? kAny : kSame);
  const int64_t words = GbrtCellMemory::words(features) * side.workers();
  a.cells = {side.scratch<int64_t>(static_cast<size_t>(words) * sizeof(int64_t)), features, side.workers()};
  if (a.cells.base) std::fill_n(a.cells.base, words, 0);
  a.fault = side.fault();
  return a;
}

}  // namespace

void add_tree_cases(CaseTable& table) {
  constexpr int64_t kShapes[][2] = {{0, 3}, {1, 1}, {7, 5}, {513, 16}, {1000, 17}, {9000, 33}, {20000, 2}};
  for (const auto& [rows, features] : kShapes) {
    const std::string shape = label({"rows", "features"}, rows, features);
    table.gbrt_bin.push_back({shape, [=](Side& side) { return bin_of(side, rows, features); }});
    for (const Rows kind : {Rows::all, Rows::listed, Rows::at_fault}) {
      if (kind != Rows::all && rows == 0) continue;
      for (const int64_t most_weight : {int64_t{1}, int64_t{100}, kGbrtMostPending}) {
        table.gbrt_histogram.push_back(
            {shape + ", " + label({"rows listed", "most_weight"}, static_cast<int>(kind), most_weight),
             [=](Side& side) { return histogram_of(side, rows, features, kind, most_weight); }});
      }
    }
  }
}

}  // namespace seqrisk::parity
