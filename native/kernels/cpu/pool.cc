// pool on the CPU. Forward: a task takes some columns of the sequences that start in its stretch of events. Backward: a
// task takes a stretch of events.
#include "ops/pool.h"

#include "kernels/cpu/columns-inl.h"
#include "kernels/cpu/variant.h"
#include "ops/workers.h"

namespace seqrisk::SEQRISK_VARIANT {
namespace {

constexpr int64_t kEventsPerTask = 1024;
constexpr int64_t kColumnsPerTask = 64;
// Sums of long sequences are sums of sums of these many events: rounding grows with n / 256 + 256 instead of n.
constexpr int64_t kEventsPerSum = 256;

// The first sequence that starts at event t or later.
int64_t first_sequence_from(const Packing& packing, int64_t t) {
  int64_t low = 0;
  int64_t high = packing.sequences;
  while (low < high) {
    const int64_t middle = low + (high - low) / 2;
    if (packing.offsets[middle] < t) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

void pool_mean(const float* x, int64_t stride, int64_t events, float* out, int64_t columns) {
  const float share = 1.0f / static_cast<float>(events);
  over_blocks<4>(columns, [&](auto d, auto vectors, int64_t column) {
    constexpr int kVectors = decltype(vectors)::value;
    const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
    hn::Vec<decltype(d)> total[kVectors];
    for (int v = 0; v < kVectors; ++v) total[v] = hn::Zero(d);
    const float* row = x + column;
    for (int64_t begin = 0; begin < events; begin += kEventsPerSum) {
      const int64_t end = begin + kEventsPerSum < events ? begin + kEventsPerSum : events;
      hn::Vec<decltype(d)> sum[kVectors];
      for (int v = 0; v < kVectors; ++v) sum[v] = hn::Zero(d);
      for (int64_t event = begin; event < end; ++event, row += stride) {
        for (int v = 0; v < kVectors; ++v) sum[v] = hn::Add(sum[v], hn::LoadU(d, row + v * lanes));
      }
      for (int v = 0; v < kVectors; ++v) total[v] = hn::Add(total[v], sum[v]);
    }
    for (int v = 0; v < kVectors; ++v) {
      hn::StoreU(hn::Mul(total[v], hn::Set(d, share)), d, out + column + v * lanes);
    }
  });
}

template <bool kWithArgmax>
void pool_max(const float* x, int64_t stride, int64_t events, float* out, int32_t* argmax, int64_t columns) {
  over_blocks<4>(columns, [&](auto d, auto vectors, int64_t column) {
    constexpr int kVectors = decltype(vectors)::value;
    const hn::RebindToSigned<decltype(d)> di;
    const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
    hn::Vec<decltype(d)> best[kVectors];
    hn::Vec<decltype(di)> where[kVectors];
    const float* row = x + column;
    for (int v = 0; v < kVectors; ++v) {
      best[v] = hn::LoadU(d, row + v * lanes);
      where[v] = hn::Zero(di);
    }
    row += stride;
    for (int64_t event = 1; event < events; ++event, row += stride) {
      const auto now = hn::Set(di, static_cast<int32_t>(event));
      for (int v = 0; v < kVectors; ++v) {
        const auto value = hn::LoadU(d, row + v * lanes);
        const auto better = hn::Or(hn::Gt(value, best[v]), hn::IsNaN(value));
        best[v] = hn::IfThenElse(better, value, best[v]);
        if constexpr (kWithArgmax) where[v] = hn::IfThenElse(hn::RebindMask(di, better), now, where[v]);
      }
    }
    for (int v = 0; v < kVectors; ++v) {
      hn::StoreU(best[v], d, out + column + v * lanes);
      if constexpr (kWithArgmax) hn::StoreU(where[v], di, argmax + column + v * lanes);
    }
  });
}

void copy_row(const float* from, float* to, int64_t columns) {
  over_columns(columns, [&](auto d, int64_t i) { hn::StoreU(hn::LoadU(d, from + i), d, to + i); });
}

void zero_row(float* to, int64_t columns) {
  over_columns(columns, [&](auto d, int64_t i) { hn::StoreU(hn::Zero(d), d, to + i); });
}

// dx = value(tag, column), or dx += it.
template <class Value>
HWY_INLINE void put_row(float* dx, int64_t columns, bool accumulate, Value value) {
  over_columns(columns, [&](auto d, int64_t i) {
    const auto now = value(d, i);
    hn::StoreU(accumulate ? hn::Add(hn::LoadU(d, dx + i), now) : now, d, dx + i);
  });
}

}  // namespace

void pool_forward(const PoolForward& a, Workers& workers) {
  const int64_t slices = (a.width + kColumnsPerTask - 1) / kColumnsPerTask;
  const int64_t stretches = a.packing.events / kEventsPerTask + 1;  // the last one holds empty sequences at the end
  workers.run(stretches * slices, [&](int64_t task, int) {
    const int64_t stretch = task / slices;
    const int64_t column = task % slices * kColumnsPerTask;
    const int64_t columns = column + kColumnsPerTask < a.width ? kColumnsPerTask : a.width - column;
    const int64_t first = first_sequence_from(a.packing, stretch * kEventsPerTask);
    const int64_t last = first_sequence_from(a.packing, (stretch + 1) * kEventsPerTask);
    for (int64_t s = first; s < last; ++s) {
      const int64_t begin = a.packing.offsets[s];
      const int64_t events = a.packing.offsets[s + 1] - begin;
      const float* x = a.x + begin * a.width + column;
      float* out = a.out + s * a.width + column;
      int32_t* argmax = a.argmax ? a.argmax + s * a.width + column : nullptr;
      if (events == 0) {
        zero_row(out, columns);
        for (int64_t i = 0; argmax && i < columns; ++i) argmax[i] = -1;
      } else if (a.mode == PoolMode::mean) {
        pool_mean(x, a.width, events, out, columns);
      } else if (a.mode == PoolMode::last) {
        copy_row(x + (events - 1) * a.width, out, columns);
      } else if (argmax) {
        pool_max<true>(x, a.width, events, out, argmax, columns);
      } else {
        pool_max<false>(x, a.width, events, out, nullptr, columns);
      }
    }
  });
}

void pool_backward(const PoolBackward& a, Workers& workers) {
  workers.run((a.packing.events + kEventsPerTask - 1) / kEventsPerTask, [&](int64_t task, int) {
    const int64_t end = task * kEventsPerTask + kEventsPerTask;
    int64_t event = task * kEventsPerTask;
    int64_t s = sequence_of(a.packing, event);
    for (; event < end && event < a.packing.events; ++event) {
      while (a.packing.offsets[s + 1] <= event) ++s;
      const int64_t position = event - a.packing.offsets[s];
      const int64_t events = a.packing.offsets[s + 1] - a.packing.offsets[s];
      const float* dout = a.dout + s * a.width;
      float* dx = a.dx + event * a.width;
      if (a.mode == PoolMode::mean) {
        const float share = 1.0f / static_cast<float>(events);
        put_row(dx, a.width, a.accumulate_dx,
                [&](auto d, int64_t i) { return hn::Mul(hn::LoadU(d, dout + i), hn::Set(d, share)); });
      } else if (a.mode == PoolMode::max) {
        const int32_t* argmax = a.argmax + s * a.width;
        put_row(dx, a.width, a.accumulate_dx, [&](auto d, int64_t i) {
          const hn::RebindToSigned<decltype(d)> di;
          const auto here = hn::Eq(hn::LoadU(di, argmax + i), hn::Set(di, static_cast<int32_t>(position)));
          return hn::IfThenElseZero(hn::RebindMask(d, here), hn::LoadU(d, dout + i));
        });
      } else if (position == events - 1) {
        put_row(dx, a.width, a.accumulate_dx, [&](auto d, int64_t i) { return hn::LoadU(d, dout + i); });
      } else if (!a.accumulate_dx) {
        zero_row(dx, a.width);
      }
    }
  });
}

}  // namespace seqrisk::SEQRISK_VARIANT
