// Operands of bfloat16 for gemm-inl.h: a word of a slab or a panel holds two adjacent steps of depth, the earlier one
// in its low half, and a step of a tile multiplies both (AVX-512 BF16's VDPBF16PS). Sums are float32. Values are
// rounded to the nearest, ties to even, as they are put there; subnormal ones are zero to the instructions. An odd
// depth ends with a zero.
//
// Every element of C is one chain over ascending pairs: its bits depend neither on the tile nor on rows and cols.
#pragma once

#include <immintrin.h>

#include "kernels/cpu/gemm-inl.h"

namespace seqrisk::SEQRISK_VARIANT {

struct Bfloat16Pairs {
  static constexpr int64_t kSteps = 2;
  static HWY_INLINE GemmVec multiply_add(GemmVec a, GemmVec b, GemmVec sum) {
    return GemmVec{_mm512_dpbf16_ps(sum.raw, reinterpret_cast<__m512bh>(a.raw), reinterpret_cast<__m512bh>(b.raw))};
  }
};

struct Bfloat16Operands {
  struct Rows : RowSlab, private Bfloat16Pairs {
    using Bfloat16Pairs::multiply_add;
  };
  struct Columns : DepthSlab, private Bfloat16Pairs {
    using Bfloat16Pairs::multiply_add;
  };
  static constexpr int64_t kSteps = Bfloat16Pairs::kSteps;

  static HWY_INLINE void slab_rows(const float* a, int64_t a_stride, int64_t rows, int64_t depth, float* slab) {
    for (int64_t row = 0; row < rows; ++row) pair_adjacent(a + row * a_stride, depth, slab + row * kGemmSlabStride);
  }

  static HWY_INLINE void slab_transposed(const float* a, int64_t a_stride, int64_t rows, int64_t depth, float* slab) {
    static_assert(kGemmRows <= kGemmLanes);
    const GemmTag d;
    for (int64_t k = 0; k < depth; k += kSteps, slab += kGemmRows) {
      const GemmVec low = load_first(d, a + k * a_stride, rows);
      const GemmVec high = k + 1 < depth ? load_first(d, a + (k + 1) * a_stride, rows) : hn::Zero(d);
      // What a store writes beyond its rows is overwritten by the next one; the slab has room for the last.
      hn::StoreU(pair(low, high), d, slab);
    }
  }

  static void pack_b(const float* b, int64_t b_stride, int64_t depth, int64_t cols, float* packed, int64_t panel_step) {
    const GemmTag d;
    const int64_t end = gemm_panels(cols) * kGemmCols;
    const auto load = [&](const float* p, int64_t left) __attribute__((always_inline)) {
      return left >= kGemmLanes ? hn::LoadU(d, p) : left > 0 ? load_first(d, p, left) : hn::Zero(d);
    };
    for (int64_t k = 0; k < depth; k += kSteps, b += kSteps * b_stride, packed += kGemmCols) {
      float* to = packed;
      for (int64_t col = 0; col < end; col += kGemmCols, to += panel_step) {
        gemm_unroll<kGemmVectors>([&](auto v) __attribute__((always_inline)) {
          const int64_t i = col + v * kGemmLanes;
          const GemmVec low = load(b + i, cols - i);
          const GemmVec high = k + 1 < depth ? load(b + b_stride + i, cols - i) : hn::Zero(d);
          hn::StoreU(pair(low, high), d, to + v * kGemmLanes);
        });
      }
    }
  }

  static void pack_b_transposed(const float* b, int64_t b_stride, int64_t depth, int64_t cols, float* panel) {
    constexpr int64_t kDepth = 64;                            // at a time
    constexpr int64_t kStride = kDepth / kSteps + kGemmLine;  // rows do not fall into the same cache set
    HWY_ALIGN float pairs[kGemmCols * kStride];
    for (int64_t k = 0; k < depth; k += kDepth) {
      const int64_t steps = depth - k < kDepth ? depth - k : kDepth;
      for (int64_t col = 0; col < cols; ++col) pair_adjacent(b + col * b_stride + k, steps, pairs + col * kStride);
      gemm_pack_b_transposed(pairs, kStride, (steps + 1) / kSteps, cols, panel + k / kSteps * kGemmCols);
    }
  }

  static HWY_INLINE GemmVec sum(GemmVec words) {
    const GemmTag d;
    const hn::Repartition<uint32_t, GemmTag> bits;
    const auto pairs = hn::BitCast(bits, words);
    return hn::Add(hn::BitCast(d, hn::ShiftLeft<16>(pairs)),
                   hn::BitCast(d, hn::And(pairs, hn::Set(bits, 0xffff0000u))));
  }

 private:
  // Lane by lane.
  static HWY_INLINE GemmVec pair(GemmVec low, GemmVec high) {
    const auto words = [](GemmVec v) __attribute__((always_inline)) {
      return _mm512_cvtepu16_epi32(reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(v.raw)));
    };
    return GemmVec{_mm512_castsi512_ps(_mm512_or_si512(words(low), _mm512_slli_epi32(words(high), 16)))};
  }

  // A row of floats. Writes whole vectors of words.
  static HWY_INLINE void pair_adjacent(const float* from, int64_t depth, float* to) {
    const GemmTag d;
    const auto store = [&](GemmVec first, GemmVec second) __attribute__((always_inline)) {
      hn::StoreU(GemmVec{reinterpret_cast<__m512>(_mm512_cvtne2ps_pbh(second.raw, first.raw))}, d, to);
    };
    int64_t k = 0;
    for (; k + 2 * kGemmLanes <= depth; k += 2 * kGemmLanes, to += kGemmLanes) {
      store(hn::LoadU(d, from + k), hn::LoadU(d, from + k + kGemmLanes));
    }
    if (k == depth) return;
    const int64_t left = depth - k;
    const bool is_long = left > kGemmLanes;
    store(load_first(d, from + k, is_long ? kGemmLanes : left),
          is_long ? load_first(d, from + k + kGemmLanes, left - kGemmLanes) : hn::Zero(d));
  }
};

}  // namespace seqrisk::SEQRISK_VARIANT
