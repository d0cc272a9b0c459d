// Attention on tensor cores: a block of four warps has a tile of 64 rows, a warp 16 of them. Scores and weights stay in
// registers between two products (Dao 2023).
#include "kernels/cuda/attention_bfloat16.h"

#include <cfloat>

#include "kernels/cuda/attention_matrix-inl.cuh"
#include "kernels/cuda/attention_passes-inl.cuh"

namespace seqrisk {
namespace cuda {
namespace {

using namespace matrix_tiles;

constexpr float kLog2E = 1.4426950408889634f;
constexpr float kLn2 = 0.6931471805599453f;

template <int D>
constexpr int kTileElements = kTile * kStride<D>;

// The next head's queries come while this one's are read, unless heads are wide: then a block has one.
template <int D>
constexpr int kQueryTiles = D <= 64 ? 2 : 1;
template <int D>
constexpr size_t kForwardShared = (kQueryTiles<D> + 4) * kTileElements<D> * sizeof(Bfloat16);

// A block of threads takes `heads_of_block` heads of one tile of queries, each over all its keys. Keys and values come
// one tile ahead, also across heads.
template <int D>
__global__ void __launch_bounds__(kThreads, D <= 64 ? 4 : 2)
    forward_kernel(ForwardPass pass, int64_t heads_of_block, bool pieces) {
  if constexpr (!has_code<Bfloat16>()) return;
  extern __shared__ __align__(16) Bfloat16 shared[];
  ForwardWork work;
  if (!work.find(pass)) return;
  const AttentionProblem& p = pass.p;
  const AttentionTile& tile = work.tile;
  const int dim = static_cast<int>(p.head_dim);
  const int first = static_cast<int>(threadIdx.x) / kWarp * 16;
  const bool has_rows = first < tile.rows;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int64_t begin = blockIdx.y * heads_of_block;
  const int64_t end = begin + heads_of_block < p.heads ? begin + heads_of_block : p.heads;
  const float scale = rsqrtf(static_cast<float>(dim)) * kLog2E;  // exponents are of 2
  const auto keys_from = [&](int64_t key) {
    return static_cast<int>(tile.others - key < kTile ? tile.others - key : kTile);
  };
  const auto queries_of = [&](int64_t head) { return shared + head % kQueryTiles<D> * kTileElements<D>; };
  const auto keys_of = [&](int stage) { return shared + (kQueryTiles<D> + 2 * stage) * kTileElements<D>; };
  const auto bring = [&](int64_t head, int64_t key, int stage) {
    const int64_t column = head * dim;
    const int64_t row = tile.other_first + key;
    const int keys = keys_from(key);
    if (key == 0) {
      load_tile<D>({queries_of(head), p.q.at<Bfloat16>(work.query, column), p.q.stride, tile.rows}, dim, pieces);
    }
    Bfloat16* to = keys_of(stage);
    load_tile<D>({to, p.k.at<Bfloat16>(row, column), p.k.stride, keys}, dim, pieces);
    load_tile<D>({to + kTileElements<D>, p.v.at<Bfloat16>(row, column), p.v.stride, keys}, dim, pieces);
  };

  if (tile.others > 0) bring(begin, 0, 0);
  int stage = 0;
  for (int64_t head = begin; head < end; ++head) {
    LeftRows<D> q;
    float sums[D / 8][4] = {};
    // Of the lane's two rows: the highest score, what is taken from exponents, and the lane's share of the weights'
    // sum.
    float top[2] = {-INFINITY, -INFINITY};
    float shift[2] = {0.0f, 0.0f};
    float total[2] = {0.0f, 0.0f};
    for (int64_t key = 0; key < tile.others; key += kTile, stage ^= 1) {
      wait_for_tiles();
      const int64_t next_key = key + kTile < tile.others ? key + kTile : 0;
      const int64_t next_head = next_key == 0 ? head + 1 : head;
      if (next_head < end) bring(next_head, next_key, stage ^ 1);
      if (!has_rows) continue;
      const Bfloat16* k = keys_of(stage);
      if (key == 0) q.load(queries_of(head), first);
      float scores[kBlocks][4];
      row_products<D>(q, k, scores);
      const int keys = keys_from(key);
      if (keys < kTile) {
        each_element(scores, [&](float& score, int, int c) { score = c < keys ? score : -INFINITY; });
      }
      float now[2] = {top[0], top[1]};
      each_element(scores, [&](float score, int half, int) { now[half] = fmaxf(now[half], score); });
      float kept[2];
      for (int r = 0; r < 2; ++r) {
        now[r] = row_max(now[r]);
        // Nothing is taken from −∞: its weights are 0, and −∞ + ∞ would be NaN.
        const float next = now[r] == -INFINITY ? 0.0f : now[r] * scale;
        kept[r] = top[r] == -INFINITY ? 0.0f : power_of_two(shift[r] - next);
        top[r] = now[r];
        shift[r] = next;
      }
      // A highest score seldom changes once many keys are seen.
      if (key > 0 && __any_sync(kAllLanes, kept[0] != 1.0f || kept[1] != 1.0f)) {
        for (int r = 0; r < 2; ++r) total[r] *= kept[r];
        each_element(sums, [&](float& value, int half, int) { value *= kept[half]; });
      }
      each_element(scores, [&](float& score, int half, int) {
        score = power_of_two(fmaf(score, scale, -shift[half]));
        total[half] += score;
      });
      add_weighted<D>(scores, k + kTileElements<D>, sums);
    }
    if (!has_rows) continue;
    float share[2];
    for (int r = 0; r < 2; ++r) {
      total[r] = row_sum(total[r]);
      share[r] = total[r] == 0.0f ? 0.0f : 1.0f / total[r];
    }
    each_element(sums, [&](float& value, int half, int) { value *= share[half]; });
    if (work.part) {
      put_rows<D>(work.part + head * dim, p.heads * dim, first, tile.rows, dim, false, sums);
    } else {
      put_rows<D>(p.out.at<Bfloat16>(tile.first, head * dim), p.out.stride, first, tile.rows, dim, false, sums);
    }
    if (work.lse && lane % 4 == 0) {
      for (int r = 0; r < 2; ++r) {
        const int row = first + lane / 4 + r * 8;
        if (row >= tile.rows) continue;
        work.lse[row * p.heads + head] = tile.others == 0 ? -FLT_MAX : (shift[r] + log2f(total[r])) * kLn2;
      }
    }
  }
}

// What a query's exponents of 2 start at. Where nothing had a weight, nothing has one.
__device__ float exponent_start(float lse) {
  return lse == -INFINITY ? -INFINITY : -lse * kLog2E;
}

// Backward of tiles whose events meet no others: all gradients at once. Rows are queries; a warp has all keys of its
// rows, and so finds delta by itself, Σ weight · gradient of the weight, without reading out.
template <int D>
constexpr size_t kOwnShared = (4 * kTileElements<D> + 2 * kTileElements<kTile>)*sizeof(Bfloat16);

template <int D>
__global__ void __launch_bounds__(kThreads, D <= 64 ? 4 : 2)
    own_tile_kernel(BackwardPass pass, int64_t heads_of_block, bool pieces) {
  if constexpr (!has_code<Bfloat16>()) return;
  extern __shared__ __align__(16) Bfloat16 shared[];
  KeysWork work;
  if (!work.find(pass) || !work.has_queries(pass)) return;
  const AttentionProblem& p = pass.p;
  const AttentionGradients& g = pass.g;
  const AttentionTile& tile = work.tile;
  const int dim = static_cast<int>(p.head_dim);
  const int first = static_cast<int>(threadIdx.x) / kWarp * 16;
  const bool has_rows = first < tile.rows;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int64_t begin = blockIdx.y * heads_of_block;
  const int64_t end = begin + heads_of_block < p.heads ? begin + heads_of_block : p.heads;
  const float scale = rsqrtf(static_cast<float>(dim));
  Bfloat16* k = shared;
  Bfloat16* v = k + kTileElements<D>;
  Bfloat16* q = v + kTileElements<D>;
  Bfloat16* dout = q + kTileElements<D>;
  Bfloat16* rounded_weights = dout + kTileElements<D>;
  Bfloat16* rounded_gradients = rounded_weights + kTileElements<kTile>;
  const auto bring_keys = [&](int64_t column) {
    load_tile<D>({k, p.k.at<Bfloat16>(tile.first, column), p.k.stride, tile.rows}, dim, pieces);
    load_tile<D>({v, p.v.at<Bfloat16>(tile.first, column), p.v.stride, tile.rows}, dim, pieces);
  };
  const auto bring_queries = [&](int64_t column) {
    load_tile<D>({q, p.q.at<Bfloat16>(tile.first, column), p.q.stride, tile.rows}, dim, pieces);
    load_tile<D>({dout, g.dout.at<Bfloat16>(tile.first, column), g.dout.stride, tile.rows}, dim, pieces);
  };
  bring_keys(begin * dim);
  bring_queries(begin * dim);
  for (int64_t head = begin; head < end; ++head) {
    const int64_t column = head * dim;
    const bool is_last = head + 1 == end;
    float start[2];
    for (int r = 0; r < 2; ++r) {
      const int row = first + lane / 4 + r * 8;
      start[r] = row < tile.rows ? exponent_start(g.lse[(tile.first + row) * p.heads + head]) : -INFINITY;
    }
    wait_for_tiles();
    if (has_rows) {
      float weights[kBlocks][4];
      float gradients[kBlocks][4];
      row_products<D>(q, first, k, weights);
      each_element(weights, [&](float& weight, int half, int) {
        weight = power_of_two(fmaf(weight, scale * kLog2E, start[half]));
      });
      if (tile.rows < kTile) {
        each_element(weights, [&](float& weight, int, int c) { weight = c < tile.rows ? weight : 0.0f; });
      }
      put_weights(rounded_weights, first, weights);
      row_products<D>(dout, first, v, gradients);
      float delta[2] = {0.0f, 0.0f};
#pragma unroll
      for (int j = 0; j < kBlocks; ++j) {
        for (int e = 0; e < 4; ++e) delta[e / 2] = fmaf(weights[j][e], gradients[j][e], delta[e / 2]);
      }
      for (int r = 0; r < 2; ++r) delta[r] = row_sum(delta[r]) * scale;
#pragma unroll
      for (int j = 0; j < kBlocks; ++j) {
        for (int e = 0; e < 4; ++e) gradients[j][e] = weights[j][e] * fmaf(gradients[j][e], scale, -delta[e / 2]);
      }
      put_weights(rounded_gradients, first, gradients);
      float dq[D / 8][4] = {};
      add_weighted<D>(gradients, k, dq);
      put_rows<D>(g.dq.at<Bfloat16>(tile.first, column), g.dq.stride, first, tile.rows, dim, g.accumulate_dq, dq);
    }
    __syncthreads();
    // Keys and values are not read any more, so the next head's can come.
    if (!is_last) bring_keys(column + dim);
    if (has_rows) {
      float dv[D / 8][4] = {};
      add_weighted_transposed<D>(rounded_weights, first, dout, tile.rows, dv);
      put_rows<D>(g.dv.at<Bfloat16>(tile.first, column), g.dv.stride, first, tile.rows, dim, g.accumulate_dkv, dv);
      float dk[D / 8][4] = {};
      add_weighted_transposed<D>(rounded_gradients, first, q, tile.rows, dk);
      put_rows<D>(g.dk.at<Bfloat16>(tile.first, column), g.dk.stride, first, tile.rows, dim, g.accumulate_dkv, dk);
    }
    if (is_last) break;
    __syncthreads();
    bring_queries(column + dim);
  }
}

// The other side's tiles come one ahead where shared memory has room for them.
template <int D>
constexpr int kStages = D <= 64 ? 2 : 1;
template <int D>
constexpr size_t kBackwardShared =
    (2 + 2 * kStages<D>)*kTileElements<D> * sizeof(Bfloat16) + kStages<D> * 2 * kTile * sizeof(float);

// Tiles of keys over all their queries, but for those that own_tile_kernel works on. Everything is transposed: rows are
// keys, columns are queries.
template <int D>
__global__ void __launch_bounds__(kThreads, D <= 64 ? 3 : 2) keys_kernel(BackwardPass pass, bool pieces) {
  if constexpr (!has_code<Bfloat16>()) return;
  static_assert(kThreads == 2 * kTile);
  extern __shared__ __align__(16) Bfloat16 shared[];
  KeysWork work;
  if (!work.find(pass) || work.has_queries(pass)) return;
  const AttentionProblem& p = pass.p;
  const AttentionGradients& g = pass.g;
  const AttentionTile& tile = work.tile;
  const int dim = static_cast<int>(p.head_dim);
  const int64_t column = blockIdx.y * p.head_dim;
  const int first = static_cast<int>(threadIdx.x) / kWarp * 16;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const float scale = rsqrtf(static_cast<float>(dim));
  Bfloat16* k = shared;
  Bfloat16* v = k + kTileElements<D>;
  Bfloat16* stages = v + kTileElements<D>;
  auto* numbers = reinterpret_cast<float*>(stages + 2 * kStages<D> * kTileElements<D>);
  const auto queries_from = [&](int64_t query) {
    return static_cast<int>(tile.others - query < kTile ? tile.others - query : kTile);
  };
  const auto bring = [&](int64_t query, int stage) {
    const int queries = queries_from(query);
    const int64_t row = tile.other_first + query;
    Bfloat16* to = stages + 2 * stage * kTileElements<D>;
    load_tile<D>({to, p.q.at<Bfloat16>(row - work.query_shift, column), p.q.stride, queries}, dim, pieces);
    load_tile<D>({to + kTileElements<D>, g.dout.at<Bfloat16>(row, column), g.dout.stride, queries}, dim, pieces);
  };
  // The thread's number of a tile of queries: where a query's exponents start, or −delta · scale. Queries that are not
  // there have no weight.
  const auto number_of = [&](int64_t query) {
    const int i = static_cast<int>(threadIdx.x) % kTile;
    const bool is_start = threadIdx.x < kTile;
    if (i >= queries_from(query)) return is_start ? -INFINITY : 0.0f;
    const int64_t at = (tile.other_first + query + i) * p.heads + blockIdx.y;
    return is_start ? exponent_start(g.lse[at]) : -pass.delta[at] * scale;
  };
  float dk[D / 8][4] = {};
  float dv[D / 8][4] = {};
  if (tile.others > 0) {
    load_tile<D>({k, p.k.at<Bfloat16>(tile.first, column), p.k.stride, tile.rows}, dim, pieces);
    load_tile<D>({v, p.v.at<Bfloat16>(tile.first, column), p.v.stride, tile.rows}, dim, pieces);
    bring(0, 0);
    numbers[threadIdx.x] = number_of(0);
  }
  int stage = 0;
  for (int64_t query = 0; query < tile.others; query += kTile) {
    wait_for_tiles();
    const int64_t next = query + kTile;
    const bool is_last = next >= tile.others;
    float number = 0.0f;
    if (kStages<D> == 2 && !is_last) {
      bring(next, stage ^ 1);
      number = number_of(next);
    }
    if (first < tile.rows) {
      const Bfloat16* q = stages + 2 * stage * kTileElements<D>;
      const Bfloat16* dout = q + kTileElements<D>;
      const float* starts = numbers + 2 * stage * kTile + lane % 4 * 2;
      float weights[kBlocks][4];
      float gradients[kBlocks][4];
      row_products<D>(k, first, q, weights);
      row_products<D>(v, first, dout, gradients);
#pragma unroll
      for (int j = 0; j < kBlocks; ++j) {
        const Floats<2> start = load<2>(starts + j * 8);
        const Floats<2> delta = load<2>(starts + kTile + j * 8);
        for (int e = 0; e < 4; ++e) {
          weights[j][e] = power_of_two(fmaf(weights[j][e], scale * kLog2E, start.at[e % 2]));
          gradients[j][e] = weights[j][e] * fmaf(gradients[j][e], scale, delta.at[e % 2]);
        }
      }
      add_weighted<D>(weights, dout, dv);
      add_weighted<D>(gradients, q, dk);
    }
    if (is_last) break;
    if constexpr (kStages<D> == 2) {
      stage ^= 1;
    } else {
      __syncthreads();
      bring(next, stage);
      number = number_of(next);
    }
    numbers[2 * stage * kTile + threadIdx.x] = number;
  }
  if (first >= tile.rows) return;
  put_rows<D>(g.dv.at<Bfloat16>(tile.first, column), g.dv.stride, first, tile.rows, dim, g.accumulate_dkv, dv);
  put_rows<D>(g.dk.at<Bfloat16>(tile.first, column), g.dk.stride, first, tile.rows, dim, g.accumulate_dkv, dk);
}

template <int D>
__global__ void __launch_bounds__(kThreads, D <= 64 ? 3 : 2) queries_kernel(BackwardPass pass, bool pieces) {
  if constexpr (!has_code<Bfloat16>()) return;
  extern __shared__ __align__(16) Bfloat16 shared[];
  QueriesWork work;
  if (!work.find(pass)) return;
  const AttentionProblem& p = pass.p;
  const int dim = static_cast<int>(p.head_dim);
  const int64_t column = blockIdx.y * p.head_dim;
  const int first = static_cast<int>(threadIdx.x) / kWarp * 16;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const float scale = rsqrtf(static_cast<float>(dim));
  Bfloat16* q = shared;
  Bfloat16* dout = q + kTileElements<D>;
  Bfloat16* stages = dout + kTileElements<D>;
  float dq[D / 8][4] = {};
  do {
    const AttentionTile& tile = work.tile;
    const auto keys_from = [&](int64_t key) {
      return static_cast<int>(tile.others - key < kTile ? tile.others - key : kTile);
    };
    const auto bring = [&](int64_t key, int stage) {
      const int keys = keys_from(key);
      const int64_t row = tile.other_first + key;
      Bfloat16* to = stages + 2 * stage * kTileElements<D>;
      load_tile<D>({to, p.k.at<Bfloat16>(row, column), p.k.stride, keys}, dim, pieces);
      load_tile<D>({to + kTileElements<D>, p.v.at<Bfloat16>(row, column), p.v.stride, keys}, dim, pieces);
    };
    if (tile.others > 0) {
      __syncthreads();  // the sequence before is done with
      load_tile<D>({q, p.q.at<Bfloat16>(tile.first, column), p.q.stride, tile.rows}, dim, pieces);
      load_tile<D>({dout, pass.g.dout.at<Bfloat16>(work.out_row, column), pass.g.dout.stride, tile.rows}, dim, pieces);
      bring(0, 0);
    }
    float start[2];
    float delta[2];  // negative, times scale
    for (int r = 0; r < 2; ++r) {
      const int row = first + lane / 4 + r * 8;
      const int64_t at = (work.out_row + row) * p.heads + blockIdx.y;
      start[r] = row < tile.rows ? exponent_start(pass.g.lse[at]) : -INFINITY;
      delta[r] = row < tile.rows ? -pass.delta[at] * scale : 0.0f;
    }
    int stage = 0;
    for (int64_t key = 0; key < tile.others; key += kTile) {
      wait_for_tiles();
      const int64_t next = key + kTile;
      const bool is_last = next >= tile.others;
      if (kStages<D> == 2 && !is_last) bring(next, stage ^ 1);
      if (first < tile.rows) {
        const Bfloat16* k = stages + 2 * stage * kTileElements<D>;
        float weights[kBlocks][4];
        float gradients[kBlocks][4];
        row_products<D>(q, first, k, weights);
        row_products<D>(dout, first, k + kTileElements<D>, gradients);
#pragma unroll
        for (int j = 0; j < kBlocks; ++j) {
          for (int e = 0; e < 4; ++e) {
            const float weight = power_of_two(fmaf(weights[j][e], scale * kLog2E, start[e / 2]));
            gradients[j][e] = weight * fmaf(gradients[j][e], scale, delta[e / 2]);
          }
        }
        // Where no key is, a weight may be infinite, and its product with zeros NaN.
        const int keys = keys_from(key);
        if (keys < kTile) {
          each_element(gradients, [&](float& gradient, int, int c) { gradient = c < keys ? gradient : 0.0f; });
        }
        add_weighted<D>(gradients, k, dq);
      }
      if (is_last) break;
      if constexpr (kStages<D> == 2) {
        stage ^= 1;
      } else {
        __syncthreads();
        bring(next, stage);
      }
    }
  } while (work.next(pass));
  if (first >= work.tile.rows) return;
  if (pass.partials) {
    put_rows<D>(work.partials(pass, column), p.heads * dim, first, work.tile.rows, dim, false, dq);
  } else {
    const AttentionGradients& g = pass.g;
    put_rows<D>(g.dq.at<Bfloat16>(work.tile.first, column), g.dq.stride, first, work.tile.rows, dim, g.accumulate_dq,
                dq);
  }
}

// The head's width rounded up to what kernels are made for. Calls f(that).
template <int N>
struct Number {
  static constexpr int value = N;
};
template <class F>
void with_width(int64_t dim, F f) {
  if (dim <= 32) return f(Number<32>());
  if (dim <= 64) return f(Number<64>());
  f(Number<128>());
}

// Whether rows of all heads are read in pieces.
template <class... More>
bool all_pieces(int64_t dim, const AttentionRows<const float>& rows, const More&... more) {
  if (!has_pieces(stored_as<Bfloat16>(rows.values) + rows.first, rows.stride, static_cast<int>(dim))) return false;
  if constexpr (sizeof...(more) > 0) return all_pieces(dim, more...);
  return true;
}

// How many heads of its tile a block of threads takes one after the other: they are looked up once, and a head's rows
// come while another one is worked on. Every multiprocessor is left eight blocks.
int64_t heads_of_block(int64_t tiles, int64_t heads, const Launch& launch) {
  const int64_t most = tiles * heads / (8 * launch.multiprocessors);
  if (most <= 1) return 1;
  return most < heads ? ceil_div(heads, ceil_div(heads, most)) : heads;
}

// A block of threads for each tile and `each` heads.
template <class Pass, class... More>
void launch_tiles(void (*kernel)(Pass, More...), const Pass& pass, int64_t tiles, int64_t each, size_t bytes,
                  Launch& launch, More... more) {
  constexpr int64_t kMostHeads = 65535;  // of a grid's second axis
  if (pass.p.heads > kMostHeads) return launch.refuse("at most 65535 heads");
  if (tiles == 0) return;
  allow_shared(kernel, bytes);
  const dim3 blocks(static_cast<unsigned>(tiles), static_cast<unsigned>(ceil_div(pass.p.heads, each)));
  kernel<<<blocks, kThreads, bytes, launch.stream>>>(pass, more...);
}

bool reads_pieces(const AttentionProblem& p) {
  return all_pieces(p.head_dim, p.q, p.k, p.v);
}
bool reads_pieces(const BackwardPass& pass) {
  return reads_pieces(pass.p) && all_pieces(pass.p.head_dim, pass.g.dout);
}

}  // namespace

void forward_bfloat16(ForwardPass pass, Launch& launch) {
  pass.cut.tile = kTile;
  pass.tiles_per_block = pass.cut.tiles_of_block();
  const int64_t tiles = pass.cut.tiles() * pass.parts_of_tile;
  const bool one_tile_of_keys =
      pass.cut.is_one_tile() || (pass.cut.meeting == Meeting::events_to_slots && pass.p.slots <= kTile);
  with_width(pass.p.head_dim, [&](auto width) {
    constexpr int D = decltype(width)::value;
    const int64_t each = one_tile_of_keys && kQueryTiles<D> > 1 ? heads_of_block(tiles, pass.p.heads, launch) : 1;
    launch_tiles(forward_kernel<D>, pass, tiles, each, kForwardShared<D>, launch, each, reads_pieces(pass.p));
  });
}

void keys_bfloat16(BackwardPass pass, Launch& launch) {
  pass.cut.tile = kTile;
  pass.tiles_per_block = pass.cut.tiles_of_block();
  const int64_t tiles = pass.cut.tiles();
  const bool pieces = reads_pieces(pass);
  const bool is_self = pass.cut.meeting == Meeting::blocks || pass.cut.meeting == Meeting::sequences;
  with_width(pass.p.head_dim, [&](auto width) {
    constexpr int D = decltype(width)::value;
    // Short sequences among long ones, too: they are to have the bits that they have alone.
    if (is_self) {
      const int64_t each = heads_of_block(tiles, pass.p.heads, launch);
      launch_tiles(own_tile_kernel<D>, pass, tiles, each, kOwnShared<D>, launch, each, pieces);
    }
    if (pass.cut.is_one_tile()) return;
    launch_tiles(keys_kernel<D>, pass, tiles, 1, kBackwardShared<D>, launch, pieces);
  });
}

bool is_one_tile_bfloat16(BackwardPass pass) {
  pass.cut.tile = kTile;
  return pass.cut.is_one_tile();
}

void queries_bfloat16(BackwardPass pass, Launch& launch) {
  pass.cut.tile = kTile;
  pass.tiles_per_block = pass.cut.tiles_of_block();
  if (pass.cut.is_one_tile()) return;  // keys_bfloat16 did it
  const int64_t tiles = pass.partials ? pass.cut.chunks() * ceil_div(pass.p.slots, kTile) : pass.cut.tiles();
  with_width(pass.p.head_dim, [&](auto width) {
    constexpr int D = decltype(width)::value;
    launch_tiles(queries_kernel<D>, pass, tiles, 1, kBackwardShared<D>, launch, reads_pieces(pass));
  });
}

}  // namespace cuda
}  // namespace seqrisk
