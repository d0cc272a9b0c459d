// gbrt_bin: bins of raw values. A numeric value's bin is the number of upper bounds below it (bounds ascend, v ≤ bound
// belongs), NaN has the bin that the column names; a category's bin is looked up, bin 0 for the unknown.
// Bytes: rows·features·(size of a value + 1). Operations: 8 comparisons for each value.
#pragma once

#include <cstdint>

namespace seqrisk {

struct GbrtBinColumn {
  const void* values;     // float32 or float64
  int64_t stride;         // elements between two rows
  const void* bounds;     // kGbrtBounds of the type of values, ascending, padded with +infinity
  const uint8_t* bin_of;  // categories only: the bin of bounds[i], where bounds are the category values; else null
  uint8_t last;           // largest bin of a number
  uint8_t nan;            // bin of NaN
  bool is_double;
  uint8_t* out;  // bins, out_stride apart
  int64_t out_stride;
};

constexpr int64_t kGbrtBounds = 256;

struct GbrtBin {
  const GbrtBinColumn* columns;  // (features)
  int64_t rows;
  int64_t features;
};

}  // namespace seqrisk
