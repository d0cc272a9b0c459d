// Small and large float32 matrix products: C (rows, cols) = [start +] A (rows, depth) · B (depth, cols).
//
// How to use it:
//   1. Put B into panels of kGemmCols columns: gemm_pack_b (B as (depth, cols)) or gemm_pack_b_transposed (B as
//      (cols, depth)). Panel p lies at packed + p·kGemmCols·depth, one row of kGemmCols floats per step of depth,
//      columns beyond the matrix are zero. gemm_packed_elems() is the size. A whole panel of a plain row-major B can
//      be used where it lies, with its row stride as b_step.
//   2. Put up to kGemmRows rows of A and up to kGemmDepth of depth into a slab of kGemmSlab floats (on the stack, 64
//      byte aligned): gemm_slab_rows (A as (rows, depth)) or gemm_slab_transposed (A as (depth, rows)).
//   3. gemm_tile<RowSlab or DepthSlab>: one slab times one panel into a tile of C. Longer depths: call again for
//      the next kGemmDepth with GemmStart::kLoad.
//
// Every element of C is one chain of fused multiply-adds over ascending depth, started by zero, by a row vector (bias)
// or by what C held. So its bits depend neither on the tile it falls in nor on rows, cols or kGemmDepth.
// Rows are cut evenly (gemm_strips): 15 rows are 8 + 7, not 14 + 1.
#pragma once

#include <hwy/cache_control.h>

#include <type_traits>
#include <utility>

#include "kernels/cpu/lanes-inl.h"
#include "kernels/cpu/variant.h"

namespace seqrisk::SEQRISK_VARIANT {

// A tile keeps kGemmRows × kGemmVectors accumulators in registers: 28 of 32 (AVX-512), 12 of 16 (AVX2), 24 of 32
// (NEON).
#if HWY_TARGET == HWY_AVX3
constexpr int kGemmRows = 14;
constexpr int kGemmVectors = 2;
#elif HWY_TARGET == HWY_NEON
constexpr int kGemmRows = 6;
constexpr int kGemmVectors = 4;
#elif HWY_TARGET == HWY_SCALAR
constexpr int kGemmRows = 4;
constexpr int kGemmVectors = 2;
#else
constexpr int kGemmRows = 6;
constexpr int kGemmVectors = 2;
#endif

using GemmTag = hn::ScalableTag<float>;
using GemmVec = hn::Vec<GemmTag>;
constexpr int64_t kGemmLanes = static_cast<int64_t>(hn::MaxLanes(GemmTag()));
constexpr int64_t kGemmCols = kGemmVectors * kGemmLanes;
// 256 rows of a panel (32 KB with AVX-512) and a slab (15 KB) fill L1; the next panel streams in from L2 meanwhile, at
// 10 bytes a cycle.
constexpr int64_t kGemmDepth = 256;
// Panels are fetched so many rows ahead of where a tile reads. The processor alone looks no further than the 100
// multiply-adds that wait for their turn: it gets 81 % of the peak from panels in L2, 88 % with 8 rows, 90 % with 32.
constexpr int64_t kGemmAhead = 32;
constexpr int64_t kGemmLine = 16;  // floats of a cache line
// Steps of depth per round of fetching C and the next slab. All at once they would take the few places for lines under
// way, and the panel would wait: 2 to 5 % with AVX-512. Smaller tiles lose more to the rounds.
constexpr int64_t kGemmFetchStep = HWY_TARGET == HWY_AVX3 ? kGemmLine : kGemmDepth;
// One cache line more than the depth, so that the rows of a slab do not fall into the same cache set.
constexpr int64_t kGemmSlabStride = kGemmDepth + 16;
constexpr int64_t kGemmSlab = kGemmRows * kGemmSlabStride;

// What slabs and panels are made of: floats. gemm_bfloat16-inl.h has others.
struct FloatTerms {
  static constexpr int64_t kSteps = 1;  // of depth, in a word
  static HWY_INLINE GemmVec multiply_add(GemmVec a, GemmVec b, GemmVec sum) { return hn::MulAdd(a, b, sum); }
};

// Where element (row, depth) of A lies in a slab; both known to the compiler, so that one register addresses all rows.
struct RowSlab : FloatTerms {
  static constexpr int64_t kRowStep = kGemmSlabStride;
  static constexpr int64_t kDepthStep = 1;
};
struct DepthSlab : FloatTerms {
  static constexpr int64_t kRowStep = 1;
  static constexpr int64_t kDepthStep = kGemmRows;
};

// Zero; a row vector; what C holds; or zero with C added at the end, which keeps long sums accurate.
enum class GemmStart { kZero, kRow, kLoad, kAdd };

struct GemmTile {
  const float* slab;
  const float* b;  // rows of kGemmCols floats, b_step apart
  int64_t b_step;
  int64_t depth;  // ≤ kGemmDepth
  float* c;
  int64_t c_stride;
  const float* row;  // (cols) where the start is kRow
  int64_t cols;      // 1 … kGemmCols; nothing beyond is read from row and C or written
  GemmStart start;
  int64_t ahead = 0;  // kGemmAhead unless b lies in L1
  // Cache lines that are fetched meanwhile, of what the next slab is made of: after every kGemmLine steps of depth,
  // next_lines of them, next_stride apart, each time next_step further on.
  const float* next = nullptr;
  int64_t next_step = 0;
  int64_t next_stride = 0;
  int64_t next_lines = 0;
};

// Calls f with 0 … kCount − 1 as compile-time constants: an accumulator array that a loop indexes would live in memory.
template <int kCount, class F>
HWY_INLINE void gemm_unroll(F&& f) {
  [&]<int... kIndex>(std::integer_sequence<int, kIndex...>) __attribute__((always_inline)) {
    (f(std::integral_constant<int, kIndex>()), ...);
  }(std::make_integer_sequence<int, kCount>());
}

template <class Slab, int kRows, int kVectors>
HWY_NOINLINE void gemm_tile_of(const GemmTile& t) {
  const GemmTag d;
  GemmVec sum[kRows * kVectors];
  const int64_t last = t.cols - (kVectors - 1) * kGemmLanes;  // columns in the last vector
  const auto load = [&](const float* p, auto v) __attribute__((always_inline)) {
    return v == kVectors - 1 && last < kGemmLanes ? load_first(d, p, last) : hn::LoadU(d, p);
  };
  if (t.start == GemmStart::kZero || t.start == GemmStart::kAdd) {
    gemm_unroll<kRows * kVectors>([&](auto i) __attribute__((always_inline)) { sum[i] = hn::Zero(d); });
  } else if (t.start == GemmStart::kRow) {
    gemm_unroll<kVectors>([&](auto v) __attribute__((always_inline)) {
      const GemmVec row = load(t.row + v * kGemmLanes, v);
      gemm_unroll<kRows>([&](auto r) __attribute__((always_inline)) { sum[r * kVectors + v] = row; });
    });
  } else {
    gemm_unroll<kRows * kVectors>([&](auto i) __attribute__((always_inline)) {
      constexpr int kRow = i / kVectors;
      constexpr int kVector = i % kVectors;
      sum[i] = load(t.c + kRow * t.c_stride + kVector * kGemmLanes, std::integral_constant<int, kVector>());
    });
  }
  const float* a = t.slab;
  const float* b = t.b;
  const int64_t ahead = t.ahead * t.b_step;
  const auto step = [&](const float* ak) __attribute__((always_inline)) {
    GemmVec bk[kVectors];
    gemm_unroll<kVectors>([&](auto v) __attribute__((always_inline)) {
      bk[v] = hn::LoadU(d, b + v * kGemmLanes);
      if constexpr (v * kGemmLanes % kGemmLine == 0) hwy::Prefetch(b + ahead + v * kGemmLanes);
    });
    gemm_unroll<kRows>([&](auto r) __attribute__((always_inline)) {
      const GemmVec ar = hn::Set(d, ak[r * Slab::kRowStep]);
      gemm_unroll<kVectors>([&](auto v) __attribute__((always_inline)) {
        sum[r * kVectors + v] = Slab::multiply_add(ar, bk[v], sum[r * kVectors + v]);
      });
    });
    b += t.b_step;
  };
  const int64_t share = (kRows * kGemmFetchStep + t.depth - 1) / t.depth;  // rows of C per round
  int64_t row = 0;
  const float* next = t.next;
  for (int64_t k = 0; k < t.depth; k += kGemmFetchStep) {
    int64_t left = t.depth - k < kGemmFetchStep ? t.depth - k : kGemmFetchStep;
    for (int64_t end = row + share < kRows ? row + share : kRows; row < end; ++row) {
      gemm_unroll<kVectors>([&](auto v) __attribute__((always_inline)) {
        if constexpr (v * kGemmLanes % kGemmLine == 0) hwy::Prefetch(t.c + row * t.c_stride + v * kGemmLanes);
      });
    }
    for (int64_t j = 0; j < left; j += kGemmLine, next += t.next_step) {
      for (int64_t i = 0; i < t.next_lines; ++i) hwy::Prefetch(next + i * t.next_stride);
    }
    for (; left >= 2; left -= 2) {
      step(a);
      step(a + Slab::kDepthStep);
      a += 2 * Slab::kDepthStep;
    }
    if (left > 0) step(a);
  }
  if (t.start == GemmStart::kAdd) {
    gemm_unroll<kRows * kVectors>([&](auto i) __attribute__((always_inline)) {
      constexpr int kRow = i / kVectors;
      constexpr int kVector = i % kVectors;
      const float* c = t.c + kRow * t.c_stride + kVector * kGemmLanes;
      sum[i] = hn::Add(sum[i], load(c, std::integral_constant<int, kVector>()));
    });
  }
  gemm_unroll<kRows * kVectors>([&](auto i) __attribute__((always_inline)) {
    constexpr int kRow = i / kVectors;
    constexpr int kVector = i % kVectors;
    float* c = t.c + kRow * t.c_stride + kVector * kGemmLanes;
    if (kVector == kVectors - 1 && last < kGemmLanes) {
      store_first(sum[i], d, c, last);
    } else {
      hn::StoreU(sum[i], d, c);
    }
  });
}

using GemmTileFn = void (*)(const GemmTile&);

template <class Slab, int... kIndex>
constexpr auto gemm_tile_table(std::integer_sequence<int, kIndex...>) {
  struct Table {
    GemmTileFn run[kGemmRows * kGemmVectors];
  };
  return Table{{&gemm_tile_of<Slab, kIndex / kGemmVectors + 1, kIndex % kGemmVectors + 1>...}};
}

template <class Slab>
inline constexpr auto kGemmTiles = gemm_tile_table<Slab>(std::make_integer_sequence<int, kGemmRows * kGemmVectors>());

// 1 ≤ rows ≤ kGemmRows.
template <class Slab>
HWY_INLINE void gemm_tile(int64_t rows, const GemmTile& tile) {
  const int64_t vectors = (tile.cols + kGemmLanes - 1) / kGemmLanes;
  kGemmTiles<Slab>.run[(rows - 1) * kGemmVectors + vectors - 1](tile);
}

constexpr int64_t gemm_panels(int64_t cols) {
  return (cols + kGemmCols - 1) / kGemmCols;
}

// Tiles of up to kGemmRows that cover rows, and where tile i of them starts.
constexpr int64_t gemm_strips(int64_t rows) {
  return (rows + kGemmRows - 1) / kGemmRows;
}
constexpr int64_t gemm_strip_start(int64_t rows, int64_t i) {
  return rows * i / gemm_strips(rows);
}

constexpr int64_t gemm_packed_elems(int64_t depth, int64_t cols) {
  return depth * gemm_panels(cols) * kGemmCols;
}

// Part of B, (depth, cols) with rows b_stride apart, into panels that lie panel_step apart.
inline void gemm_pack_b(const float* b, int64_t b_stride, int64_t depth, int64_t cols, float* packed,
                        int64_t panel_step) {
  const GemmTag d;
  const int64_t end = gemm_panels(cols) * kGemmCols;
  for (int64_t k = 0; k < depth; ++k, b += b_stride) {
    float* to = packed + k * kGemmCols;
    for (int64_t col = 0; col < end; col += kGemmCols, to += panel_step) {
      gemm_unroll<kGemmVectors>([&](auto v) __attribute__((always_inline)) {
        const int64_t i = col + v * kGemmLanes;
        const int64_t left = cols - i;
        hn::StoreU(left >= kGemmLanes ? hn::LoadU(d, b + i)
                   : left > 0         ? load_first(d, b + i, left)
                                      : hn::Zero(d),
                   d, to + v * kGemmLanes);
      });
    }
  }
}

#if HWY_TARGET == HWY_SCALAR
HWY_INLINE int64_t gemm_pack_fours(const float*, int64_t, int64_t, float*) {
  return 0;
}
#else
// Four adjacent elements of every fourth row: block i of the vector comes from row 4·i.
template <class D>
HWY_INLINE hn::Vec<D> gemm_load_blocks(D d, const float* p, int64_t stride) {
  if constexpr (hn::MaxLanes(D()) <= 4) {
    return hn::LoadU(d, p);
  } else {
    const hn::Half<D> half;
    const int64_t rows = static_cast<int64_t>(hn::MaxLanes(half));
    return hn::Combine(d, gemm_load_blocks(half, p + rows * stride, stride), gemm_load_blocks(half, p, stride));
  }
}

// Transposes kGemmLanes rows in steps of four elements; returns how many of depth are done.
HWY_INLINE int64_t gemm_pack_fours(const float* b, int64_t b_stride, int64_t depth, float* to) {
  const GemmTag d;
  int64_t k = 0;
  for (; k + 4 <= depth; k += 4, to += 4 * kGemmCols) {
    const GemmVec row0 = gemm_load_blocks(d, b + k, b_stride);
    const GemmVec row1 = gemm_load_blocks(d, b + k + b_stride, b_stride);
    const GemmVec row2 = gemm_load_blocks(d, b + k + 2 * b_stride, b_stride);
    const GemmVec row3 = gemm_load_blocks(d, b + k + 3 * b_stride, b_stride);
    const GemmVec low02 = hn::InterleaveLower(d, row0, row2);
    const GemmVec low13 = hn::InterleaveLower(d, row1, row3);
    const GemmVec high02 = hn::InterleaveUpper(d, row0, row2);
    const GemmVec high13 = hn::InterleaveUpper(d, row1, row3);
    hn::StoreU(hn::InterleaveLower(d, low02, low13), d, to);
    hn::StoreU(hn::InterleaveUpper(d, low02, low13), d, to + kGemmCols);
    hn::StoreU(hn::InterleaveLower(d, high02, high13), d, to + 2 * kGemmCols);
    hn::StoreU(hn::InterleaveUpper(d, high02, high13), d, to + 3 * kGemmCols);
  }
  return k;
}
#endif

// One panel of B given as (cols, depth) with rows b_stride apart, 1 ≤ cols ≤ kGemmCols.
inline void gemm_pack_b_transposed(const float* b, int64_t b_stride, int64_t depth, int64_t cols, float* panel) {
  for (int64_t col = 0; col < kGemmCols; col += kGemmLanes) {
    const bool is_whole = col + kGemmLanes <= cols;
    int64_t k = is_whole ? gemm_pack_fours(b + col * b_stride, b_stride, depth, panel + col) : 0;
    for (; k < depth; ++k) {
      for (int64_t i = col; i < col + kGemmLanes; ++i) panel[k * kGemmCols + i] = i < cols ? b[i * b_stride + k] : 0.0f;
    }
  }
}

// rows ≤ kGemmRows of A, (rows, depth) with rows a_stride apart, depth ≤ kGemmDepth. f maps each vector on its way.
template <class F>
HWY_INLINE void gemm_slab_rows(const float* a, int64_t a_stride, int64_t rows, int64_t depth, float* slab, F f) {
  const GemmTag d;
  for (int64_t row = 0; row < rows; ++row, a += a_stride, slab += kGemmSlabStride) {
    int64_t k = 0;
    for (; k + kGemmLanes <= depth; k += kGemmLanes) hn::StoreU(f(hn::LoadU(d, a + k)), d, slab + k);
    if (k < depth) hn::StoreU(f(load_first(d, a + k, depth - k)), d, slab + k);
  }
}

HWY_INLINE void gemm_slab_rows(const float* a, int64_t a_stride, int64_t rows, int64_t depth, float* slab) {
  gemm_slab_rows(a, a_stride, rows, depth, slab, [](GemmVec v) __attribute__((always_inline)) { return v; });
}

// The same for A given as (depth, rows): the slab of DepthSlab.
HWY_INLINE void gemm_slab_transposed(const float* a, int64_t a_stride, int64_t rows, int64_t depth, float* slab) {
  const GemmTag d;
  for (int64_t k = 0; k < depth; ++k, a += a_stride, slab += kGemmRows) {
    int64_t row = 0;
    // What a store writes beyond its row is overwritten by the next one; the slab has room for the last.
    for (; row + kGemmLanes <= rows; row += kGemmLanes) hn::StoreU(hn::LoadU(d, a + row), d, slab + row);
    if (row < rows) hn::StoreU(load_first(d, a + row, rows - row), d, slab + row);
  }
}

// The operands of a product in float32, by the names that linear knows them by.
struct FloatOperands {
  using Rows = RowSlab;
  using Columns = DepthSlab;
  static constexpr int64_t kSteps = FloatTerms::kSteps;

  static HWY_INLINE void slab_rows(const float* a, int64_t a_stride, int64_t rows, int64_t depth, float* slab) {
    gemm_slab_rows(a, a_stride, rows, depth, slab);
  }
  static HWY_INLINE void slab_transposed(const float* a, int64_t a_stride, int64_t rows, int64_t depth, float* slab) {
    gemm_slab_transposed(a, a_stride, rows, depth, slab);
  }
  static void pack_b(const float* b, int64_t b_stride, int64_t depth, int64_t cols, float* packed, int64_t panel_step) {
    gemm_pack_b(b, b_stride, depth, cols, packed, panel_step);
  }
  static void pack_b_transposed(const float* b, int64_t b_stride, int64_t depth, int64_t cols, float* panel) {
    gemm_pack_b_transposed(b, b_stride, depth, cols, panel);
  }
  // What the words of a slab stand for, added up.
  static HWY_INLINE GemmVec sum(GemmVec words) { return words; }
};

}  // namespace seqrisk::SEQRISK_VARIANT
