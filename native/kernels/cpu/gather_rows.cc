// gather_rows on the CPU. Backward: the picks are sorted by row, in order, and each row of dx is summed in registers
// and written once: repeated indices always add up in the same order.
#include "ops/gather_rows.h"

#include <algorithm>

#include "kernels/cpu/ahead-inl.h"
#include "kernels/cpu/columns-inl.h"
#include "kernels/cpu/variant.h"

namespace seqrisk::SEQRISK_VARIANT {
namespace {

constexpr int64_t kRowsPerTask = 256;
constexpr int64_t kTasks = 64;  // of a backward over fewer rows
constexpr int64_t kFewRows = 512;
constexpr int64_t kColumnsPerSlice = 64;
// Rows of dout that are asked for before they are added: their order is not one that a processor could guess.
constexpr int64_t kPicksAhead = 6;

constexpr const char* kExpected = "an index of a row of x";
constexpr const char* kAscending = "indices that ascend";

// picks[starts[r] … starts[r + 1]) are the places of index that hold r, ascending.
void sort_picks(const GatherRowsBackward& a, int32_t* starts, int32_t* picks) {
  // Counts of row r stand at r + 2, and after the sums over them its picks go to where starts[r + 1] points, which ends
  // up at the next row's begin.
  const auto is_row = [&](int64_t i) { return a.index[i] >= 0 && a.index[i] < a.rows; };
  std::fill_n(starts, a.rows + 1, 0);
  for (int64_t i = 0; i < a.count; ++i) {
    if (!is_row(i)) {
      a.fault->record(kExpected, i, a.index[i]);
    } else if (a.ascending && i > 0 && a.index[i] <= a.index[i - 1]) {
      a.fault->record(kAscending, i, a.index[i]);
    }
    if (is_row(i) && a.index[i] + 2 <= a.rows) ++starts[a.index[i] + 2];
  }
  for (int64_t r = 2; r <= a.rows; ++r) starts[r] += starts[r - 1];
  for (int64_t i = 0; i < a.count; ++i) {
    if (is_row(i)) picks[starts[a.index[i] + 1]++] = static_cast<int32_t>(i);
  }
}

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
  int32_t* starts = a.scratch;
  int32_t* picks = starts + a.rows + 1;
  sort_picks(a, starts, picks);
  // Few rows are cut by columns as well: one of them may have most of the picks.
  const int64_t per_slice = a.rows > kFewRows || a.width < 2 * kColumnsPerSlice ? a.width : kColumnsPerSlice;
  const int64_t slices = per_slice == 0 ? 0 : (a.width + per_slice - 1) / per_slice;
  const int64_t per_task = std::clamp<int64_t>(a.rows / kTasks, 1, kRowsPerTask);
  workers.run((a.rows + per_task - 1) / per_task * slices, [&](int64_t task, int) {
    const int64_t first = task / slices * per_task;
    const int64_t last = std::min(first + per_task, a.rows);
    const int64_t column = task % slices * per_slice;
    const int64_t columns = std::min(per_slice, a.width - column);
    const float* dout = a.dout + column;
    for (int64_t row = first; row < last; ++row) {
      const int32_t* begin = picks + starts[row];
      const int32_t* end = picks + starts[row + 1];
      for (const int32_t* pick = begin; pick < end; ++pick) {
        const int32_t* later = pick + kPicksAhead;
        if (later < picks + starts[last]) {
          for (int64_t c = 0; c < columns; c += kLineFloats) hwy::Prefetch(dout + *later * a.width + c);
        }
      }
      float* dx = a.dx + row * a.width + column;
      over_blocks<8>(columns, [&](auto d, auto vectors, int64_t c) {
        constexpr int kVectors = decltype(vectors)::value;
        const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
        hn::Vec<decltype(d)> sum[kVectors];
        for (int v = 0; v < kVectors; ++v) sum[v] = a.accumulate_dx ? hn::LoadU(d, dx + c + v * lanes) : hn::Zero(d);
        for (const int32_t* pick = begin; pick < end; ++pick) {
          const float* from = dout + *pick * a.width + c;
          for (int v = 0; v < kVectors; ++v) sum[v] = hn::Add(sum[v], hn::LoadU(d, from + v * lanes));
        }
        for (int v = 0; v < kVectors; ++v) hn::StoreU(sum[v], d, dx + c + v * lanes);
      });
    }
  });
}

}  // namespace seqrisk::SEQRISK_VARIANT
