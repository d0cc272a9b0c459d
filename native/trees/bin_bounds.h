// How values become bins, learned from a sample of each column.
#pragma once

#include <cstdint>
#include <vector>

#include "ops/gbrt_bin.h"
#include "ops/gbrt_tree.h"

namespace seqrisk {

struct BinOptions {
  int max_bins = 255;  // with the one for NaN, or for unknown categories
  int min_data_in_bin = 3;
};

struct BinnedColumn {
  GbrtFeature feature{};
  bool is_double = false;
  uint8_t nan_bin = 0;
  std::vector<double> bounds;       // numeric: upper bounds, the last one kMostFinite or above; categories: their codes
  std::vector<uint8_t> bin_of;      // categories: bin of bounds[i]
  std::vector<float> narrow_table;  // kGbrtBounds, for float32 values
  std::vector<double> wide_table;   // kGbrtBounds, for float64 values

  GbrtBinColumn kernel_column(const void* values, int64_t stride, bool values_are_double) const;
};

// The threshold that stands for "any finite number" in LightGBM's text format.
constexpr double kMostFinite = 1e300;
constexpr double kMostCategory = 1048575;  // a split lists its categories as bits

// Values may be NaN or infinite. Equal-frequency bins; every distinct value its own bin where there are few.
BinnedColumn learn_numeric(std::vector<float>& sample, const BinOptions& options);
BinnedColumn learn_numeric(std::vector<double>& sample, const BinOptions& options);
// Integers from 0 or NaN. The most frequent get a bin of their own, the others are unknown.
BinnedColumn learn_categories(std::vector<double>& sample, const BinOptions& options);
// From bounds that were learned before.
void fill_tables(BinnedColumn& column);

}  // namespace seqrisk
