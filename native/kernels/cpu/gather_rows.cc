// gather_rows on the CPU. Backward: a task owns a range of rows and a slice of columns and adds, in order, what the
// index sends there: no two tasks write the same place, and repeated indices always add up in the same order.
#include "ops/gather_rows.h"

#include "kernels/cpu/columns-inl.h"
#include "kernels/cpu/variant.h"

namespace seqrisk::SEQRISK_VARIANT {
namespace {

constexpr int64_t kRowsPerTask = 256;
// Every range of rows reads the whole index, so there are only so many; few ranges are cut by columns as well.
constexpr int64_t kMinRowsPerRange = 1024;
constexpr int64_t kMaxRanges = 16;
constexpr int64_t kFewRanges = 8;
constexpr int64_t kColumnsPerTask = 64;

constexpr const char* kExpected = "an index of a row of x";

}  // namespace

void gather_rows_forward(const GatherRowsForward& a, Workers& workers) {
  workers.run((a.count + kRowsPerTask - 1) / kRowsPerTask, [&](int64_t task, int) {
    const int64_t end = task * kRowsPerTask + kRowsPerTask;
    for (int64_t i = task * kRowsPerTask; i < end && i < a.count; ++i) {
      float* out = a.out + i * a.width;
      const int64_t row = a.index[i];
      if (row < 0 || row >= a.rows) {
        a.fault->record(kExpected, i, row);
        over_columns(a.width, [&](auto d, int64_t column) { hn::StoreU(hn::Zero(d), d, out + column); });
        continue;
      }
      const float* x = a.x + row * a.width;
      over_columns(a.width, [&](auto d, int64_t column) { hn::StoreU(hn::LoadU(d, x + column), d, out + column); });
    }
  });
}

void gather_rows_backward(const GatherRowsBackward& a, Workers& workers) {
  int64_t per_range = (a.rows + kMaxRanges - 1) / kMaxRanges;
  if (per_range < kMinRowsPerRange) per_range = kMinRowsPerRange;
  const int64_t ranges = (a.rows + per_range - 1) / per_range;
  const int64_t per_slice = ranges > kFewRanges || a.width < kColumnsPerTask ? a.width : kColumnsPerTask;
  const int64_t slices = per_slice == 0 ? 0 : (a.width + per_slice - 1) / per_slice;
  workers.run(ranges * slices, [&](int64_t task, int) {
    const int64_t first = task / slices * per_range;
    const int64_t last = first + per_range < a.rows ? first + per_range : a.rows;
    const int64_t column = task % slices * per_slice;
    const int64_t columns = column + per_slice < a.width ? per_slice : a.width - column;
    if (!a.accumulate_dx) {
      for (int64_t row = first; row < last; ++row) {
        float* dx = a.dx + row * a.width + column;
        over_columns(columns, [&](auto d, int64_t i) { hn::StoreU(hn::Zero(d), d, dx + i); });
      }
    }
    for (int64_t i = 0; i < a.count; ++i) {
      const int64_t row = a.index[i];
      if (row < first || row >= last) {
        if (row < 0 || row >= a.rows) a.fault->record(kExpected, i, row);
        continue;
      }
      const float* dout = a.dout + i * a.width + column;
      float* dx = a.dx + row * a.width + column;
      over_columns(columns, [&](auto d, int64_t c) {
        hn::StoreU(hn::Add(hn::LoadU(d, dx + c), hn::LoadU(d, dout + c)), d, dx + c);
      });
    }
  });
}

}  // namespace seqrisk::SEQRISK_VARIANT
