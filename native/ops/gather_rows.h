// gather_rows: out[i] = x[index[i]]; the backward adds rows back. An index outside [0, rows) is a fault,
// and one that is not above the one before it where they are said to ascend.
// Bytes: forward 2·count·width·4, backward count·width·4 read and rows·width·4 written. Memory bound.
#pragma once

#include <cstddef>
#include <cstdint>

#include "ops/workers.h"

namespace seqrisk {

struct GatherRowsForward {
  const float* x;        // (rows, width)
  const int32_t* index;  // (count)
  float* out;            // (count, width); zeros where the index is at fault
  int64_t rows;
  int64_t count;
  int64_t width;
  Fault* fault;
};

struct GatherRowsBackward {
  const int32_t* index;  // (count), may repeat unless they ascend
  const float* dout;     // (count, width)
  float* dx;             // (rows, width) assigned, or added to when accumulate_dx
  int32_t* scratch;      // gather_rows_backward_scratch() bytes
  int64_t rows;
  int64_t count;
  int64_t width;
  bool accumulate_dx;
  bool ascending;  // each index is above the one before it: no two rows of dout meet
  Fault* fault;
};

// Where the picks of each row start, and the picks sorted by row.
inline size_t gather_rows_backward_scratch(int64_t rows, int64_t count) {
  return static_cast<size_t>(rows + 1 + count) * sizeof(int32_t);
}

}  // namespace seqrisk
