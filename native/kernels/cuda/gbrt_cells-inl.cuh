// Histograms in shared memory. No card adds 64-bit integers there in one step, so a cell is two 32-bit words, and what
// the low one carries goes to the high one. Lanes of a warp stand for neighbouring features of a row: they meet in no
// cell, whatever the data.
#pragma once

#include "kernels/cuda/device-inl.cuh"
#include "ops/gbrt_rows.h"

namespace seqrisk {
namespace cuda {

constexpr int kCellThreads = 1024;
// From one feature's cells to the next: equal bins of two features stand in two banks.
constexpr int kCellStride = static_cast<int>(kGbrtCells) + 1;

// Features of a group that a block of threads takes, and whether gradients and Hessians have cells of their own: rows
// may then be of any weight and number.
struct CellPart {
  const uint8_t* bins;  // of the first feature
  int stride;           // from row to row
  int first;            // feature of the matrix
  int width;
  bool in_pairs;

  __device__ int words() const { return width * kCellStride * (in_pairs ? 4 : 2); }
};

// Parts of each group, so that the cells of one fit the 48 KB that every kernel may have.
inline int cell_parts(bool in_pairs) {
  return in_pairs ? 2 : 1;
}
inline size_t cell_bytes(int64_t features, bool in_pairs) {
  const int64_t widest = features < kGbrtGroup ? features : kGbrtGroup;
  const int64_t width = in_pairs ? (widest + 1) / 2 : widest;
  return static_cast<size_t>(width * kCellStride * (in_pairs ? 4 : 2)) * sizeof(uint32_t);
}

__device__ inline CellPart cell_part(const GbrtBins& bins, unsigned part, bool in_pairs) {
  const unsigned parts = in_pairs ? 2 : 1;
  const GbrtGroup group = bins.group(part / parts);
  const int width = static_cast<int>(group.width);
  const int begin = in_pairs && part % 2 == 1 ? (width + 1) / 2 : 0;
  const int end = in_pairs && part % 2 == 0 ? (width + 1) / 2 : width;
  return {group.bins + begin, width, static_cast<int>(group.first) + begin, end - begin, in_pairs};
}

__device__ inline void clear_cells(const CellPart& part, uint32_t* cells) {
  for (int i = threadIdx.x; i < part.words(); i += kCellThreads) cells[i] = 0;
}

__device__ inline void add_wide(uint32_t* low, uint32_t* high, int64_t value) {
  const auto bottom = static_cast<uint32_t>(value);
  const uint32_t before = atomicAdd(low, bottom);
  const uint32_t top = static_cast<uint32_t>(static_cast<uint64_t>(value) >> 32) + (before + bottom < bottom ? 1u : 0u);
  if (top != 0) atomicAdd(high, top);
}

// Adds rows [begin, end) of a list. row_of(i) gives a row, or a negative number for one that is left out.
template <class RowOf>
__device__ void add_to_cells(const CellPart& part, const int64_t* packed, int shift, int64_t begin, int64_t end,
                             const RowOf& row_of, uint32_t* cells) {
  int lanes = 1;  // for each row
  while (lanes < part.width) lanes *= 2;
  const int feature = static_cast<int>(threadIdx.x) & (lanes - 1);
  const int step = kCellThreads / lanes;
  const int words = part.width * kCellStride;
  if (feature >= part.width) return;
  uint32_t* own = cells + feature * kCellStride;
  constexpr int kTogether = 4;  // reads on their way
  int64_t rows[kTogether];
  const auto look_up = [&](int64_t i) {
#pragma unroll
    for (int k = 0; k < kTogether; ++k) {
      const int64_t at = i + static_cast<int64_t>(k) * step;
      rows[k] = at < end ? row_of(at) : -1;
    }
  };
  look_up(begin + threadIdx.x / lanes);
  for (int64_t i = begin + threadIdx.x / lanes; i < end; i += static_cast<int64_t>(step) * kTogether) {
    int64_t value[kTogether];
    int bin[kTogether];
#pragma unroll
    for (int k = 0; k < kTogether; ++k) {
      bin[k] = -1;
      if (rows[k] < 0) continue;
      value[k] = packed[rows[k]];
      bin[k] = part.bins[rows[k] * part.stride + feature];
    }
    look_up(i + static_cast<int64_t>(step) * kTogether);  // while these are on their way
#pragma unroll
    for (int k = 0; k < kTogether; ++k) {
      if (bin[k] < 0) continue;
      uint32_t* cell = own + bin[k];
      if (!part.in_pairs) {
        add_wide(cell, cell + words, value[k]);
      } else {
        const int64_t h = value[k] & ((int64_t{1} << shift) - 1);
        add_wide(cell, cell + words, (value[k] - h) >> shift);
        add_wide(cell + 2 * words, cell + 3 * words, h);
      }
    }
  }
}

__device__ inline int64_t cell_value(const uint32_t* low, const uint32_t* high) {
  return static_cast<int64_t>(static_cast<uint64_t>(*high) << 32 | *low);
}

// A packed cell is (g << shift) + h with 0 ≤ h < 2^shift.
__device__ inline void unpack(int64_t packed, int shift, int64_t* g, int64_t* h) {
  *h = packed & ((int64_t{1} << shift) - 1);
  *g = (packed - *h) >> shift;
}

// Calls f(feature of the part, bin, g, h) for every cell.
template <class F>
__device__ inline void over_cells(const CellPart& part, int shift, const uint32_t* cells, const F& f) {
  const int words = part.width * kCellStride;
  for (int i = threadIdx.x; i < part.width * static_cast<int>(kGbrtCells); i += kCellThreads) {
    const int feature = i / static_cast<int>(kGbrtCells);
    const int bin = i % static_cast<int>(kGbrtCells);
    const uint32_t* cell = cells + feature * kCellStride + bin;
    int64_t g = cell_value(cell, cell + words);
    int64_t h;
    if (part.in_pairs) {
      h = cell_value(cell + 2 * words, cell + 3 * words);
    } else {
      unpack(g, shift, &g, &h);
    }
    f(feature, bin, g, h);
  }
}

// Rows of a chunk [begin, end) in runs of `run` rows, whose weight a packed cell holds; 0: cells are pairs, all rows at
// once. Calls take(cells, is_first) after each run.
template <class RowOf, class Take>
__device__ void add_chunk(const CellPart& part, const int64_t* packed, int shift, int64_t begin, int64_t end,
                          int64_t run, const RowOf& row_of, const Take& take) {
  extern __shared__ uint32_t cells[];
  const int64_t length = run > 0 ? run : end - begin;
  for (int64_t first = begin; first < end; first += length) {
    clear_cells(part, cells);
    __syncthreads();
    const int64_t last = first + length < end ? first + length : end;
    add_to_cells(part, packed, shift, first, last, row_of, cells);
    __syncthreads();
    take(cells, first == begin);
    __syncthreads();
  }
}

// Rows that a block packs between two flushes; 0 where rows are so heavy that pairs are better.
inline int64_t packed_run(int64_t most_weight) {
  constexpr int64_t kShortestRun = 256;
  const int64_t run = kGbrtMostPending / most_weight;
  return run >= kShortestRun ? run : 0;
}

}  // namespace cuda
}  // namespace seqrisk
