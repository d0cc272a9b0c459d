// gbrt_histogram: out[f, 0, b] = Σ g, out[f, 1, b] = Σ h over the rows of a node whose feature f is in bin b. Exact
// integers: the same for any order of rows, number of threads and variant.
// Bytes: count·(features + 8). Operations: one 64-bit addition to memory for each row and feature.
#pragma once

#include "ops/gbrt_rows.h"
#include "ops/workers.h"

namespace seqrisk {

struct GbrtHistogram {
  GbrtBins bins;
  const int64_t* packed;     // (rows) packed gradients
  const int32_t* row_index;  // (count) rows, in any order; null: the rows from 0 on
  int64_t count;
  int shift;
  int64_t most_weight;   // no row weighs more, in [1, kGbrtMostPending]
  GbrtCellMemory cells;  // all zero; left zero
  int64_t* out;          // (features, 2, kGbrtCells)
  Fault* fault;          // rows outside the matrix are left out
};

}  // namespace seqrisk
