// Split search by a block of threads, one for each bin of a feature: the CPU's gains, bin by bin, and its ties.
#pragma once

#include "kernels/cuda/device-inl.cuh"
#include "ops/gbrt_gain.h"

namespace seqrisk {
namespace cuda {

constexpr int kSearchThreads = static_cast<int>(kGbrtCells);
constexpr int kSearchWarps = kSearchThreads / kWarp;

// Sums over the threads up to and with this one.
__device__ inline int64_t scan(int64_t value, int64_t* shared) {
  const int lane = threadIdx.x % kWarp;
  const int warp = threadIdx.x / kWarp;
  for (int step = 1; step < kWarp; step *= 2) {
    const int64_t before = __shfl_up_sync(kAllLanes, value, step);
    if (lane >= step) value += before;
  }
  __syncthreads();
  if (lane == kWarp - 1) shared[warp] = value;
  __syncthreads();
  for (int w = 0; w < warp; ++w) value += shared[w];
  return value;
}

struct Found {
  double gain;
  int64_t at;
};
__device__ inline Found better(const Found& a, const Found& b) {
  return b.gain > a.gain || (b.gain == a.gain && b.at < a.at) ? b : a;
}
// The largest gain of all threads, the lowest place among equals. Every thread gets it.
__device__ inline Found best_of_block(Found own, Found* shared) {
  for (int step = kWarp / 2; step > 0; step /= 2) {
    const Found other{__shfl_xor_sync(kAllLanes, own.gain, step), __shfl_xor_sync(kAllLanes, own.at, step)};
    own = better(own, other);
  }
  __syncthreads();
  if (threadIdx.x % kWarp == 0) shared[threadIdx.x / kWarp] = own;
  __syncthreads();
  own = shared[0];
  for (unsigned w = 1; w < blockDim.x / kWarp; ++w) own = better(own, shared[w]);
  return own;
}

struct SearchMemory {
  int64_t cells[2 * kGbrtCells];
  double ratio[kGbrtCells];
  int16_t order[kGbrtCells];
  int64_t sums[kSearchWarps];
  Found found[kSearchWarps];
  double uncounted;
};

__device__ inline void search_numeric(SearchMemory& m, const GbrtFeature& feature, const GbrtTotals& t,
                                      const GbrtSearch& s, int sign, GbrtSplit* best) {
  const int b = static_cast<int>(threadIdx.x);
  const int bins = feature.bins;
  if (bins < 1) return;
  const bool is_bin = b < bins;
  const int64_t own_g = is_bin ? m.cells[b] : 0;
  const int64_t own_h = is_bin ? m.cells[kGbrtCells + b] : 0;
  const int64_t g = scan(own_g, m.sums);
  const int64_t h = scan(own_h, m.sums);
  const int64_t counted =
      scan(is_bin ? gbrt_whole_count(static_cast<double>(own_h) * s.h_unit, t.per_hessian) : 0, m.sums);
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
  const Found right =
      best_of_block({b < candidates ? gbrt_numeric_gain(gl, hl, rows, t, s, sign) : kGbrtNoGain, b}, m.found);
  const bool found_right = right.gain > kGbrtNoGain;
  const double right_hl = hl;
  Found left{kGbrtNoGain, 0};
  if (any_nan && bins > 1) {
    gl += static_cast<double>(nan_g) * s.g_unit;
    hl += static_cast<double>(nan_h) * s.h_unit;
    rows += m.uncounted;
    left = best_of_block({b < bins - 1 ? gbrt_numeric_gain(gl, hl, rows, t, s, sign) : kGbrtNoGain, b}, m.found);
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
  const int b = static_cast<int>(threadIdx.x);
  const bool one_hot = gbrt_is_onehot(feature, s);
  // The unknown always goes right.
  double ratio = 0;
  const bool is_listed =
      b >= 1 && b < feature.bins && gbrt_category_ratio(m.cells[b], m.cells[kGbrtCells + b], one_hot, t, s, &ratio);
  // Those that are not listed come last.
  m.ratio[b] = ratio;
  m.order[b] = is_listed ? 1 : 0;
  __syncthreads();
  int rank = 0;
  for (int other = 1; is_listed && other < feature.bins; ++other) {
    if (!m.order[other]) continue;
    const bool is_before = one_hot ? other < b : m.ratio[other] < ratio || (m.ratio[other] == ratio && other < b);
    rank += is_before ? 1 : 0;
  }
  const int64_t used = __syncthreads_count(is_listed);
  if (is_listed) m.order[rank] = static_cast<int16_t>(b);
  __syncthreads();
  if (b == 0) gbrt_search_listed(m.cells, m.order, used, one_hot, t, s, best);
}

}  // namespace cuda
}  // namespace seqrisk
