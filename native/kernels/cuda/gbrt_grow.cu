// gbrt_grow on CUDA: a tree without the host. Each split is three kernels of sizes that the host does not know: the
// leaf's rows are parted, one child's histogram is built in parts, and both children are searched; the last block of
// the search then picks the next leaf. Kernels behind the last split find nothing to do. Parts of histograms are
// written side by side and added up by the search: 264 blocks that added to the same cells by atomics took three times
// as long.
#include "kernels/cuda/gbrt_cells-inl.cuh"
#include "kernels/cuda/gbrt_part-inl.cuh"
#include "kernels/cuda/gbrt_search-inl.cuh"
#include "ops/gbrt_grow.h"

namespace seqrisk {
namespace cuda {
namespace {

constexpr int64_t kLeastRows = 1024;  // of a block that builds a part of a histogram
constexpr int kBuildBlocks = 2;       // of a multiprocessor
constexpr int kPartBlocks = 8;

// The rows that train, then the others, to list 0.
__global__ void __launch_bounds__(kPartThreads) list_kernel(GbrtGrow a) {
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

__global__ void __launch_bounds__(kPartThreads) part_kernel(GbrtGrow a) {
  GbrtGrowing& s = *a.growing;
  // Read at once, before anything is done with it.
  const int64_t at = s.at;
  const GbrtRange in = s.parent.in;
  const GbrtRange out = s.parent.out;
  const int32_t list = s.parent.list;
  const int64_t feature = s.parent.split.feature;
  uint64_t go_left[4];
  for (int i = 0; i < 4; ++i) go_left[i] = s.go_left[i];
  if (at < 0) return;
  const GbrtGroup group = a.bins.group_of(feature);
  const uint8_t* column = group.bins + feature - group.first;
  const uint32_t* from = list_of(a, list);
  uint32_t* to = a.order + (list == 0 ? a.bins.rows : 0);
  const auto row_at = [&](uint32_t i) { return from ? from[i] : i; };
  const auto goes_left = [&](uint32_t row) {
    const uint8_t bin = column[row * group.width];
    return (go_left[bin >> 6] >> (bin & 63) & 1) != 0;
  };
  const int64_t tiles_in = ceil_div(in.count, kTile);
  const int64_t tiles = tiles_in + ceil_div(out.count, kTile);
  unsigned long long weight = 0;
  for (int64_t tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
    uint32_t rows[kRowsEach];
    if (tile >= tiles_in) {
      part_tile(out, static_cast<uint32_t>((tile - tiles_in) * kTile), to, &s.rows_out, row_at, goes_left, rows);
      continue;
    }
    const unsigned left = part_tile(in, static_cast<uint32_t>(tile * kTile), to, &s.rows_in, row_at, goes_left, rows);
    for (int k = 0; a.whole_weights && k < kRowsEach; ++k) {
      if (left >> k & 1) weight += static_cast<unsigned long long>(a.whole_weights[rows[k]]);
    }
  }
  if (!a.whole_weights) return;
  for (int step = kWarp / 2; step > 0; step /= 2) weight += __shfl_xor_sync(kAllLanes, weight, step);
  if (threadIdx.x % kWarp == 0 && weight > 0) atomicAdd(&s.left_weight, weight);
}

// How rows are cut into chunks, each of which has a histogram of its own.
struct Chunks {
  int64_t count;
  bool in_pairs;  // rows of a chunk weigh more than packed cells hold
};
__device__ Chunks chunks_of(int64_t rows, int64_t most, int64_t run) {
  const int64_t wanted = ceil_div(rows, kLeastRows);
  const int64_t count = wanted < most ? wanted : most;
  return {count, run == 0 || ceil_div(rows, count > 0 ? count : 1) > run};
}

// Where a chunk's cells of a feature lie: packed, or g before h.
__device__ int64_t* chunk_cells(const GbrtGrow& a, int64_t* parts, const Chunks& chunks, int64_t chunk, int64_t f) {
  return parts + (chunk * a.bins.features + f) * kGbrtCells * (chunks.in_pairs ? 2 : 1);
}

// Rows of the fresh child, or of the root.
struct FreshRows {
  GbrtRange rows;
  const uint32_t* list;
};
__device__ FreshRows fresh_rows(const GbrtGrow& a, const GbrtGrowing& s, bool is_root) {
  if (is_root) return {root_rows(a), a.trains ? a.order : nullptr};
  const uint32_t lefts = low_half(s.rows_in);
  const GbrtRange in = s.parent.in;
  const uint32_t* list = a.order + (s.parent.list == 0 ? a.bins.rows : 0);
  if (s.is_left_fresh) return {{in.begin, lefts}, list};
  return {{in.begin + lefts, in.count - lefts}, list};
}

// Histograms of the chunks of the root, or of the fresh child.
__global__ void __launch_bounds__(kCellThreads) build_kernel(GbrtGrow a, bool is_root, int64_t run, int64_t* parts) {
  const GbrtGrowing& s = *a.growing;
  const bool is_wanted = is_root || (s.at >= 0 && s.needed);
  const FreshRows fresh = fresh_rows(a, s, is_root);
  if (!is_wanted) return;
  const GbrtRange rows = fresh.rows;
  const Chunks chunks = chunks_of(rows.count, gridDim.x, run);
  const int64_t chunk = blockIdx.x;
  if (chunk >= chunks.count) return;
  const int64_t begin = rows.begin + static_cast<int64_t>(rows.count) * chunk / chunks.count;
  const int64_t end = rows.begin + static_cast<int64_t>(rows.count) * (chunk + 1) / chunks.count;
  const CellPart part = cell_part(a.bins, blockIdx.y, run == 0);
  const uint32_t* list = fresh.list;
  const auto row_of = [&](int64_t i) { return list ? static_cast<int64_t>(list[i]) : i; };
  const auto take = [&](const uint32_t* cells, bool is_first) {
    over_cells(part, a.shift, cells, [&](int feature, int bin, int64_t g, int64_t h) {
      int64_t* to = chunk_cells(a, parts, chunks, chunk, part.first + feature) + bin;
      if (!chunks.in_pairs) {
        *to = g * (int64_t{1} << a.shift) + h;
      } else {
        to[0] = is_first ? g : to[0] + g;
        to[kGbrtCells] = is_first ? h : to[kGbrtCells] + h;
      }
    });
  };
  add_chunk(part, a.packed, a.shift, begin, end, run, row_of, take);
}

// The children of the split under way, with their counts.
__device__ void children_of(const GbrtGrow& a, const GbrtGrowing& s, GbrtNode* left, GbrtNode* right) {
  *left = s.left_node;
  *right = s.right_node;
  left->count = a.whole_weights ? static_cast<double>(s.left_weight) : static_cast<double>(low_half(s.rows_in));
  right->count = s.parent.node.count - left->count;
}

__device__ const uint8_t* usable_of(const GbrtGrow& a, int64_t node) {
  return a.usable ? a.usable + node * a.usable_stride : nullptr;
}

// Copies a structure by the threads of a block, each a word. Past the first cache: other blocks may have written it.
template <class T>
__device__ void copy_words(T* to, const T* from) {
  static_assert(sizeof(T) % 8 == 0 && sizeof(T) / 8 <= kSearchThreads);
  auto* out = reinterpret_cast<unsigned long long*>(to);
  const auto* in = reinterpret_cast<const unsigned long long*>(from);
  if (threadIdx.x < sizeof(T) / 8) out[threadIdx.x] = __ldcg(in + threadIdx.x);
}

// The same from shared memory.
template <class T>
__device__ void copy_shared(T* to, const T& from) {
  static_assert(sizeof(T) % 8 == 0 && sizeof(T) / 8 <= kSearchThreads);
  auto* out = reinterpret_cast<unsigned long long*>(to);
  const auto* in = reinterpret_cast<const unsigned long long*>(&from);
  if (threadIdx.x < sizeof(T) / 8) out[threadIdx.x] = in[threadIdx.x];
}

// What a block of the search works with; the first half of its threads takes the fresh child, the second the sibling.
struct Search {
  GbrtGrowing growing;  // as it was before the search
  SearchMemory halves[2];
  GbrtNode nodes[2];
  GbrtSplit splits[2];
  GbrtCardLeaf leaves[2];  // settled: left and right
  GbrtCardLeaf next;       // and the leaf that is split next
  Found best[2];
  bool is_last;
};

// One thread: what the kernels of the next split need to know, but for go_left.
__device__ void prepare_split(const GbrtGrow& a, const GbrtCardLeaf& parent, GbrtGrowing& s) {
  const GbrtSplit& split = parent.split;
  const GbrtFeature feature = a.features[split.feature];
  s.l2 = a.search.lambda_l2 + (split.is_category && feature.bins > a.search.max_cat_to_onehot ? a.search.cat_l2 : 0);
  const int sign = a.monotone ? a.monotone[split.feature] : 0;
  gbrt_children(a.rules, a.search, parent.node, split, sign, s.l2, &s.left_node, &s.right_node);
  s.is_left_fresh = 2 * split.left_count <= parent.node.count;
  const bool is_last = s.right + 1 == a.num_leaves;
  const bool is_deepest = a.rules.max_depth > 0 && parent.depth + 1 >= a.rules.max_depth;
  s.needed = !is_last && !is_deepest && parent.node.count >= 2 * a.rules.min_data_in_leaf;
}

// One thread: the leaves that the split has made, but for their own splits.
__device__ void make_leaves(const GbrtGrow& a, bool is_root, Search& m) {
  const GbrtGrowing& s = m.growing;
  GbrtCardLeaf& left = m.leaves[0];
  GbrtCardLeaf& right = m.leaves[1];
  if (is_root) {
    left.node = m.nodes[1];
    left.l2 = a.search.lambda_l2;
    left.depth = left.slot = 0;
    left.in = root_rows(a);
    left.out = {left.in.count, static_cast<uint32_t>(a.bins.rows) - left.in.count};
    left.list = a.trains ? 0 : -1;
    return;
  }
  const GbrtCardLeaf& parent = s.parent;
  const uint32_t in = low_half(s.rows_in);
  const uint32_t out = low_half(s.rows_out);
  left.node = m.nodes[s.is_left_fresh ? 0 : 1];
  right.node = m.nodes[s.is_left_fresh ? 1 : 0];
  left.l2 = right.l2 = s.l2;
  left.depth = right.depth = parent.depth + 1;
  // The parent's slot becomes the sibling's.
  left.slot = s.is_left_fresh ? s.right : parent.slot;
  right.slot = s.is_left_fresh ? parent.slot : s.right;
  left.in = {parent.in.begin, in};
  right.in = {parent.in.begin + in, parent.in.count - in};
  left.out = {parent.out.begin, out};
  right.out = {parent.out.begin + out, parent.out.count - out};
  left.list = right.list = parent.list == 0 ? 1 : 0;
}

// By the last block of a search: what the split made becomes leaves, and the next split is prepared.
__device__ void settle(const GbrtGrow& a, bool is_root, const bool (&searched)[2], Search& m) {
  GbrtGrown* grown = gbrt_grown(a.growing);
  const int half = threadIdx.x / kHalf;
  const int64_t leaves = is_root ? 1 : m.growing.right + 1;
  // Ties go to the lowest feature.
  Found own{kGbrtNoGain, 0};
  for (int64_t f = threadIdx.x % kHalf; searched[half] && f < a.bins.features; f += kHalf) {
    own = better(own, {__ldcg(&a.splits[half * a.bins.features + f].gain), f});
  }
  const Found best = best_of_half(own, m.halves[half]);
  if (threadIdx.x % kHalf == 0) m.best[half] = best;
  if (threadIdx.x == 0) make_leaves(a, is_root, m);
  __syncthreads();
  for (int i = 0; i < 2; ++i) {
    // Of the left and of the right leaf; the root is a sibling.
    const int from = is_root ? 1 : m.growing.is_left_fresh ? i : 1 - i;
    const Found found = m.best[from];
    copy_words(&m.leaves[i].split, a.splits + from * a.bins.features + found.at);
    __syncthreads();
    if (threadIdx.x == 0 && !(found.gain > kGbrtNoGain)) m.leaves[i].split.gain = kGbrtNoGain;
  }
  __syncthreads();
  const int64_t at = is_root ? 0 : m.growing.at;
  copy_shared(&grown[at].leaf, m.leaves[0]);
  if (!is_root) copy_shared(&grown[m.growing.right].leaf, m.leaves[1]);
  // Of leaves, the first.
  own = {kGbrtNoGain, 0};
  for (int64_t l = threadIdx.x; leaves < a.num_leaves && l < leaves; l += kSearchThreads) {
    const double gain = l == at                            ? m.leaves[0].split.gain
                        : !is_root && l == m.growing.right ? m.leaves[1].split.gain
                                                           : __ldcg(&grown[l].leaf.split.gain);
    own = better(own, {gain, l});
  }
  own = best_of_half(own, m.halves[half]);
  if (threadIdx.x % kHalf == 0) m.best[half] = own;
  __syncthreads();
  const Found next = better(m.best[0], m.best[1]);
  if (threadIdx.x == 0) {
    GbrtGrowing& s = m.growing;
    s.leaves = s.right = leaves;
    s.at = next.gain > kGbrtNoGain ? next.at : -1;
    s.rows_in = s.rows_out = 0;
    s.left_weight = 0;
    s.finished = 0;
  }
  if (next.gain > kGbrtNoGain) {
    if (next.at == at || (!is_root && next.at == leaves - 1)) {
      copy_shared(&m.next, m.leaves[next.at == at ? 0 : 1]);
    } else {
      copy_words(&m.next, &grown[next.at].leaf);
    }
    __syncthreads();
    const GbrtSplit& split = m.next.split;
    const GbrtFeature feature = a.features[split.feature];
    const int b = threadIdx.x % kHalf;
    const bool left = split.is_category                      ? (split.left_bins[b >> 6] >> (b & 63) & 1) != 0
                      : feature.has_nan && b == feature.bins ? split.nan_left
                                                             : b <= split.bin;
    const unsigned mask = __ballot_sync(kAllLanes, left);
    if (half == 0 && b % kWarp == 0) reinterpret_cast<uint32_t*>(m.growing.go_left)[b / kWarp] = mask;
    copy_shared(&m.growing.parent, m.next);
    copy_shared(&grown[leaves].before, m.next);
    if (threadIdx.x == 0) {
      grown[leaves].at = next.at;
      prepare_split(a, m.next, m.growing);
    }
  }
  __syncthreads();
  copy_shared(a.growing, m.growing);
}

// A block for each feature: the fresh child's histogram is the sum of its chunks, the sibling's is what is left of the
// parent's, and both are searched. The root is searched as a sibling that nothing is taken from.
__global__ void __launch_bounds__(kSearchThreads)
    find_kernel(GbrtGrow a, bool is_root, int64_t most_chunks, int64_t run, const int64_t* parts) {
  __shared__ Search m;
  copy_words(&m.growing, a.growing);
  __syncthreads();
  const GbrtGrowing& s = m.growing;
  if (!is_root && s.at < 0) return;
  const int64_t f = blockIdx.x;
  const int half = threadIdx.x / kHalf;
  const int b = threadIdx.x % kHalf;
  SearchMemory& own = m.halves[half];
  const bool needed = is_root || s.needed;
  bool searched[2] = {};
  const int64_t depth = is_root ? 0 : s.parent.depth + 1;
  if (!is_root && threadIdx.x == 0) {
    children_of(a, s, &m.nodes[s.is_left_fresh ? 0 : 1], &m.nodes[s.is_left_fresh ? 1 : 0]);
  }
  if (needed) {
    const GbrtFeature feature = a.features[f];
    const int64_t size = a.bins.features * 2 * kGbrtCells;
    int64_t* fresh = a.histograms + (is_root ? 0 : s.right) * size + f * 2 * kGbrtCells;
    int64_t* sibling = a.histograms + (is_root ? 0 : s.parent.slot) * size + f * 2 * kGbrtCells;
    const bool is_used = b < gbrt_used_cells(feature);
    // On their way while chunks are added up.
    const int64_t parent_g = half == 1 && !is_root && is_used ? sibling[b] : 0;
    const int64_t parent_h = half == 1 && !is_root && is_used ? sibling[kGbrtCells + b] : 0;
    const Chunks chunks = chunks_of(fresh_rows(a, s, is_root).rows.count, most_chunks, run);
    int64_t g = 0;
    int64_t h = 0;
#pragma unroll 8
    for (int64_t chunk = half; chunk < chunks.count; chunk += 2) {
      const int64_t* from = parts + (chunk * a.bins.features + f) * kGbrtCells * (chunks.in_pairs ? 2 : 1) + b;
      int64_t chunk_g = from[0];
      int64_t chunk_h;
      if (chunks.in_pairs) {
        chunk_h = from[kGbrtCells];
      } else {
        unpack(chunk_g, a.shift, &chunk_g, &chunk_h);
      }
      g += chunk_g;
      h += chunk_h;
    }
    own.cells[b] = g;
    own.cells[kGbrtCells + b] = h;
    __syncthreads();
    g += m.halves[1 - half].cells[b];
    h += m.halves[1 - half].cells[kGbrtCells + b];
    __syncthreads();
    if (half == 0 && is_used) {
      fresh[b] = g;
      fresh[kGbrtCells + b] = h;
    }
    if (half == 1 && !is_root) {
      g = parent_g - g;
      h = parent_h - h;
      if (is_used) {
        sibling[b] = g;
        sibling[kGbrtCells + b] = h;
      }
    }
    own.cells[b] = is_used ? g : 0;
    own.cells[kGbrtCells + b] = is_used ? h : 0;
    if (is_root) {
      // Sums over all rows: every row is in a cell of every feature.
      int64_t sums[3] = {g, h, 0};
      scan(sums, own);
      if (threadIdx.x == kSearchThreads - 1) {
        const double high = a.max_delta_step > 0 ? a.max_delta_step : -kGbrtNoGain;
        m.nodes[1] = {sums[0], sums[1], a.root_count, -high, high};
        m.nodes[0] = {};
      }
    }
    if (b == 0) {
      m.splits[half].gain = kGbrtNoGain;
      m.splits[half].feature = static_cast<int32_t>(f);
    }
    __syncthreads();
    for (int i = 0; i < 2; ++i) {
      searched[i] = !(is_root && i == 0) && gbrt_may_split(a.rules, m.nodes[i], depth);
    }
    if (searched[0] || searched[1]) {
      const GbrtTotals totals = gbrt_totals(m.nodes[half], a.search);
      const int sign = a.monotone ? a.monotone[f] : 0;
      if (feature.kind == GbrtKind::numeric) search_numeric(own, feature, totals, a.search, sign, &m.splits[half]);
      if (feature.kind == GbrtKind::categorical) search_categories(own, feature, totals, a.search, &m.splits[half]);
    }
    __syncthreads();
    // The left child's number is odd.
    const int64_t number = is_root ? 0 : 2 * s.right - (s.is_left_fresh == (half == 0) ? 1 : 0);
    const uint8_t* usable = usable_of(a, number);
    if (b == 0 && usable && !usable[f]) m.splits[half].gain = kGbrtNoGain;
    __syncthreads();
    for (int i = 0; i < 2; ++i) copy_shared(a.splits + i * a.bins.features + f, m.splits[i]);
    __threadfence();
    __syncthreads();
  }
  if (threadIdx.x == 0) m.is_last = atomicAdd(&a.growing->finished, 1u) + 1 == gridDim.x;
  __syncthreads();
  if (!m.is_last) return;
  __threadfence();
  settle(a, is_root, searched, m);
}

}  // namespace

void gbrt_grow(const GbrtGrow& a, Launch& launch) {
  const int64_t run = packed_run(a.most_weight);
  const auto features = static_cast<unsigned>(a.bins.features);
  const unsigned sides = static_cast<unsigned>(a.bins.groups()) * cell_parts(run == 0);
  const size_t shared = cell_bytes(a.bins.features, run == 0);
  const int64_t most = ceil_div(a.bins.rows, kLeastRows);
  const int64_t wanted = ceil_div(static_cast<int64_t>(launch.multiprocessors) * kBuildBlocks, sides);
  const int64_t chunks = wanted < most ? wanted : most;
  const dim3 build(static_cast<unsigned>(chunks), sides);
  auto* parts = launch.workspace_of<int64_t>(chunks * a.bins.features * 2 * kGbrtCells);
  if (!parts) return;
  const int64_t tiles = ceil_div(a.bins.rows, kTile) + 1;
  const int64_t resident = static_cast<int64_t>(launch.multiprocessors) * kPartBlocks;
  const auto blocks = static_cast<unsigned>(resident < tiles ? resident : tiles);
  if (a.first_split == 0) {
    cudaMemsetAsync(a.growing, 0, sizeof(GbrtGrowing), launch.stream);
    if (a.trains) list_kernel<<<blocks_of(a.bins.rows, kTile), kPartThreads, 0, launch.stream>>>(a);
    build_kernel<<<build, kCellThreads, shared, launch.stream>>>(a, true, run, parts);
    find_kernel<<<features, kSearchThreads, 0, launch.stream>>>(a, true, chunks, run, parts);
  }
  for (int64_t split = a.first_split; split < a.end_split; ++split) {
    part_kernel<<<blocks, kPartThreads, 0, launch.stream>>>(a);
    build_kernel<<<build, kCellThreads, shared, launch.stream>>>(a, false, run, parts);
    find_kernel<<<features, kSearchThreads, 0, launch.stream>>>(a, false, chunks, run, parts);
  }
}

}  // namespace cuda
}  // namespace seqrisk
