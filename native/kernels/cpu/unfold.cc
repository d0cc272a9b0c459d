// unfold on the CPU: a task takes a stretch of events. The backward gathers for each event what its copies received, in
// the order of the taps, so that no two tasks write one row.
#include "ops/unfold.h"

#include "kernels/cpu/columns-inl.h"
#include "kernels/cpu/variant.h"
#include "ops/workers.h"

namespace seqrisk::SEQRISK_VARIANT {
namespace {

constexpr int64_t kEventsPerTask = 256;

// Calls f(t, begin, end) for the events of a task, with the bounds of the sequence that holds t.
template <class F>
void over_events(const Packing& packing, Workers& workers, F f) {
  workers.run((packing.events + kEventsPerTask - 1) / kEventsPerTask, [&](int64_t task, int) {
    const int64_t first = task * kEventsPerTask;
    const int64_t last = first + kEventsPerTask < packing.events ? first + kEventsPerTask : packing.events;
    int64_t sequence = sequence_of(packing, first);
    for (int64_t t = first; t < last; ++t) {
      while (t >= packing.offsets[sequence + 1]) ++sequence;
      f(t, packing.offsets[sequence], packing.offsets[sequence + 1]);
    }
  });
}

}  // namespace

void unfold_forward(const UnfoldForward& a, Workers& workers) {
  const int64_t origin = a.causal ? a.width - 1 : a.width / 2;
  over_events(a.packing, workers, [&](int64_t t, int64_t begin, int64_t end) {
    for (int64_t k = 0; k < a.width; ++k) {
      const int64_t from = t + a.dilation * (k - origin);
      float* out = a.out + (t * a.width + k) * a.channels;
      const bool inside = from >= begin && from < end;
      const float* x = a.x + (inside ? from : t) * a.channels;
      over_columns(a.channels,
                   [&](auto d, int64_t i) { hn::StoreU(inside ? hn::LoadU(d, x + i) : hn::Zero(d), d, out + i); });
    }
  });
}

void unfold_backward(const UnfoldBackward& a, Workers& workers) {
  const int64_t origin = a.causal ? a.width - 1 : a.width / 2;
  over_events(a.packing, workers, [&](int64_t t, int64_t begin, int64_t end) {
    float* dx = a.dx + t * a.channels;
    over_columns(a.channels, [&](auto d, int64_t i) {
      auto sum = a.accumulate_dx ? hn::LoadU(d, dx + i) : hn::Zero(d);
      for (int64_t k = 0; k < a.width; ++k) {
        const int64_t to = t - a.dilation * (k - origin);
        if (to < begin || to >= end) continue;
        sum = hn::Add(sum, hn::LoadU(d, a.dout + (to * a.width + k) * a.channels + i));
      }
      hn::StoreU(sum, d, dx + i);
    });
  });
}

}  // namespace seqrisk::SEQRISK_VARIANT
