// Where the sequences of a packed batch lie around the events that a block of threads works on.
#pragma once

#include "kernels/cuda/device-inl.cuh"

namespace seqrisk {
namespace cuda {

// sequence_of, by all lanes of a warp: 32 offsets a step.
__device__ inline int64_t warp_sequence_of(const Packing& packing, int64_t event) {
  int64_t low = 0;
  int64_t high = packing.sequences;
  const int64_t lane = threadIdx.x % kWarp;
  while (high - low > 1) {
    const int64_t step = ceil_div(high - low, kWarp);
    const int64_t at = low + lane * step;
    const unsigned before = __ballot_sync(kAllLanes, at < high && packing.offsets[at] <= event);
    const int64_t last = kWarp - 1 - __clz(static_cast<int>(before | 1u));
    low += last * step;
    if (low + step < high) high = low + step;
  }
  return low;
}

// The bounds of the sequences that `count` events from `first` on belong to, into shared memory; empty for events
// outside of the batch. `ends` is shared memory for two numbers. All threads of the block call it; threads of one axis.
__device__ inline void find_spans(const Packing& packing, int64_t first, int count, int2* spans, int64_t* ends) {
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  if (warp < 2) {
    int64_t event = warp == 0 ? first : first + count - 1;
    event = event < 0 ? 0 : event >= packing.events ? packing.events - 1 : event;
    const int64_t found = warp_sequence_of(packing, event);
    if (threadIdx.x % kWarp == 0) ends[warp] = found;
  }
  __syncthreads();
  for (int i = threadIdx.x; i < count; i += blockDim.x) {
    const int64_t event = first + i;
    int2 span = make_int2(0, 0);
    if (event >= 0 && event < packing.events) {
      int64_t low = ends[0];
      int64_t high = ends[1] + 1;
      while (high - low > 1) {
        const int64_t middle = low + (high - low) / 2;
        if (packing.offsets[middle] <= event) {
          low = middle;
        } else {
          high = middle;
        }
      }
      span = make_int2(packing.offsets[low], packing.offsets[low + 1]);
    }
    spans[i] = span;
  }
  __syncthreads();
}

}  // namespace cuda
}  // namespace seqrisk
