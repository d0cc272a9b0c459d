// Softmax attention of one tile of queries over any number of keys, for one head, forward and backward.
//
// Scores lie as (keys, queries): queries fill the lanes, so that maxima, sums and exponentials need no reduction across
// lanes. Keys come in tiles; a running maximum and sum per query make the softmax of all of them (Milakov & Gimelshein
// 2018; Dao et al. 2022). With unit = scale · log2(e), the weight of a score is 2^(unit·(score − top)).
// Every number of a query depends on that query, its keys and their order alone, not on its place in a tile.
#pragma once

#include <cfloat>
#include <cmath>

#include "kernels/cpu/attention_tasks-inl.h"
#include "kernels/cpu/gemm-inl.h"
#include "kernels/cpu/math-inl.h"
#include "ops/attention.h"

namespace seqrisk::SEQRISK_VARIANT {

static_assert(kAttentionTile % kGemmCols == 0 && kAttentionMaxHeadDim <= kGemmDepth);

inline float attention_scale(int64_t dim) {
  return 1.0f / sqrtf(static_cast<float>(dim));
}

constexpr float kLog2E = 1.44269504088896341f;

// Scores as the left factor of a product: as they lie, (keys, queries), and transposed.
struct ScoreRows : FloatTerms {
  static constexpr int64_t kRowStep = kAttentionTile;
  static constexpr int64_t kDepthStep = 1;
};
struct ScoreColumns : FloatTerms {
  static constexpr int64_t kRowStep = 1;
  static constexpr int64_t kDepthStep = kAttentionTile;
};

// Rows of one head in memory; strides are in elements.
template <class T>
struct HeadRows {
  T* data;
  int64_t stride;
  T* row(int64_t i) const { return data + i * stride; }
};

struct AttentionTile {
  HeadRows<const float> q;
  int64_t queries;  // 1 … kAttentionTile
  HeadRows<const float> k;
  HeadRows<const float> v;
  int64_t keys;  // ≥ 1
  int64_t dim;
  float scale;
  // Where the next call's q and k begin, as far apart as these; null where unknown.
  const float* next_q = nullptr;
  const float* next_k = nullptr;
};

// Fetches row after row of what is soon needed: rows of one head lie too far apart for the processor to foresee them.
struct RowFetch {
  HeadRows<const float> first;  // data may be null
  HeadRows<const float> second;
  int64_t dim;
  HWY_INLINE void operator()(int64_t row) const {
    for (int64_t i = 0; i < dim; i += kGemmLine) {
      if (first.data) hwy::Prefetch(first.row(row) + i);
      if (second.data) hwy::Prefetch(second.row(row) + i);
    }
  }
};

// The parts of a worker's scratch; attention_scratch() is their size. A forward needs the first three alone.
struct AttentionScratch {
  AttentionScratch(float* scratch, int64_t dim) {
    const int64_t panels = gemm_packed_elems(kAttentionTile, dim);
    scores = scratch;
    packed0 = scores + kAttentionTile * kAttentionTile;
    packed1 = packed0 + panels;
    dscores = packed1 + panels;
    packed2 = dscores + kAttentionTile * kAttentionTile;
    packed3 = packed2 + panels;
    packed4 = packed3 + panels;
  }
  float* scores;
  float* packed0;
  float* packed1;
  float* dscores;
  float* packed2;
  float* packed3;
  float* packed4;
};

// Vectors that hold n floats, in elements.
inline int64_t whole_lanes(int64_t n) {
  return (n + kGemmLanes - 1) / kGemmLanes * kGemmLanes;
}

// rows (n, dim) as the right factor of a product over dim.
inline void pack_columns(HeadRows<const float> rows, int64_t n, int64_t dim, float* packed) {
  for (int64_t col = 0; col < n; col += kGemmCols) {
    gemm_pack_b_transposed(rows.row(col), rows.stride, dim, at_most(n - col, kGemmCols), packed + col * dim);
  }
}

// rows (n, dim) as the right factor of a product over n.
inline void pack_rows(HeadRows<const float> rows, int64_t n, int64_t dim, float* packed) {
  gemm_pack_b(rows.data, rows.stride, n, dim, packed, n * kGemmCols);
}

// scores[i][j] = rows[i] · columns[j]. Lanes beyond the columns become 0. Meanwhile n rows of `next` are fetched.
inline void score_tile(HeadRows<const float> rows, int64_t n, const float* columns, int64_t count, int64_t dim,
                       float* scores, HeadRows<const float> next) {
  HWY_ALIGN float slab[kGemmSlab];
  const int64_t strips = gemm_strips(n);
  for (int64_t strip = 0; strip < strips; ++strip) {
    const int64_t row = gemm_strip_start(n, strip);
    const int64_t size = gemm_strip_start(n, strip + 1) - row;
    gemm_slab_rows(rows.row(row), rows.stride, size, dim, slab);
    for (int64_t col = 0; col < count; col += kGemmCols) {
      gemm_tile<RowSlab>(size, {.slab = slab,
                                .b = columns + col * dim,
                                .b_step = kGemmCols,
                                .depth = dim,
                                .c = scores + row * kAttentionTile + col,
                                .c_stride = kAttentionTile,
                                .row = nullptr,
                                .cols = at_most(whole_lanes(count - col), kGemmCols),
                                .start = GemmStart::kZero,
                                .next = next.data ? next.row(row) : nullptr,
                                .next_step = kGemmLine,
                                .next_stride = next.stride,
                                .next_lines = next.data && col == 0 ? size : 0});
    }
  }
}

// to (n, dim) = or += scores · packed rows, summed over depth rows.
template <class Slab>
HWY_INLINE void apply_scores(const float* scores, int64_t n, const float* packed, int64_t depth, int64_t dim,
                             HeadRows<float> to, GemmStart start) {
  const int64_t strips = gemm_strips(n);
  for (int64_t col = 0; col < dim; col += kGemmCols) {
    for (int64_t strip = 0; strip < strips; ++strip) {
      const int64_t row = gemm_strip_start(n, strip);
      gemm_tile<Slab>(gemm_strip_start(n, strip + 1) - row, {.slab = scores + row * Slab::kRowStep,
                                                             .b = packed + col * depth,
                                                             .b_step = kGemmCols,
                                                             .depth = depth,
                                                             .c = to.row(row) + col,
                                                             .c_stride = to.stride,
                                                             .row = nullptr,
                                                             .cols = at_most(dim - col, kGemmCols),
                                                             .start = start});
    }
  }
}

// Per query: the largest score so far, the sum of the weights, and by what the last tile changed them.
struct RunningSoftmax {
  HWY_ALIGN float top[kAttentionTile];
  HWY_ALIGN float sum[kAttentionTile];
  HWY_ALIGN float fade[kAttentionTile];  // 2^(unit·(old top − new top))
};

// scores (n, queries) become weights, for kVectors vectors of queries.
template <int kVectors>
HWY_INLINE void softmax_columns(float* scores, int64_t n, float unit, bool is_first, float* top, float* sum,
                                float* fade, const RowFetch& fetch) {
  const GemmTag d;
  const GemmVec unit_v = hn::Set(d, unit);
  const GemmVec least = hn::Set(d, -FLT_MAX);
  GemmVec tops[kVectors];
  GemmVec sums[kVectors];
  gemm_unroll<kVectors>([&](auto i) __attribute__((always_inline)) { tops[i] = hn::Load(d, scores + i * kGemmLanes); });
  for (int64_t row = 1; row < n; ++row) {
    gemm_unroll<kVectors>([&](auto i) __attribute__((always_inline)) {
      tops[i] = hn::Max(tops[i], hn::Load(d, scores + row * kAttentionTile + i * kGemmLanes));
    });
  }
  gemm_unroll<kVectors>([&](auto i) __attribute__((always_inline)) {
    // A row of −inf alone must not become −inf − −inf.
    tops[i] = hn::Max(tops[i], least);
    if (!is_first) {
      const GemmVec old = hn::Load(d, top + i * kGemmLanes);
      tops[i] = hn::Max(tops[i], old);
      hn::Store(exp2_scaled(hn::Sub(old, tops[i]), unit_v), d, fade + i * kGemmLanes);
    }
    hn::Store(tops[i], d, top + i * kGemmLanes);
    sums[i] = hn::Zero(d);
  });
  for (int64_t row = 0; row < n; ++row) {
    fetch(row);
    gemm_unroll<kVectors>([&](auto i) __attribute__((always_inline)) {
      float* score = scores + row * kAttentionTile + i * kGemmLanes;
      const GemmVec p = exp2_scaled(hn::Sub(hn::Load(d, score), tops[i]), unit_v);
      sums[i] = hn::Add(sums[i], p);
      hn::Store(p, d, score);
    });
  }
  gemm_unroll<kVectors>([&](auto i) __attribute__((always_inline)) {
    if (!is_first) {
      const GemmVec faded = hn::Mul(hn::Load(d, sum + i * kGemmLanes), hn::Load(d, fade + i * kGemmLanes));
      sums[i] = hn::Add(sums[i], faded);
    }
    hn::Store(sums[i], d, sum + i * kGemmLanes);
  });
}

// Calls f(vectors as a compile-time constant, first column) until all columns are covered.
template <class F>
HWY_INLINE void for_columns(int64_t count, F f) {
  int64_t col = 0;
  for (; col + 3 * kGemmLanes < count; col += 4 * kGemmLanes) f(std::integral_constant<int, 4>(), col);
  for (; col < count; col += kGemmLanes) f(std::integral_constant<int, 1>(), col);
}

inline void scale_rows(HeadRows<float> rows, int64_t n, int64_t dim, const float* factors) {
  const GemmTag d;
  for (int64_t row = 0; row < n; ++row) {
    float* to = rows.row(row);
    const GemmVec factor = hn::Set(d, factors[row]);
    int64_t i = 0;
    for (; i + kGemmLanes <= dim; i += kGemmLanes) hn::StoreU(hn::Mul(hn::LoadU(d, to + i), factor), d, to + i);
    for (; i < dim; ++i) to[i] *= factors[row];
  }
}

// What is read after the keys from `key` on: the next keys, or what the next call begins with.
inline RowFetch fetch_after(const AttentionTile& t, int64_t key) {
  const int64_t next = key + kAttentionTile;
  if (next < t.keys) return {{nullptr, 0}, {t.k.row(next), t.k.stride}, t.dim};
  return {{t.next_q, t.q.stride}, {t.next_k, t.k.stride}, t.dim};
}

// out = softmax(scale · q kᵀ) v; lse(i) = ln Σ_j exp(scale · q_i·k_j), skipped when its data is null.
inline void attention_forward(const AttentionTile& t, HeadRows<float> out, HeadRows<float> lse, float* memory) {
  const GemmTag d;
  const AttentionScratch scratch(memory, t.dim);
  RunningSoftmax softmax;
  pack_columns(t.q, t.queries, t.dim, scratch.packed0);
  for (int64_t key = 0; key < t.keys; key += kAttentionTile) {
    const int64_t n = at_most(t.keys - key, kAttentionTile);
    const bool is_first = key == 0;
    score_tile({t.k.row(key), t.k.stride}, n, scratch.packed0, t.queries, t.dim, scratch.scores,
               {t.v.row(key), t.v.stride});
    const RowFetch fetch = fetch_after(t, key);
    for_columns(t.queries, [&](auto vectors, int64_t col) __attribute__((always_inline)) {
      softmax_columns<vectors>(scratch.scores + col, n, t.scale * kLog2E, is_first, softmax.top + col,
                               softmax.sum + col, softmax.fade + col, col == 0 ? fetch : RowFetch{});
    });
    pack_rows({t.v.row(key), t.v.stride}, n, t.dim, scratch.packed1);
    if (!is_first) scale_rows(out, t.queries, t.dim, softmax.fade);
    apply_scores<ScoreColumns>(scratch.scores, t.queries, scratch.packed1, n, t.dim, out,
                               is_first ? GemmStart::kZero : GemmStart::kAdd);
  }
  // No key has a finite logit: no weight anywhere.
  const GemmVec scale = hn::Set(d, t.scale);
  for (int64_t i = 0; i < t.queries; i += kGemmLanes) {
    const GemmVec sum = hn::Load(d, softmax.sum + i);
    const auto is_zero = hn::Eq(sum, hn::Zero(d));
    hn::Store(hn::IfThenZeroElse(is_zero, hn::Div(hn::Set(d, 1.0f), sum)), d, softmax.fade + i);
    if (lse.data) hn::Store(hn::MulAdd(hn::Load(d, softmax.top + i), scale, log_positive(sum)), d, softmax.sum + i);
  }
  scale_rows(out, t.queries, t.dim, softmax.fade);
  if (!lse.data) return;
  for (int64_t i = 0; i < t.queries; ++i) *lse.row(i) = softmax.sum[i];
}

// Gradients of a tile. A null pointer skips one; a start says whether what is there counts.
struct AttentionGradients {
  HeadRows<float> dq;
  HeadRows<float> dk;
  HeadRows<float> dv;
  GemmStart start_dq;   // kZero or kAdd
  GemmStart start_dkv;  // the same
};

// Rows of the forward's results and of the gradient that comes in.
struct AttentionResult {
  HeadRows<const float> out;
  HeadRows<const float> lse;
  HeadRows<const float> dout;
};

// a · b
inline float dot_row(const float* a, const float* b, int64_t dim) {
  const GemmTag d;
  GemmVec sum = hn::Zero(d);
  int64_t i = 0;
  for (; i + kGemmLanes <= dim; i += kGemmLanes) sum = hn::MulAdd(hn::LoadU(d, a + i), hn::LoadU(d, b + i), sum);
  float total = hn::GetLane(hn::SumOfLanes(d, sum));
  for (; i < dim; ++i) total += a[i] * b[i];
  return total;
}

// With lse in units of the scores: scores become p = 2^(unit·(score − lse)), dscores become p·(scale·dscore − delta),
// for kVectors vectors of queries.
template <int kVectors>
HWY_INLINE void softmax_backward_columns(float* scores, float* dscores, int64_t n, float unit, float scale,
                                         const float* lse, const float* delta, const RowFetch& fetch) {
  const GemmTag d;
  const GemmVec unit_v = hn::Set(d, unit);
  const GemmVec scale_v = hn::Set(d, scale);
  GemmVec lses[kVectors];
  GemmVec deltas[kVectors];
  gemm_unroll<kVectors>([&](auto i) __attribute__((always_inline)) {
    lses[i] = hn::Load(d, lse + i * kGemmLanes);
    deltas[i] = hn::Load(d, delta + i * kGemmLanes);
  });
  for (int64_t row = 0; row < n; ++row) {
    fetch(row);
    gemm_unroll<kVectors>([&](auto i) __attribute__((always_inline)) {
      const int64_t at = row * kAttentionTile + i * kGemmLanes;
      const GemmVec p = exp2_scaled(hn::Sub(hn::Load(d, scores + at), lses[i]), unit_v);
      hn::Store(p, d, scores + at);
      hn::Store(hn::Mul(p, hn::MulSub(hn::Load(d, dscores + at), scale_v, deltas[i])), d, dscores + at);
    });
  }
}

// With P = softmax(scale · q kᵀ) recomputed from lse and delta_i = dout_i · out_i:
//   dv = Pᵀ dout,  dS = scale · P ⊙ (dout vᵀ − delta),  dq = dS k,  dk = dSᵀ q      (Dao et al. 2022, algorithm 4)
inline void attention_backward(const AttentionTile& t, const AttentionResult& result, const AttentionGradients& to,
                               float* memory) {
  const AttentionScratch scratch(memory, t.dim);
  HWY_ALIGN float lse[kAttentionTile] = {};
  HWY_ALIGN float delta[kAttentionTile] = {};
  for (int64_t i = 0; i < t.queries; ++i) {
    const float score = *result.lse.row(i) / t.scale;
    lse[i] = score < -FLT_MAX ? -FLT_MAX : score;
    delta[i] = dot_row(result.dout.row(i), result.out.row(i), t.dim) * t.scale;
  }
  pack_columns(t.q, t.queries, t.dim, scratch.packed0);
  pack_columns(result.dout, t.queries, t.dim, scratch.packed1);
  if (to.dk.data) pack_rows(t.q, t.queries, t.dim, scratch.packed2);
  if (to.dv.data) pack_rows(result.dout, t.queries, t.dim, scratch.packed3);
  for (int64_t key = 0; key < t.keys; key += kAttentionTile) {
    const int64_t n = at_most(t.keys - key, kAttentionTile);
    score_tile({t.k.row(key), t.k.stride}, n, scratch.packed0, t.queries, t.dim, scratch.scores,
               {t.v.row(key), t.v.stride});
    // Gradients of heads lie side by side: the next call most likely reads those of the next head.
    score_tile({t.v.row(key), t.v.stride}, n, scratch.packed1, t.queries, t.dim, scratch.dscores,
               {key == 0 ? result.dout.data + t.dim : nullptr, result.dout.stride});
    const RowFetch fetch = fetch_after(t, key);
    for_columns(t.queries, [&](auto vectors, int64_t col) __attribute__((always_inline)) {
      softmax_backward_columns<vectors>(scratch.scores + col, scratch.dscores + col, n, t.scale * kLog2E, t.scale,
                                        lse + col, delta + col, col == 0 ? fetch : RowFetch{});
    });
    if (to.dv.data) {
      apply_scores<ScoreRows>(scratch.scores, n, scratch.packed3, t.queries, t.dim, {to.dv.row(key), to.dv.stride},
                              to.start_dkv);
    }
    if (to.dk.data) {
      apply_scores<ScoreRows>(scratch.dscores, n, scratch.packed2, t.queries, t.dim, {to.dk.row(key), to.dk.stride},
                              to.start_dkv);
    }
    if (to.dq.data) {
      pack_rows({t.k.row(key), t.k.stride}, n, t.dim, scratch.packed4);
      apply_scores<ScoreColumns>(scratch.dscores, t.queries, scratch.packed4, n, t.dim, to.dq,
                                 key == 0 ? to.start_dq : GemmStart::kAdd);
    }
  }
}

}  // namespace seqrisk::SEQRISK_VARIANT
