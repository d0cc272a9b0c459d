// What the tree kernels share: binned rows, packed gradients, and the order in which rows are kept.
//
// Rows stand in blocks of kGbrtBlockRows. Inside a block, `index` lists the rows by leaf (offsets from the block's
// first row, ascending within a leaf); a leaf is one GbrtSegment per block. Splitting a leaf reorders each block by
// itself.
//
// A packed gradient is (g << shift) + h with integers |g| ≤ w·2^g_bits, 0 ≤ h ≤ w·2^h_bits, w the row's weight. One
// addition adds both. No overflow: a worker's cells take rows of at most kGbrtMostPending = 2^13 − 1 weight before they
// are flushed to 64-bit pairs, so that per cell Σh < 2^(h_bits+13) ≤ 2^shift never reaches g's bits, and
// |Σg| < 2^(g_bits+13) ≤ 2^(63−shift) never leaves its own. The formats below meet this:
//   general            g_bits 20, h_bits 17, shift 30       20+13 ≤ 63−30,  17+13 ≤ 30
//   Hessian of weights g_bits 24, h_bits 13, shift 26       24+13 ≤ 63−26,  13+13 ≤ 26
//   constant Hessian   g_bits 30, h_bits  0, shift 16       30+13 ≤ 63−16,   0+13 ≤ 16
// The pairs hold Σw·2^30 at most: the trainer refuses a total weight of 2^32 or more.
#pragma once

#include <cstddef>
#include <cstdint>

namespace seqrisk {

constexpr int64_t kGbrtCells = 256;  // histogram cells of a feature
// Cells from one feature to the next while they are packed: a processor that compares addresses by their low 12 bits
// takes equal bins of two features 4096 bytes apart for one place, and waits. Binary columns: 7 times slower without.
constexpr int64_t kGbrtStride = kGbrtCells + 8;
constexpr int64_t kGbrtBlockRows = 4096;    // a block's bins and gradients stay in L2 between two uses
constexpr int64_t kGbrtMostPending = 8191;  // weight between two flushes
constexpr int64_t kGbrtMostFeatures = 65535;

struct GbrtFormat {
  int g_bits;
  int h_bits;
  int shift;
};
constexpr GbrtFormat kGbrtGeneral{20, 17, 30};
// Squared loss with fractions as weights: residuals have no bound, so g has bits for an outlier of 10⁵ beside them; h
// has enough for weights of 10⁻⁴.
constexpr GbrtFormat kGbrtWeightHessian{24, 13, 26};
constexpr GbrtFormat kGbrtConstantHessian{30, 0, 16};

constexpr bool gbrt_format_holds(GbrtFormat f) {
  return f.h_bits + 13 <= f.shift && f.g_bits + 13 <= 63 - f.shift;
}
static_assert(gbrt_format_holds(kGbrtGeneral) && gbrt_format_holds(kGbrtWeightHessian) &&
              gbrt_format_holds(kGbrtConstantHessian));

// Features in groups of up to kGbrtGroup of nearly equal width, one group after the other, row-major inside a group.
// A gathered row costs a cache line for each group, a split touches one group alone.
constexpr int64_t kGbrtGroup = 16;

struct GbrtGroup {
  const uint8_t* bins;  // (rows, width)
  int64_t first;        // feature
  int64_t width;
};

struct GbrtBins {
  const uint8_t* bins;
  int64_t rows;
  int64_t features;

  constexpr int64_t groups() const { return (features + kGbrtGroup - 1) / kGbrtGroup; }
  constexpr GbrtGroup group(int64_t g) const {
    const int64_t first = features * g / groups();
    return {bins + first * rows, first, features * (g + 1) / groups() - first};
  }
  constexpr GbrtGroup group_of(int64_t feature) const {
    int64_t g = feature * groups() / features;
    if (feature >= features * (g + 1) / groups()) ++g;
    return group(g);
  }
};

// Where a leaf's rows stand in a block: `in` rows that train, then `out` rows that do not.
struct GbrtSegment {
  uint16_t begin;
  uint16_t in;
  uint16_t out;
};

// Upper bounds of the weight in each block; null pointers mean that every row weighs 1.
struct GbrtWeights {
  const uint32_t* block_total;
  const uint32_t* block_most;
};

// One worker's histogram: pending packed sums, and the 64-bit pairs that they are flushed to. All zero before the first
// use; the reader of a node's sums leaves them zero again.
struct GbrtCells {
  int64_t* packed;   // (features, kGbrtStride)
  int64_t* pairs;    // (features, 2, kGbrtCells): g, h
  int64_t* pending;  // (2): weight in packed; 1 when pairs are in use
};

// Memory of all workers' cells, one after the other.
struct GbrtCellMemory {
  int64_t* base;
  int64_t features;
  int workers;

  static constexpr int64_t words(int64_t features) { return features * (kGbrtStride + 2 * kGbrtCells) + 8; }
  GbrtCells of(int worker) const {
    int64_t* begin = base + worker * words(features);
    return {begin + 8, begin + 8 + features * kGbrtStride, begin};
  }
};

inline int64_t gbrt_blocks(int64_t rows) {
  return (rows + kGbrtBlockRows - 1) / kGbrtBlockRows;
}

}  // namespace seqrisk
