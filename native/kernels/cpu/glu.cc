// glu on the CPU: a task takes some rows.
#include "ops/glu.h"

#include "kernels/cpu/columns-inl.h"
#include "kernels/cpu/math-inl.h"
#include "kernels/cpu/variant.h"
#include "ops/workers.h"

namespace seqrisk::SEQRISK_VARIANT {
namespace {

constexpr int64_t kRowsPerTask = 256;

template <class F>
void over_rows(Workers& workers, int64_t rows, F f) {
  workers.run((rows + kRowsPerTask - 1) / kRowsPerTask, [&](int64_t task, int) {
    const int64_t last = (task + 1) * kRowsPerTask;
    for (int64_t row = task * kRowsPerTask; row < last && row < rows; ++row) f(row);
  });
}

}  // namespace

void glu_forward(const GluForward& a, Workers& workers) {
  over_rows(workers, a.rows, [&](int64_t row) {
    const float* x = a.x + row * 2 * a.width;
    float* out = a.out + row * a.width;
    over_columns(a.width, [&](auto d, int64_t i) {
      hn::StoreU(hn::Mul(hn::LoadU(d, x + i), sigmoid(hn::LoadU(d, x + a.width + i))), d, out + i);
    });
  });
}

// With s = σ(z): da = dout·s, dz = dout·a·s·(1 − s).
void glu_backward(const GluBackward& a, Workers& workers) {
  over_rows(workers, a.rows, [&](int64_t row) {
    const float* x = a.x + row * 2 * a.width;
    const float* dout = a.dout + row * a.width;
    float* dx = a.dx + row * 2 * a.width;
    over_columns(a.width, [&](auto d, int64_t i) {
      const auto s = sigmoid(hn::LoadU(d, x + a.width + i));
      auto da = hn::Mul(hn::LoadU(d, dout + i), s);
      auto dz = hn::Mul(hn::Mul(da, hn::LoadU(d, x + i)), hn::Sub(hn::Set(d, 1.0f), s));
      if (a.accumulate_dx) {
        da = hn::Add(da, hn::LoadU(d, dx + i));
        dz = hn::Add(dz, hn::LoadU(d, dx + a.width + i));
      }
      hn::StoreU(da, d, dx + i);
      hn::StoreU(dz, d, dx + a.width + i);
    });
  });
}

}  // namespace seqrisk::SEQRISK_VARIANT
