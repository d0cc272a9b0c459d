// piecewise_linear on the CPU: a vector of columns at a time, down the rows of a task. All pieces are summed up: no
// search, no branch.
#include "ops/piecewise_linear.h"

#include "kernels/cpu/columns-inl.h"
#include "ops/workers.h"

namespace seqrisk::SEQRISK_VARIANT {
namespace {

// Calls f(tag, column, begin, end) for all columns of the rows [begin, end) of each task.
template <class F>
void over_tasks(int64_t rows, int64_t width, Workers& workers, F f) {
  workers.run((rows + kPiecewiseLinearRowsPerTask - 1) / kPiecewiseLinearRowsPerTask, [&](int64_t task, int) {
    const int64_t begin = task * kPiecewiseLinearRowsPerTask;
    const int64_t left = rows - begin;
    const int64_t end = begin + (left < kPiecewiseLinearRowsPerTask ? left : kPiecewiseLinearRowsPerTask);
    over_columns(width, [&](auto d, int64_t i) { f(d, i, begin, end); });
  });
}

}  // namespace

void piecewise_linear_forward(const PiecewiseLinearForward& a, Workers& workers) {
  over_tasks(a.rows, a.width, workers, [&](auto d, int64_t i, int64_t begin, int64_t end) {
    const float* knots = a.knots + i;
    const float* slopes = a.slopes + i;
    const auto offset = hn::LoadU(d, a.offset + i);
    const auto first = hn::LoadU(d, knots);
    const auto last = hn::LoadU(d, knots + (a.num_knots - 1) * a.width);
    const auto below = hn::LoadU(d, slopes);
    const auto above = hn::LoadU(d, slopes + a.num_knots * a.width);
    for (int64_t row = begin; row < end; ++row) {
      const auto x = hn::LoadU(d, a.x + row * a.width + i);
      const auto outside = hn::Sub(x, hn::Min(hn::Max(x, first), last));
      const auto slope = hn::IfThenElse(hn::Lt(outside, hn::Zero(d)), below, above);
      auto out = hn::MulAdd(slope, outside, offset);
      auto from = first;
      for (int64_t k = 1; k < a.num_knots; ++k) {
        const auto to = hn::LoadU(d, knots + k * a.width);
        const auto ramp = hn::Sub(hn::Min(hn::Max(x, from), to), from);
        out = hn::MulAdd(hn::LoadU(d, slopes + k * a.width), ramp, out);
        from = to;
      }
      hn::StoreU(out, d, a.out + row * a.width + i);
    }
  });
}

void piecewise_linear_backward(const PiecewiseLinearBackward& a, Workers& workers) {
  over_tasks(a.rows, a.width, workers, [&](auto d, int64_t i, int64_t begin, int64_t end) {
    const float* knots = a.knots + i;
    const float* slopes = a.slopes + i;
    for (int64_t row = begin; row < end; ++row) {
      const int64_t at = row * a.width + i;
      const auto x = hn::LoadU(d, a.x + at);
      auto slope = hn::LoadU(d, slopes);
      for (int64_t k = 0; k < a.num_knots; ++k) {
        const auto is_above = hn::Ge(x, hn::LoadU(d, knots + k * a.width));
        slope = hn::IfThenElse(is_above, hn::LoadU(d, slopes + (k + 1) * a.width), slope);
      }
      auto dx = hn::Mul(slope, hn::LoadU(d, a.dout + at));
      if (a.accumulate_dx) dx = hn::Add(dx, hn::LoadU(d, a.dx + at));
      hn::StoreU(dx, d, a.dx + at);
    }
  });
}

}  // namespace seqrisk::SEQRISK_VARIANT
