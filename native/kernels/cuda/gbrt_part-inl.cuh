// Rows of a leaf that find their places on its two sides, tile by tile.
#pragma once

#include "kernels/cuda/device-inl.cuh"
#include "ops/gbrt_grow.h"

namespace seqrisk {
namespace cuda {

constexpr int kPartThreads = 256;
constexpr int kPartWarps = kPartThreads / kWarp;
constexpr int kRowsEach = 4;
constexpr int64_t kTile = kPartThreads * kRowsEach;  // rows that find their places together
static_assert(kPartWarps * kRowsEach == kWarp, "a warp scans the counts of a tile");
__device__ inline uint32_t low_half(GbrtTally tally) {
  return static_cast<uint32_t>(tally);
}

// Rows first … first + kTile − 1 of a range: those that go left are written from the range's beginning on, the others
// from its end backwards. Returns which of the thread's rows went left, a bit each.
template <class RowAt, class GoesLeft>
__device__ unsigned part_tile(GbrtRange range, uint32_t first, uint32_t* to, GbrtTally* tally, const RowAt& row_at,
                              const GoesLeft& goes_left, uint32_t (&rows)[kRowsEach]) {
  __shared__ uint32_t lefts[kWarp];  // of a warp's k-th rows; then of all before them
  __shared__ uint32_t begin_left;
  __shared__ uint32_t begin_right;
  const int lane = threadIdx.x % kWarp;
  const int warp = threadIdx.x / kWarp;
  const uint32_t count = range.count - first < kTile ? range.count - first : static_cast<uint32_t>(kTile);
  unsigned masks[kRowsEach];
  unsigned own = 0;
#pragma unroll
  for (int k = 0; k < kRowsEach; ++k) {
    const uint32_t i = k * kPartThreads + threadIdx.x;
    rows[k] = i < count ? row_at(range.begin + first + i) : 0;
  }
#pragma unroll
  for (int k = 0; k < kRowsEach; ++k) {
    const bool left = k * kPartThreads + threadIdx.x < count && goes_left(rows[k]);
    masks[k] = __ballot_sync(kAllLanes, left);
    if (left) own |= 1u << k;
    if (lane == 0) lefts[k * kPartWarps + warp] = __popc(masks[k]);
  }
  __syncthreads();
  if (warp == 0) {
    const uint32_t mine = lefts[lane];
    uint32_t sum = mine;
    for (int step = 1; step < kWarp; step *= 2) {
      const uint32_t before = __shfl_up_sync(kAllLanes, sum, step);
      if (lane >= step) sum += before;
    }
    lefts[lane] = sum - mine;
    if (lane == kWarp - 1) {
      const GbrtTally before = atomicAdd(tally, static_cast<GbrtTally>(count - sum) << 32 | sum);
      begin_left = low_half(before);
      begin_right = static_cast<uint32_t>(before >> 32);
    }
  }
  __syncthreads();
#pragma unroll
  for (int k = 0; k < kRowsEach; ++k) {
    const uint32_t i = k * kPartThreads + threadIdx.x;
    if (i >= count) continue;
    const uint32_t before = lefts[k * kPartWarps + warp] + __popc(masks[k] & ((1u << lane) - 1));
    if (own >> k & 1) {
      to[range.begin + begin_left + before] = rows[k];
    } else {
      to[range.begin + range.count - 1 - (begin_right + i - before)] = rows[k];
    }
  }
  __syncthreads();  // the next tile writes what this one reads
  return own;
}

}  // namespace cuda
}  // namespace seqrisk
