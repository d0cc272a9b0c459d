// gbrt_grow on CUDA: a tree without the host. Each split is three kernels of sizes that the host does not know: the
// leaf's rows are parted, one child's histogram is built, and both children are searched; the last block of the search
// then picks the next leaf. Kernels behind the last split find nothing to do.
#include "kernels/cuda/gbrt_cells-inl.cuh"
#include "kernels/cuda/gbrt_search-inl.cuh"
#include "ops/gbrt_grow.h"

namespace seqrisk {
namespace cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / kWarp;
constexpr int kRowsEach = 4;
constexpr int64_t kTile = kThreads * kRowsEach;  // rows that find their places together
static_assert(kWarps * kRowsEach == kWarp, "a warp scans the counts of a tile");
constexpr int64_t kLeastRows = 512;  // of a block that builds a histogram
constexpr int kBlocksEach = 8;       // of a multiprocessor
static_assert(kSearchThreads == kThreads && kCellThreads == kThreads);

__device__ uint32_t low_half(GbrtTally tally) {
  return static_cast<uint32_t>(tally);
}

// Rows first … first + kTile − 1 of a range: those that go left are written from the range's beginning on, the others
// from its end backwards. Returns which of the thread's rows went left, a bit each.
template <class RowAt, class GoesLeft>
__device__ unsigned part_tile(GbrtRange range, uint32_t first, uint32_t* to, GbrtTally* tally, const RowAt& row_at,
                              const GoesLeft& goes_left, uint32_t (&rows)[kRowsEach]) {
  __shared__ uint32_t lefts[kWarp];  // of a warp's k-th rows; then of all before them
  __shared__ uint32_t begin_left, begin_right;
  const int lane = threadIdx.x % kWarp;
  const int warp = threadIdx.x / kWarp;
  const uint32_t count = range.count - first < kTile ? range.count - first : static_cast<uint32_t>(kTile);
  unsigned masks[kRowsEach];
  unsigned own = 0;
#pragma unroll
  for (int k = 0; k < kRowsEach; ++k) {
    const uint32_t i = k * kThreads + threadIdx.x;
    rows[k] = i < count ? row_at(range.begin + first + i) : 0;
  }
#pragma unroll
  for (int k = 0; k < kRowsEach; ++k) {
    const bool left = k * kThreads + threadIdx.x < count && goes_left(rows[k]);
    masks[k] = __ballot_sync(kAllLanes, left);
    if (left) own |= 1u << k;
    if (lane == 0) lefts[k * kWarps + warp] = __popc(masks[k]);
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
    const uint32_t i = k * kThreads + threadIdx.x;
    if (i >= count) continue;
    const uint32_t before = lefts[k * kWarps + warp] + __popc(masks[k] & ((1u << lane) - 1));
    if (own >> k & 1) {
      to[range.begin + begin_left + before] = rows[k];
    } else {
      to[range.begin + range.count - 1 - (begin_right + i - before)] = rows[k];
    }
  }
  __syncthreads();  // the next tile writes what this one reads
  return own;
}

// The rows that train, then the others, to list 0.
__global__ void __launch_bounds__(kThreads) list_kernel(GbrtGrow a) {
  uint32_t rows[kRowsEach];
  const GbrtRange all{0, static_cast<uint32_t>(a.bins.rows)};
  part_tile(
      all, blockIdx.x * static_cast<uint32_t>(kTile), a.order, &a.growing->rows_in, [](uint32_t i) { return i; },
      [&](uint32_t row) { return a.trains[row] != 0; }, rows);
}

__device__ GbrtRange root_rows(const GbrtGrow& a) {
  return {0, a.trains ? low_half(a.growing->rows_in) : static_cast<uint32_t>(a.bins.rows)};
}

// The root of a tree whose rows all train has no list.
__device__ const uint32_t* list_of(const GbrtGrow& a, int32_t list) {
  return list < 0 ? nullptr : a.order + list * a.bins.rows;
}

__global__ void __launch_bounds__(kThreads) part_kernel(GbrtGrow a) {
  GbrtGrowing& s = *a.growing;
  if (s.at < 0) return;
  const GbrtCardLeaf& parent = s.parent;
  if (s.needed) {
    // The fresh child's histogram starts from nothing.
    const int64_t size = a.bins.features * 2 * kGbrtCells;
    int64_t* fresh = a.histograms + s.right * size;
    for (int64_t i = blockIdx.x * kThreads + threadIdx.x; i < size; i += static_cast<int64_t>(gridDim.x) * kThreads) {
      fresh[i] = 0;
    }
  }
  const int64_t feature = parent.split.feature;
  const GbrtGroup group = a.bins.group_of(feature);
  const uint8_t* column = group.bins + feature - group.first;
  uint64_t go_left[4];
  for (int i = 0; i < 4; ++i) go_left[i] = s.go_left[i];
  const uint32_t* from = list_of(a, parent.list);
  uint32_t* to = a.order + (parent.list == 0 ? a.bins.rows : 0);
  const auto row_at = [&](uint32_t i) { return from ? from[i] : i; };
  const auto goes_left = [&](uint32_t row) {
    const uint8_t bin = column[row * group.width];
    return (go_left[bin >> 6] >> (bin & 63) & 1) != 0;
  };
  const int64_t tiles_in = ceil_div(parent.in.count, kTile);
  const int64_t tiles = tiles_in + ceil_div(parent.out.count, kTile);
  unsigned long long weight = 0;
  for (int64_t tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
    uint32_t rows[kRowsEach];
    if (tile >= tiles_in) {
      part_tile(parent.out, static_cast<uint32_t>((tile - tiles_in) * kTile), to, &s.rows_out, row_at, goes_left, rows);
      continue;
    }
    const unsigned left =
        part_tile(parent.in, static_cast<uint32_t>(tile * kTile), to, &s.rows_in, row_at, goes_left, rows);
    for (int k = 0; a.whole_weights && k < kRowsEach; ++k) {
      if (left >> k & 1) weight += static_cast<unsigned long long>(a.whole_weights[rows[k]]);
    }
  }
  if (!a.whole_weights) return;
  for (int step = kWarp / 2; step > 0; step /= 2) weight += __shfl_xor_sync(kAllLanes, weight, step);
  if (threadIdx.x % kWarp == 0 && weight > 0) atomicAdd(&s.left_weight, weight);
}

// Of the root, or of the fresh child.
__global__ void __launch_bounds__(kCellThreads) build_kernel(GbrtGrow a, bool is_root, int64_t run) {
  const GbrtGrowing& s = *a.growing;
  if (!is_root && (s.at < 0 || !s.needed)) return;
  GbrtRange rows;
  const uint32_t* list;
  int64_t slot = 0;
  if (is_root) {
    rows = root_rows(a);
    list = a.trains ? a.order : nullptr;
  } else {
    const uint32_t lefts = low_half(s.rows_in);
    rows = s.is_left_fresh ? GbrtRange{s.parent.in.begin, lefts}
                           : GbrtRange{s.parent.in.begin + lefts, s.parent.in.count - lefts};
    list = a.order + (s.parent.list == 0 ? a.bins.rows : 0);
    slot = s.right;
  }
  int64_t blocks = ceil_div(rows.count, kLeastRows);
  blocks = blocks < gridDim.x ? blocks : gridDim.x;
  if (blockIdx.x >= blocks) return;
  const int64_t begin = rows.begin + static_cast<int64_t>(rows.count) * blockIdx.x / blocks;
  const int64_t end = rows.begin + static_cast<int64_t>(rows.count) * (blockIdx.x + 1) / blocks;
  const CellPart part = cell_part(a.bins, blockIdx.y, run == 0);
  const auto row_of = [&](int64_t i) { return list ? static_cast<int64_t>(list[i]) : i; };
  add_chunk(part, a.packed, a.shift, begin, end, run, row_of, a.histograms + slot * a.bins.features * 2 * kGbrtCells);
}

// The children of the split under way, with their counts.
__device__ void children_of(const GbrtGrow& a, const GbrtGrowing& s, GbrtNode* left, GbrtNode* right) {
  *left = s.left_node;
  *right = s.right_node;
  left->count = a.whole_weights ? static_cast<double>(s.left_weight) : static_cast<double>(low_half(s.rows_in));
  right->count = s.parent.node.count - left->count;
}

__device__ int64_t wide_sum(int64_t value, int64_t* shared) {
  for (int step = kWarp / 2; step > 0; step /= 2) value += __shfl_xor_sync(kAllLanes, value, step);
  __syncthreads();
  if (threadIdx.x % kWarp == 0) shared[threadIdx.x / kWarp] = value;
  __syncthreads();
  int64_t sum = 0;
  for (int w = 0; w < kSearchWarps; ++w) sum += shared[w];
  return sum;
}

// Sums over all rows, read off the first feature's cells as the trainer does.
__device__ GbrtNode root_node(const GbrtGrow& a, int64_t* shared) {
  const bool is_used = static_cast<int64_t>(threadIdx.x) < gbrt_used_cells(a.features[0]);
  GbrtNode node;
  node.g = wide_sum(is_used ? a.histograms[threadIdx.x] : 0, shared);
  node.h = wide_sum(is_used ? a.histograms[kGbrtCells + threadIdx.x] : 0, shared);
  node.count = a.root_count;
  node.high = a.max_delta_step > 0 ? a.max_delta_step : -kGbrtNoGain;
  node.low = -node.high;
  return node;
}

__device__ const uint8_t* usable_of(const GbrtGrow& a, int64_t node) {
  return a.usable ? a.usable + node * a.usable_stride : nullptr;
}

// Written by other blocks of this kernel: past the first cache.
template <class T>
__device__ T read_fresh(const T* from) {
  static_assert(sizeof(T) % 8 == 0);
  T value;
  const auto* words = reinterpret_cast<const unsigned long long*>(from);
  unsigned long long copy[sizeof(T) / 8];
  for (size_t i = 0; i < sizeof(T) / 8; ++i) copy[i] = __ldcg(words + i);
  memcpy(&value, copy, sizeof(T));
  return value;
}

// Ties go to the lowest feature.
__device__ void take_best(const GbrtGrow& a, const GbrtSplit* splits, bool searched, Found* shared, GbrtSplit* to) {
  Found own{kGbrtNoGain, 0};
  for (int64_t f = threadIdx.x; searched && f < a.bins.features; f += kThreads) {
    own = better(own, {__ldcg(&splits[f].gain), f});
  }
  const Found best = best_of_block(own, shared);
  if (threadIdx.x != 0) return;
  if (best.gain > kGbrtNoGain) {
    *to = read_fresh(splits + best.at);
  } else {
    to->gain = kGbrtNoGain;
  }
}

// One thread: the next split's leaf becomes two.
__device__ void prepare_split(const GbrtGrow& a, int64_t at) {
  GbrtGrowing& s = *a.growing;
  GbrtGrown* grown = gbrt_grown(a.growing);
  s.at = at;
  s.right = s.leaves;
  s.rows_in = s.rows_out = 0;
  s.left_weight = 0;
  if (at < 0) return;
  const GbrtCardLeaf parent = grown[at].leaf;
  s.parent = parent;
  grown[s.right].before = parent;
  grown[s.right].at = at;
  const GbrtSplit& split = parent.split;
  const GbrtFeature feature = a.features[split.feature];
  for (uint64_t& word : s.go_left) word = 0;
  for (int64_t b = 0; b < kGbrtCells; ++b) {
    const bool left = split.is_category                      ? (split.left_bins[b >> 6] >> (b & 63) & 1) != 0
                      : feature.has_nan && b == feature.bins ? split.nan_left
                                                             : b <= split.bin;
    if (left) s.go_left[b >> 6] |= uint64_t{1} << (b & 63);
  }
  s.l2 = a.search.lambda_l2 + (split.is_category && feature.bins > a.search.max_cat_to_onehot ? a.search.cat_l2 : 0);
  const int sign = a.monotone ? a.monotone[split.feature] : 0;
  gbrt_children(a.rules, a.search, parent.node, split, sign, s.l2, &s.left_node, &s.right_node);
  s.is_left_fresh = 2 * split.left_count <= parent.node.count;
  const bool is_last = s.right + 1 == a.num_leaves;
  const bool is_deepest = a.rules.max_depth > 0 && parent.depth + 1 >= a.rules.max_depth;
  s.needed = !is_last && !is_deepest && parent.node.count >= 2 * a.rules.min_data_in_leaf;
}

// By the last block of a search: what the split made becomes leaves, and the next one is prepared.
__device__ void settle(const GbrtGrow& a, bool is_root, const GbrtNode& root, SearchMemory& m) {
  GbrtGrowing& s = *a.growing;
  GbrtGrown* grown = gbrt_grown(a.growing);
  const GbrtSplit* fresh_splits = a.splits;
  const GbrtSplit* sibling_splits = a.splits + a.bins.features;
  if (is_root) {
    GbrtCardLeaf& leaf = grown[0].leaf;
    if (threadIdx.x == 0) {
      leaf.node = root;
      leaf.l2 = a.search.lambda_l2;
      leaf.depth = leaf.slot = 0;
      leaf.in = root_rows(a);
      leaf.out = {leaf.in.count, static_cast<uint32_t>(a.bins.rows) - leaf.in.count};
      leaf.list = a.trains ? 0 : -1;
      s.leaves = 1;
    }
    take_best(a, sibling_splits, gbrt_may_split(a.rules, root, 0), m.found, &leaf.split);
  } else {
    GbrtNode left;
    GbrtNode right;
    children_of(a, s, &left, &right);
    const int64_t depth = s.parent.depth + 1;
    GbrtCardLeaf& left_leaf = grown[s.at].leaf;
    GbrtCardLeaf& right_leaf = grown[s.right].leaf;
    if (threadIdx.x == 0) {
      const GbrtCardLeaf& parent = s.parent;
      const uint32_t in = low_half(s.rows_in);
      const uint32_t out = low_half(s.rows_out);
      left_leaf.node = left;
      right_leaf.node = right;
      left_leaf.l2 = right_leaf.l2 = s.l2;
      left_leaf.depth = right_leaf.depth = depth;
      // The parent's slot becomes the sibling's.
      left_leaf.slot = s.is_left_fresh && s.needed ? s.right : parent.slot;
      right_leaf.slot = s.is_left_fresh || !s.needed ? parent.slot : s.right;
      left_leaf.in = {parent.in.begin, in};
      right_leaf.in = {parent.in.begin + in, parent.in.count - in};
      left_leaf.out = {parent.out.begin, out};
      right_leaf.out = {parent.out.begin + out, parent.out.count - out};
      left_leaf.list = right_leaf.list = parent.list == 0 ? 1 : 0;
    }
    const bool left_searched = s.needed && gbrt_may_split(a.rules, left, depth);
    const bool right_searched = s.needed && gbrt_may_split(a.rules, right, depth);
    take_best(a, s.is_left_fresh ? fresh_splits : sibling_splits, left_searched, m.found, &left_leaf.split);
    take_best(a, s.is_left_fresh ? sibling_splits : fresh_splits, right_searched, m.found, &right_leaf.split);
    if (threadIdx.x == 0) ++s.leaves;
  }
  __syncthreads();
  // Of leaves, the first.
  Found own{kGbrtNoGain, 0};
  if (s.leaves < a.num_leaves) {
    for (int64_t l = threadIdx.x; l < s.leaves; l += kThreads) own = better(own, {grown[l].leaf.split.gain, l});
  }
  const Found best = best_of_block(own, m.found);
  if (threadIdx.x == 0) prepare_split(a, best.gain > kGbrtNoGain ? best.at : -1);
}

// A block for each feature of the fresh child, and one of the sibling, whose histogram is what is left of the parent's.
// The root is searched as a sibling that nothing is taken from.
__global__ void __launch_bounds__(kSearchThreads) find_kernel(GbrtGrow a, bool is_root) {
  __shared__ SearchMemory m;
  __shared__ GbrtSplit split;
  __shared__ bool is_last;
  GbrtGrowing& s = *a.growing;
  if (!is_root && s.at < 0) return;
  const int64_t f = blockIdx.x;
  const bool is_sibling = is_root || blockIdx.y == 1;
  GbrtNode node{};
  GbrtNode root{};
  if (is_root) {
    root = node = root_node(a, m.sums);
    __syncthreads();
  }
  if (is_root || s.needed) {
    int64_t depth = 0;
    int64_t number = 0;
    int64_t slot = 0;
    if (!is_root) {
      GbrtNode left;
      GbrtNode right;
      children_of(a, s, &left, &right);
      const bool is_left = s.is_left_fresh != is_sibling;
      node = is_left ? left : right;
      depth = s.parent.depth + 1;
      number = 2 * s.right - (is_left ? 1 : 0);
      slot = is_sibling ? s.parent.slot : s.right;
    }
    const int64_t size = a.bins.features * 2 * kGbrtCells;
    const GbrtFeature feature = a.features[f];
    int64_t* cells = a.histograms + slot * size + f * 2 * kGbrtCells;
    const int64_t* fresh = a.histograms + s.right * size + f * 2 * kGbrtCells;
    for (int half = 0; half < 2; ++half) {
      const int64_t i = half * kGbrtCells + threadIdx.x;
      int64_t value = 0;
      if (static_cast<int64_t>(threadIdx.x) < gbrt_used_cells(feature)) {
        value = cells[i];
        if (is_sibling && !is_root) {
          value -= fresh[i];
          cells[i] = value;
        }
      }
      m.cells[i] = value;
    }
    if (threadIdx.x == 0) {
      split.gain = kGbrtNoGain;
      split.feature = static_cast<int32_t>(f);
    }
    __syncthreads();
    const uint8_t* usable = usable_of(a, number);
    if (gbrt_may_split(a.rules, node, depth) && (!usable || usable[f])) {
      const GbrtTotals totals = gbrt_totals(node, a.search);
      const int sign = a.monotone ? a.monotone[f] : 0;
      if (feature.kind == GbrtKind::numeric) search_numeric(m, feature, totals, a.search, sign, &split);
      if (feature.kind == GbrtKind::categorical) search_categories(m, feature, totals, a.search, &split);
    }
    __syncthreads();
    if (threadIdx.x == 0) a.splits[(is_sibling ? a.bins.features : 0) + f] = split;
  }
  if (threadIdx.x == 0) {
    __threadfence();
    is_last = atomicAdd(&s.finished, 1u) + 1 == gridDim.x * gridDim.y;
  }
  __syncthreads();
  if (!is_last) return;
  __threadfence();
  if (threadIdx.x == 0) s.finished = 0;
  settle(a, is_root, root, m);
}

void begin_tree(const GbrtGrow& a, dim3 build, size_t shared, int64_t run, Launch& launch) {
  const size_t histogram = static_cast<size_t>(a.bins.features) * 2 * kGbrtCells * sizeof(int64_t);
  cudaMemsetAsync(a.growing, 0, sizeof(GbrtGrowing), launch.stream);
  cudaMemsetAsync(a.histograms, 0, histogram, launch.stream);
  if (a.trains) list_kernel<<<blocks_of(a.bins.rows, kTile), kThreads, 0, launch.stream>>>(a);
  build_kernel<<<build, kCellThreads, shared, launch.stream>>>(a, true, run);
  const auto features = static_cast<unsigned>(a.bins.features);
  find_kernel<<<dim3(features, 1), kSearchThreads, 0, launch.stream>>>(a, true);
}

}  // namespace

void gbrt_grow(const GbrtGrow& a, Launch& launch) {
  const int64_t run = packed_run(a.most_weight);
  const unsigned parts = static_cast<unsigned>(a.bins.groups()) * cell_parts(run == 0);
  const size_t shared = cell_bytes(a.bins.features, run == 0);
  const int64_t resident = static_cast<int64_t>(launch.multiprocessors) * kBlocksEach;
  const int64_t most = ceil_div(a.bins.rows, kLeastRows);
  const int64_t wanted = ceil_div(resident, parts);
  const dim3 build(static_cast<unsigned>(wanted < most ? wanted : most), parts);
  const int64_t tiles = ceil_div(a.bins.rows, kTile) + 1;
  const auto blocks = static_cast<unsigned>(resident < tiles ? resident : tiles);
  if (a.first_split == 0) begin_tree(a, build, shared, run, launch);
  const auto features = static_cast<unsigned>(a.bins.features);
  for (int64_t split = a.first_split; split < a.end_split; ++split) {
    part_kernel<<<blocks, kThreads, 0, launch.stream>>>(a);
    build_kernel<<<build, kCellThreads, shared, launch.stream>>>(a, false, run);
    find_kernel<<<dim3(features, 2), kSearchThreads, 0, launch.stream>>>(a, false);
  }
}

}  // namespace cuda
}  // namespace seqrisk
