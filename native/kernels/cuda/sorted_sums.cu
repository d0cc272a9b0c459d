// A stable radix sort of terms by their place, then a walk along the sorted terms: a warp takes a stretch of them.
#include "kernels/cuda/sorted_sums.h"

#include "kernels/cuda/device-inl.cuh"

namespace seqrisk {
namespace cuda {
namespace {

// The sort: digits of eight bits, the lowest first. A block takes a stretch of the terms, and each of its warps a part
// of it. Blocks are few enough that a warp scans a digit's counts at once.
constexpr int kDigitBits = 8;
constexpr int kDigits = 1 << kDigitBits;
constexpr int kSortThreads = kDigits;  // one for each digit
constexpr int kSortWarps = kSortThreads / kWarp;
constexpr int kCountsPerLane = 16;
constexpr int64_t kMostSortBlocks = kCountsPerLane * kWarp;
constexpr int64_t kLeastPerBlock = 4 * kSortThreads;

struct SortCut {
  int64_t per_warp;  // whole warps of terms
  unsigned blocks;
  int passes;

  SortCut(int64_t count, int64_t largest) : passes(1) {
    const int64_t per_block = ceil_div(count, kMostSortBlocks);
    per_warp = ceil_div(per_block < kLeastPerBlock ? kLeastPerBlock : per_block, kSortThreads) * kWarp;
    blocks = blocks_of(count, per_warp * kSortWarps);
    while (passes * kDigitBits < 32 && (largest >> (passes * kDigitBits)) > 0) ++passes;
  }
};

// Where terms come from in a pass: as they are in the first one, else in the order of the one before.
struct Source {
  const int32_t* keys;
  const int32_t* picks;  // null in the first
  int64_t count;
  int64_t places;
  int64_t otherwise;
  int shift;

  __device__ int32_t key(int64_t i) const {
    const int32_t key = keys[i];
    return picks || (key >= 0 && key < places) ? key : static_cast<int32_t>(otherwise);
  }
  __device__ int digit(int32_t key) const { return key >> shift & (kDigits - 1); }
  __device__ int32_t pick(int64_t i) const { return picks ? picks[i] : static_cast<int32_t>(i); }
};

// counts[digit, block]
__global__ void __launch_bounds__(kSortThreads) count_kernel(Source source, int64_t per_block, int32_t* counts) {
  __shared__ int32_t own[kDigits];
  own[threadIdx.x] = 0;
  __syncthreads();
  const int64_t first = blockIdx.x * per_block;
  const int64_t last = first + per_block < source.count ? first + per_block : source.count;
  for (int64_t i = first + threadIdx.x; i < last; i += kSortThreads) atomicAdd(own + source.digit(source.key(i)), 1);
  __syncthreads();
  counts[static_cast<int64_t>(threadIdx.x) * gridDim.x + blockIdx.x] = own[threadIdx.x];
}

__device__ inline int32_t warp_sum_up_to(int32_t value) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  for (int step = 1; step < kWarp; step *= 2) {
    const int32_t before = __shfl_up_sync(kAllLanes, value, step);
    if (lane >= step) value += before;
  }
  return value;
}

// Counts become the sums of the counts before them, digit by digit; totals[digit] is the sum of all. A warp has a
// digit.
__global__ void __launch_bounds__(kSortThreads) scan_kernel(int32_t* counts, int blocks, int32_t* totals) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int digit = static_cast<int>(blockIdx.x) * kSortWarps + static_cast<int>(threadIdx.x) / kWarp;
  int32_t* own = counts + static_cast<int64_t>(digit) * blocks;
  int32_t values[kCountsPerLane];
  int32_t sum = 0;
#pragma unroll
  for (int i = 0; i < kCountsPerLane; ++i) {
    const int at = lane * kCountsPerLane + i;
    values[i] = at < blocks ? own[at] : 0;
    sum += values[i];
  }
  const int32_t up_to = warp_sum_up_to(sum);
  int32_t before = up_to - sum;
#pragma unroll
  for (int i = 0; i < kCountsPerLane; ++i) {
    const int at = lane * kCountsPerLane + i;
    if (at < blocks) own[at] = before;
    before += values[i];
  }
  if (lane == kWarp - 1) totals[digit] = up_to;
}

__global__ void __launch_bounds__(kSortThreads) scatter_kernel(Source source, int64_t per_warp, const int32_t* counts,
                                                               const int32_t* totals, int32_t* keys, int32_t* picks) {
  __shared__ int32_t next[kSortWarps][kDigits];  // where a warp's next term of a digit goes
  __shared__ int32_t warp_totals[kSortWarps];
  const int thread = static_cast<int>(threadIdx.x);
  const int lane = thread % kWarp;
  const int warp = thread / kWarp;
  for (int w = 0; w < kSortWarps; ++w) next[w][thread] = 0;
  const int32_t total = totals[thread];
  const int32_t up_to = warp_sum_up_to(total);
  if (lane == kWarp - 1) warp_totals[warp] = up_to;
  __syncthreads();
  const int64_t first = (static_cast<int64_t>(blockIdx.x) * kSortWarps + warp) * per_warp;
  const int64_t last = first + per_warp < source.count ? first + per_warp : source.count;
  for (int64_t i = first + lane; i < last; i += kWarp) atomicAdd(&next[warp][source.digit(source.key(i))], 1);
  __syncthreads();
  // Behind all terms of lower digits, of earlier blocks, of earlier warps.
  int32_t at = up_to - total + counts[static_cast<int64_t>(thread) * gridDim.x + blockIdx.x];
  for (int w = 0; w < warp; ++w) at += warp_totals[w];
  for (int w = 0; w < kSortWarps; ++w) {
    const int32_t own = next[w][thread];
    next[w][thread] = at;
    at += own;
  }
  __syncthreads();
  for (int64_t some = first; some < last; some += kWarp) {
    const int64_t i = some + lane;
    const bool is_term = i < last;
    const int32_t key = is_term ? source.key(i) : 0;
    const int digit = is_term ? source.digit(key) : kDigits;
    const unsigned same = __match_any_sync(kAllLanes, digit);
    const int rank = __popc(same & ((1u << lane) - 1));
    if (is_term) {
      const int32_t to = next[warp][digit] + rank;
      keys[to] = key;
      picks[to] = source.pick(i);
    }
    __syncwarp();
    if (is_term && rank == 0) next[warp][digit] += __popc(same);
    __syncwarp();
  }
}

// The walk: stretches of kStretch sorted terms. What a place has in one stretch alone goes to it; where it has terms in
// several, each leaves what it has: in `tails` where they begin, in `heads` where they go on.
constexpr int kStretch = kWarp;
constexpr int kWalkWarps = 8;

struct Sorted {
  const int32_t* keys;
  const int32_t* picks;
  float* heads;  // (stretches, width)
  float* tails;
};

template <int V>
__device__ inline Floats<V> sum_of(const Floats<V>& a, const Floats<V>& b) {
  Floats<V> sum;
  for (int v = 0; v < V; ++v) sum.at[v] = a.at[v] + b.at[v];
  return sum;
}

// Stretches are the first axis of the grid, groups of columns the second.
template <int V>
__global__ void __launch_bounds__(kWarp* kWalkWarps) walk_kernel(SortedSums a, Sorted sorted) {
  constexpr int kAtOnce = 8;
  const int lane = static_cast<int>(threadIdx.x);
  const int64_t stretch = static_cast<int64_t>(blockIdx.x) * kWalkWarps + threadIdx.y;
  const int64_t first = stretch * kStretch;
  if (first >= a.count) return;
  const int64_t column = (static_cast<int64_t>(blockIdx.y) * kWarp + lane) * V;
  const bool inside = column < a.width;
  const int terms = a.count - first < kStretch ? static_cast<int>(a.count - first) : kStretch;
  const int64_t own = first + (lane < terms ? lane : terms - 1);
  const int32_t key = sorted.keys[own];
  const int32_t pick = sorted.picks[own];
  const int32_t next = first + lane + 1 < a.count ? sorted.keys[first + lane + 1] : -1;
  const bool goes_on = first > 0 && sorted.keys[first - 1] == __shfl_sync(kAllLanes, key, 0);
  const unsigned ends = __ballot_sync(kAllLanes, lane < terms && next != key);  // of places' terms
  const float* from = a.from + (inside ? column : 0);
  bool is_head = goes_on;
  Floats<V> sum{};
  for (int some = 0; some < terms; some += kAtOnce) {
    Floats<V> values[kAtOnce];
    Floats<V> before[kAtOnce];
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) {
      const int64_t row = __shfl_sync(kAllLanes, pick, some + i);
      values[i] = load<V>(from + row * a.stride);
    }
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) {
      const int64_t place = __shfl_sync(kAllLanes, key, some + i);
      const bool adds = a.adds && inside && place < a.places && (ends >> (some + i) & 1u);
      before[i] = adds ? load<V>(a.to + place * a.width + column) : Floats<V>{};
    }
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) {
      if (some + i >= terms) break;
      sum = sum_of(sum, values[i]);
      if (!(ends >> (some + i) & 1u)) continue;
      const int64_t place = __shfl_sync(kAllLanes, key, some + i);
      if (is_head) {
        if (inside) store<V>(sorted.heads + stretch * a.width + column, sum);
      } else if (inside && place < a.places) {
        store<V>(a.to + place * a.width + column, sum_of(before[i], sum));
      }
      is_head = false;
      sum = Floats<V>{};
    }
  }
  if ((ends >> (terms - 1) & 1u) || !inside) return;
  store<V>((is_head ? sorted.heads : sorted.tails) + stretch * a.width + column, sum);
}

// The places that have terms in several stretches: a warp takes the one whose terms begin in its stretch, or, where
// they are many, all of the block's warps do.
template <int V>
__global__ void __launch_bounds__(kWarp* kWalkWarps) join_kernel(SortedSums a, Sorted sorted) {
  constexpr int64_t kMany = 32;
  __shared__ int64_t last_of[kWalkWarps];
  __shared__ Floats<V> sums[kWalkWarps][kWarp];
  const int lane = static_cast<int>(threadIdx.x);
  const int warp = static_cast<int>(threadIdx.y);
  const int64_t stretches = ceil_div(a.count, kStretch);
  const int64_t first_stretch = static_cast<int64_t>(blockIdx.x) * kWalkWarps;
  const int64_t column = (static_cast<int64_t>(blockIdx.y) * kWarp + lane) * V;
  const bool inside = column < a.width;
  // The sum of every step-th of the heads from `begin` to `end`.
  const auto sum_heads = [&](int64_t begin, int64_t end, int step) {
    Floats<V> sum{};
#pragma unroll 8
    for (int64_t i = begin; i < end; i += step) sum = sum_of(sum, load<V>(sorted.heads + i * a.width + column));
    return sum;
  };
  const auto add = [&](int64_t stretch, const Floats<V>& more) {
    float* to = a.to + sorted.keys[(stretch + 1) * kStretch - 1] * a.width + column;
    Floats<V> sum = sum_of(load<V>(sorted.tails + stretch * a.width + column), more);
    if (a.adds) sum = sum_of(load<V>(to), sum);
    store<V>(to, sum);
  };
  const int64_t stretch = first_stretch + warp;
  int64_t last = stretch;  // that has terms of the place, if it begins here
  if (stretch + 1 < stretches) {
    const int64_t end = (stretch + 1) * kStretch;
    const int32_t key = sorted.keys[end - 1];
    const int64_t first = end - kStretch;
    const bool begins = sorted.keys[first] != key || first == 0 || sorted.keys[first - 1] != key;
    if (begins && key < a.places && sorted.keys[end] == key) {
      int64_t low = stretch + 1;
      int64_t high = stretches;
      if (low + 1 < high && sorted.keys[(low + 1) * kStretch] != key) high = low + 1;
      while (high - low > 1) {
        const int64_t middle = low + (high - low) / 2;
        if (sorted.keys[middle * kStretch] == key) {
          low = middle;
        } else {
          high = middle;
        }
      }
      last = low;
    }
  }
  const bool many = last - stretch > kMany;
  if (inside && last > stretch && !many) add(stretch, sum_heads(stretch + 1, last + 1, 1));
  if (lane == 0) last_of[warp] = many ? last : -1;
  if (!__syncthreads_or(many)) return;
  for (int w = 0; w < kWalkWarps; ++w) {
    if (last_of[w] < 0) continue;
    const int64_t begin = first_stretch + w;
    if (inside) sums[warp][lane] = sum_heads(begin + 1 + warp, last_of[w] + 1, kWalkWarps);
    __syncthreads();
    if (warp == 0 && inside) {
      Floats<V> sum = sums[0][lane];
      for (int other = 1; other < kWalkWarps; ++other) sum = sum_of(sum, sums[other][lane]);
      add(begin, sum);
    }
    __syncthreads();
  }
}

template <int V>
void walk(const SortedSums& a, const Sorted& sorted, Launch& launch) {
  const int64_t stretches = ceil_div(a.count, kStretch);
  const dim3 blocks(blocks_of(stretches, kWalkWarps), blocks_of(a.width, kWarp * V));
  const dim3 threads(kWarp, kWalkWarps);
  walk_kernel<V><<<blocks, threads, 0, launch.stream>>>(a, sorted);
  if (stretches > 1) join_kernel<V><<<blocks, threads, 0, launch.stream>>>(a, sorted);
}

int64_t rounded(int64_t words) {
  return ceil_div(words, 4) * 4;
}

}  // namespace

size_t sorted_sums_bytes(int64_t count, int64_t width) {
  const SortCut cut(count, 0);
  const int64_t counts = rounded(int64_t{kDigits} * cut.blocks);
  const int64_t words = 4 * rounded(count) + counts + kDigits + 2 * rounded(ceil_div(count, kStretch) * width);
  return static_cast<size_t>(words) * sizeof(int32_t);
}

void add_sorted_sums(const SortedSums& a, void* memory, Launch& launch) {
  if (a.count == 0 || a.width == 0) return;
  const SortCut cut(a.count, a.otherwise < a.places ? a.places - 1 : a.otherwise);
  int32_t* next = static_cast<int32_t*>(memory);
  const auto take = [&](int64_t words) {
    int32_t* taken = next;
    next += rounded(words);
    return taken;
  };
  int32_t* keys[2] = {take(a.count), take(a.count)};
  int32_t* picks[2] = {take(a.count), take(a.count)};
  int32_t* counts = take(int64_t{kDigits} * cut.blocks);
  int32_t* totals = take(kDigits);
  const int64_t heads = ceil_div(a.count, kStretch) * a.width;
  Source source{a.place, nullptr, a.count, a.places, a.otherwise, 0};
  for (int pass = 0; pass < cut.passes; ++pass) {
    const int to = pass % 2;
    count_kernel<<<cut.blocks, kSortThreads, 0, launch.stream>>>(source, cut.per_warp * kSortWarps, counts);
    scan_kernel<<<kDigits / kSortWarps, kSortThreads, 0, launch.stream>>>(counts, static_cast<int>(cut.blocks), totals);
    scatter_kernel<<<cut.blocks, kSortThreads, 0, launch.stream>>>(source, cut.per_warp, counts, totals, keys[to],
                                                                   picks[to]);
    source.keys = keys[to];
    source.picks = picks[to];
    source.shift += kDigitBits;
  }
  Sorted sorted{source.keys, source.picks, reinterpret_cast<float*>(take(heads)), nullptr};
  sorted.tails = reinterpret_cast<float*>(take(heads));
  const bool wide = is_wide(a.width, a.from, a.to) && is_wide(a.stride);
  wide ? walk<4>(a, sorted, launch) : walk<1>(a, sorted, launch);
}

}  // namespace cuda
}  // namespace seqrisk
