// Split search by half a block of threads, one for each bin of a feature: the CPU's gains, bin by bin, and its ties.
// Both halves take the same way, each for a node of its own, so that they wait for each other at the same places.
#pragma once

#include "kernels/cuda/device-inl.cuh"
#include "ops/gbrt_gain.h"

namespace seqrisk {
namespace cuda {

constexpr int kHalf = static_cast<int>(kGbrtCells);
constexpr int kSearchThreads = 2 * kHalf;
constexpr int kHalfWarps = kHalf / kWarp;

struct Found {
  double gain;
  int64_t at;
};
__device__ inline Found better(const Found& a, const Found& b) {
  return b.gain > a.gain || (b.gain == a.gain && b.at < a.at) ? b : a;
}
__device__ inline Found warp_best(Found own) {
  for (int step = kWarp / 2; step > 0; step /= 2) {
    const Found other{__shfl_xor_sync(kAllLanes, own.gain, step), __shfl_xor_sync(kAllLanes, own.at, step)};
    own = better(own, other);
  }
  return own;
}

// Of one half.
struct SearchMemory {
  int64_t cells[2 * kGbrtCells];
  double ratio[kGbrtCells];
  int16_t order[kGbrtCells];
  bool is_listed[kGbrtCells];
  int64_t sums[kHalfWarps][3];
  Found found[kHalfWarps];
  double uncounted;
  int used;
};

// The largest gain of the half's threads, the lowest place among equals. Every thread gets it.
__device__ inline Found best_of_half(Found own, SearchMemory& m) {
  own = warp_best(own);
  __syncthreads();
  if (threadIdx.x % kWarp == 0) m.found[threadIdx.x % kHalf / kWarp] = own;
  __syncthreads();
  return warp_best(m.found[threadIdx.x % kHalfWarps]);
}

// Sums over the half's threads up to and with this one, of three numbers.
__device__ inline void scan(int64_t (&value)[3], SearchMemory& m) {
  const int lane = threadIdx.x % kWarp;
  const int warp = threadIdx.x % kHalf / kWarp;
  for (int step = 1; step < kWarp; step *= 2) {
    for (int64_t& own : value) {
      const int64_t before = __shfl_up_sync(kAllLanes, own, step);
      if (lane >= step) own += before;
    }
  }
  for (int k = 0; lane == kWarp - 1 && k < 3; ++k) m.sums[warp][k] = value[k];
  __syncthreads();
  for (int w = 0; w < kHalfWarps; ++w) {
    for (int k = 0; k < 3; ++k) value[k] += w < warp ? m.sums[w][k] : 0;
  }
}

__device__ inline void search_numeric(SearchMemory& m, const GbrtFeature& feature, const GbrtTotals& t,
                                      const GbrtSearch& s, int sign, GbrtSplit* best) {
  const int b = static_cast<int>(threadIdx.x) % kHalf;
  const int bins = feature.bins;
  if (bins < 1) return;
  const bool is_bin = b < bins;
  const int64_t own_h = is_bin ? m.cells[kGbrtCells + b] : 0;
  int64_t sums[3] = {is_bin ? m.cells[b] : 0, own_h,
                     is_bin ? gbrt_whole_count(static_cast<double>(own_h) * s.h_unit, t.per_hessian) : 0};
  scan(sums, m);
  const auto [g, h, counted] = sums;
  const int64_t nan_g = feature.has_nan ? m.cells[bins] : 0;
  const int64_t nan_h = feature.has_nan ? m.cells[kGbrtCells + bins] : 0;
  const bool any_nan = nan_g != 0 || nan_h != 0;
  // Rows that rounding loses bin by bin belong to the left side.
  if (b == bins - 1) m.uncounted = t.count - static_cast<double>(counted);
  __syncthreads();
  double gl = static_cast<double>(g) * s.g_unit;
  double hl = static_cast<double>(h) * s.h_unit;
  double rows = static_cast<double>(counted);
  if (!any_nan) rows += m.uncounted;
  const int candidates = any_nan && !feature.ends_infinite ? bins : bins - 1;
  const Found right = best_of_half({b < candidates ? gbrt_numeric_gain(gl, hl, rows, t, s, sign) : kGbrtNoGain, b}, m);
  const bool found_right = right.gain > kGbrtNoGain;
  const double right_hl = hl;
  Found left{kGbrtNoGain, 0};
  if (feature.has_nan && bins > 1) {
    gl += static_cast<double>(nan_g) * s.g_unit;
    hl += static_cast<double>(nan_h) * s.h_unit;
    rows += m.uncounted;
    const bool tries = any_nan && b < bins - 1;
    left = best_of_half({tries ? gbrt_numeric_gain(gl, hl, rows, t, s, sign) : kGbrtNoGain, b}, m);
  }
  const bool takes_left = left.gain > kGbrtNoGain && (!found_right || left.gain - t.shift > right.gain - t.shift);
  if (!takes_left && !found_right) return;
  const Found& chosen = takes_left ? left : right;
  if (b != chosen.at) return;
  best->gain = chosen.gain - t.shift;
  best->bin = static_cast<int16_t>(b);
  best->nan_left = takes_left || (!any_nan && 2 * right_hl >= t.h);
  best->is_category = false;
  best->left_g = takes_left ? g + nan_g : g;
  best->left_h = takes_left ? h + nan_h : h;
  best->left_count = gbrt_rounded_count(takes_left ? hl : right_hl, t.per_hessian);
}

__device__ inline void search_categories(SearchMemory& m, const GbrtFeature& feature, const GbrtTotals& t,
                                         const GbrtSearch& s, GbrtSplit* best) {
  const int b = static_cast<int>(threadIdx.x) % kHalf;
  const bool one_hot = gbrt_is_onehot(feature, s);
  // The unknown always goes right.
  double ratio = 0;
  const bool is_listed =
      b >= 1 && b < feature.bins && gbrt_category_ratio(m.cells[b], m.cells[kGbrtCells + b], one_hot, t, s, &ratio);
  m.ratio[b] = ratio;
  m.is_listed[b] = is_listed;
  if (b == 0) m.used = 0;
  __syncthreads();
  int rank = 0;
  for (int other = 1; is_listed && other < feature.bins; ++other) {
    if (!m.is_listed[other]) continue;
    const bool is_before = one_hot ? other < b : m.ratio[other] < ratio || (m.ratio[other] == ratio && other < b);
    rank += is_before ? 1 : 0;
  }
  if (is_listed) {
    m.order[rank] = static_cast<int16_t>(b);
    atomicAdd(&m.used, 1);
  }
  __syncthreads();
  if (b == 0) gbrt_search_listed(m.cells, m.order, m.used, one_hot, t, s, best);
}

}  // namespace cuda
}  // namespace seqrisk
