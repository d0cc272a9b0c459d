// Runs an element-wise kernel over all workers.
#pragma once

#include "kernels/cpu/columns-inl.h"
#include "ops/workers.h"

namespace seqrisk::SEQRISK_VARIANT {

constexpr int64_t kElementsPerTask = 1 << 15;

// Calls f(tag, i) for all elements, in tasks of kElementsPerTask.
template <class F>
void over_elements(Workers& workers, int64_t count, F f) {
  workers.run((count + kElementsPerTask - 1) / kElementsPerTask, [&](int64_t task, int) {
    const int64_t begin = task * kElementsPerTask;
    const int64_t left = count - begin;
    over_columns(left < kElementsPerTask ? left : kElementsPerTask, [&](auto d, int64_t i) { f(d, begin + i); });
  });
}

}  // namespace seqrisk::SEQRISK_VARIANT
