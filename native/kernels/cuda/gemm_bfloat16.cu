// bfloat16 matrix products on tensor cores (mma.sync m16n8k16, compute capability 8.0 and later). Operands are float32
// in memory; they are rounded on their way into shared memory, the next slice being fetched while this one is worked on.
#include "kernels/cuda/gemm_epilogue-inl.cuh"
#include "kernels/cuda/matrix-inl.cuh"

namespace seqrisk {
namespace cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kSlice = 32;  // of k in shared memory at a time

// kRows rows of an operand, kSlice deep: as [row][k] where k is adjacent in memory, else as [k][row].
template <int kRows, bool kWide, bool kAdjacent>
class Slice {
 public:
  static constexpr int kEach = kRows * kSlice / kThreads;
  static constexpr int kStride = (kAdjacent ? kSlice : kRows) + kMatrixPad;
  static constexpr int kElements = (kAdjacent ? kRows : kSlice) * kStride;

  __device__ Slice(const GemmOperand& operand, int64_t rows) : operand_(operand), rows_(rows) {}

  __device__ void fetch(int64_t first_row, int64_t k, int64_t k_end) {
#pragma unroll
    for (int i = 0; i < kEach; i += 4) {
      int row, depth;
      place(i, row, depth);
      const int64_t r = first_row + row;
      const int64_t d = k + depth;
      if constexpr (kWide) {
        Floats<4> piece{};
        if (r < rows_ && d < k_end) piece = load<4>(operand_.values + offset(r, d));
#pragma unroll
        for (int p = 0; p < 4; ++p) held_[i + p] = piece.at[p];
      } else {
#pragma unroll
        for (int p = 0; p < 4; ++p) {
          const int64_t rp = kAdjacent ? r : r + p;
          const int64_t dp = kAdjacent ? d + p : d;
          held_[i + p] = rp < rows_ && dp < k_end ? operand_.values[offset(rp, dp)] : 0.0f;
        }
      }
    }
  }

  __device__ void put(__nv_bfloat16* shared) const {
#pragma unroll
    for (int i = 0; i < kEach; i += 4) {
      int row, depth;
      place(i, row, depth);
      __nv_bfloat16* to = shared + (kAdjacent ? row * kStride + depth : depth * kStride + row);
      *reinterpret_cast<uint2*>(to) =
          make_uint2(pack_bfloat16(held_[i], held_[i + 1]), pack_bfloat16(held_[i + 2], held_[i + 3]));
    }
  }

 private:
  __device__ static void place(int i, int& row, int& depth) {
    const int index = static_cast<int>(threadIdx.x) + i / 4 * kThreads;
    if (kAdjacent) {
      row = index / (kSlice / 4);
      depth = index % (kSlice / 4) * 4;
    } else {
      depth = index / (kRows / 4);
      row = index % (kRows / 4) * 4;
    }
  }
  __device__ int64_t offset(int64_t row, int64_t depth) const {
    return kAdjacent ? row * operand_.stride + depth : depth * operand_.stride + row;
  }

  const GemmOperand operand_;
  const int64_t rows_;
  float held_[kEach];
};

// A warp's sums start at the bias.
template <int kRowBlocks, int kColumnBlocks>
__device__ void start_sums(const Gemm& g, int64_t first_column, float (&sums)[kRowBlocks][kColumnBlocks][4]) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
#pragma unroll
  for (int j = 0; j < kColumnBlocks; ++j) {
    float start[2];
    for (int c = 0; c < 2; ++c) {
      const int64_t column = first_column + j * 8 + lane % 4 * 2 + c;
      start[c] = g.bias && column < g.n ? g.bias[column] : 0.0f;
    }
#pragma unroll
    for (int i = 0; i < kRowBlocks; ++i) {
      for (int e = 0; e < 4; ++e) sums[i][j][e] = start[e % 2];
    }
  }
}

template <class PartA, class PartB, bool kAdjacentA, bool kAdjacentB, int kRowBlocks, int kColumnBlocks>
__device__ void multiply_slice(const __nv_bfloat16* a, const __nv_bfloat16* b, int row, int column,
                               float (&sums)[kRowBlocks][kColumnBlocks][4]) {
#pragma unroll
  for (int d = 0; d < kSlice; d += 16) {
    uint32_t left[kRowBlocks][4];
    uint32_t right[kColumnBlocks / 2][4];
#pragma unroll
    for (int i = 0; i < kRowBlocks; ++i) load_left<kAdjacentA>(left[i], a, PartA::kStride, row + i * 16, d);
#pragma unroll
    for (int j = 0; j < kColumnBlocks / 2; ++j) load_right<kAdjacentB>(right[j], b, PartB::kStride, column + j * 16, d);
#pragma unroll
    for (int i = 0; i < kRowBlocks; ++i) {
#pragma unroll
      for (int j = 0; j < kColumnBlocks; ++j) {
        multiply_add(sums[i][j], left[i], right[j / 2][j % 2 * 2], right[j / 2][j % 2 * 2 + 1]);
      }
    }
  }
}

template <bool kWide, int kRowBlocks, int kColumnBlocks>
__device__ void finish_sums(const Gemm& g, int64_t first_row, int64_t first_column,
                            float (&sums)[kRowBlocks][kColumnBlocks][4], int64_t part) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int64_t column = first_column + lane % 4 * 2;
#pragma unroll
  for (int i = 0; i < kRowBlocks; ++i) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int64_t row = first_row + i * 16 + lane / 4 + half * 8;
      if constexpr (kWide) {
        Floats<2> results[kColumnBlocks];
#pragma unroll
        for (int j = 0; j < kColumnBlocks; ++j) results[j] = {{sums[i][j][2 * half], sums[i][j][2 * half + 1]}};
        finish_row(g, row, column, 8, results, part);
      } else {
#pragma unroll
        for (int j = 0; j < kColumnBlocks; ++j) {
          for (int c = 0; c < 2; ++c) {
            Floats<1> result[1] = {{sums[i][j][2 * half + c]}};
            finish_row(g, row, column + j * 8 + c, 0, result, part);
          }
        }
      }
    }
  }
}

// A block has kTile × kTile elements of out; a warp half of its rows and a quarter of its columns.
template <int kTile, bool kWide, bool kAdjacentA, bool kAdjacentB>
__global__ void __launch_bounds__(kThreads, 2) gemm_kernel(Gemm g) {
  constexpr int kWarpRows = kTile / 2;
  constexpr int kWarpColumns = kTile / 4;
  constexpr int kRowBlocks = kWarpRows / 16;
  constexpr int kColumnBlocks = kWarpColumns / 8;
  using PartA = Slice<kTile, kWide, kAdjacentA>;
  using PartB = Slice<kTile, kWide, kAdjacentB>;
  __shared__ alignas(16) __nv_bfloat16 shared_a[2][PartA::kElements];
  __shared__ alignas(16) __nv_bfloat16 shared_b[2][PartB::kElements];
  const int64_t column_tiles = ceil_div(g.n, kTile);  // next to each other: they share rows of a in the cache
  const int64_t first_row = blockIdx.x / column_tiles * kTile;
  const int64_t first_column = blockIdx.x % column_tiles * kTile;
  const int64_t part = blockIdx.y;
  const int64_t begin = part * g.chunk_k;
  const int64_t end = begin + g.chunk_k < g.k ? begin + g.chunk_k : g.k;
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const int warp_row = warp / 4 * kWarpRows;
  const int warp_column = warp % 4 * kWarpColumns;

  float sums[kRowBlocks][kColumnBlocks][4];
  start_sums(g, first_column + warp_column, sums);

  PartA a(g.a, g.m);
  PartB b(g.b, g.n);
  a.fetch(first_row, begin, end);
  b.fetch(first_column, begin, end);
  int side = 0;
  for (int64_t k = begin; k < end; k += kSlice, side ^= 1) {
    a.put(shared_a[side]);
    b.put(shared_b[side]);
    __syncthreads();
    if (k + kSlice < end) {
      a.fetch(first_row, k + kSlice, end);
      b.fetch(first_column, k + kSlice, end);
    }
    multiply_slice<PartA, PartB, kAdjacentA, kAdjacentB>(shared_a[side], shared_b[side], warp_row, warp_column, sums);
  }
  finish_sums<kWide>(g, first_row + warp_row, first_column + warp_column, sums, part);
}

// The same for operands of rows on the left and a small one on the right, which stays in shared memory, rounded once:
// blocks take one tile of rows after the other. Where a is read once and out written once, that is all the memory there
// is to move.
template <int kColumns, bool kAdjacentB>
__global__ void __launch_bounds__(kThreads, 2) tall_kernel(Gemm g, int64_t column_tiles) {
  constexpr int kRows = 128;
  constexpr int kWarpRows = kRows / 2;
  constexpr int kWarpColumns = kColumns / 4;
  constexpr int kRowBlocks = kWarpRows / 16;
  constexpr int kColumnBlocks = kWarpColumns / 8;
  using PartA = Slice<kRows, true, true>;
  using PartB = Slice<kColumns, true, kAdjacentB>;
  extern __shared__ __nv_bfloat16 shared[];
  const int slices = static_cast<int>(ceil_div(g.k, kSlice));
  __nv_bfloat16* shared_a = shared;  // two slices
  __nv_bfloat16* shared_b = shared + 2 * PartA::kElements;  // all slices
  const int64_t first_column = blockIdx.x % column_tiles * kColumns;
  const int64_t step = gridDim.x / column_tiles;
  const int64_t row_tiles = ceil_div(g.m, kRows);
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const int warp_row = warp / 4 * kWarpRows;
  const int warp_column = warp % 4 * kWarpColumns;

  int64_t tile = blockIdx.x / column_tiles;
  if (tile >= row_tiles) return;
  PartA a(g.a, g.m);
  a.fetch(tile * kRows, 0, g.k);
  {
    PartB b(g.b, g.n);
    for (int slice = 0; slice < slices; ++slice) {
      b.fetch(first_column, slice * kSlice, g.k);
      b.put(shared_b + slice * PartB::kElements);
    }
  }
  int side = 0;
  for (; tile < row_tiles; tile += step) {
    float sums[kRowBlocks][kColumnBlocks][4];
    start_sums(g, first_column + warp_column, sums);
    for (int slice = 0; slice < slices; ++slice, side ^= 1) {
      __nv_bfloat16* own = shared_a + side * PartA::kElements;
      a.put(own);
      __syncthreads();
      if (slice + 1 < slices) {
        a.fetch(tile * kRows, (slice + 1) * kSlice, g.k);
      } else if (tile + step < row_tiles) {
        a.fetch((tile + step) * kRows, 0, g.k);
      }
      multiply_slice<PartA, PartB, true, kAdjacentB>(own, shared_b + slice * PartB::kElements, warp_row, warp_column,
                                                     sums);
    }
    finish_sums<true>(g, tile * kRows + warp_row, first_column + warp_column, sums, 0);
  }
}

template <int kColumns, bool kAdjacentB>
size_t tall_shared(const Gemm& g) {
  using PartA = Slice<128, true, true>;
  using PartB = Slice<kColumns, true, kAdjacentB>;
  const auto slices = static_cast<size_t>(ceil_div(g.k, kSlice));
  return (2 * PartA::kElements + slices * PartB::kElements) * sizeof(__nv_bfloat16);
}

// False where the right operand does not fit.
template <int kColumns, bool kAdjacentB>
bool launch_tall(const Gemm& g, Launch& launch) {
  const size_t bytes = tall_shared<kColumns, kAdjacentB>(g);
  if (bytes > launch.shared_limit) return false;
  const auto kernel = tall_kernel<kColumns, kAdjacentB>;
  cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes));
  const int64_t column_tiles = ceil_div(g.n, kColumns);
  const int64_t per_multiprocessor = 2 * bytes <= launch.shared_limit ? 2 : 1;
  int64_t rows_at_once = launch.multiprocessors * per_multiprocessor / column_tiles;
  const int64_t row_tiles = ceil_div(g.m, 128);
  rows_at_once = rows_at_once < 1 ? 1 : rows_at_once > row_tiles ? row_tiles : rows_at_once;
  kernel<<<static_cast<unsigned>(rows_at_once * column_tiles), kThreads, bytes, launch.stream>>>(g, column_tiles);
  return true;
}

template <int kTile, bool kWide>
void launch_layout(const Gemm& g, Launch& launch) {
  const dim3 blocks(blocks_of(g.m, kTile) * blocks_of(g.n, kTile), static_cast<unsigned>(g.chunks));
  if (g.a.k_adjacent && g.b.k_adjacent) {
    gemm_kernel<kTile, kWide, true, true><<<blocks, kThreads, 0, launch.stream>>>(g);
  } else if (g.a.k_adjacent) {
    gemm_kernel<kTile, kWide, true, false><<<blocks, kThreads, 0, launch.stream>>>(g);
  } else {
    gemm_kernel<kTile, kWide, false, false><<<blocks, kThreads, 0, launch.stream>>>(g);
  }
}

bool is_wide_operand(const GemmOperand& operand, int64_t rows, int64_t k) {
  return is_wide(operand.stride, operand.values) && is_wide(operand.k_adjacent ? k : rows);
}

}  // namespace

void gemm_bfloat16(const Gemm& g, Launch& launch) {
  const bool wide = is_wide_operand(g.a, g.m, g.k) && is_wide_operand(g.b, g.n, g.k) && has_wide_results(g);
  const int64_t large = ceil_div(g.m, 128) * ceil_div(g.n, 128) * g.chunks;
  const bool small = large < launch.multiprocessors || g.n <= 64;
  if (wide && g.chunks == 1 && g.a.k_adjacent && ceil_div(g.m, 128) >= launch.multiprocessors) {
    if (g.b.k_adjacent ? launch_tall<128, true>(g, launch) : launch_tall<128, false>(g, launch)) return;
    if (g.b.k_adjacent ? launch_tall<64, true>(g, launch) : launch_tall<64, false>(g, launch)) return;
  }
  if (small && wide) return launch_layout<64, true>(g, launch);
  if (small) return launch_layout<64, false>(g, launch);
  if (wide) return launch_layout<128, true>(g, launch);
  launch_layout<128, false>(g, launch);
}

}  // namespace cuda
}  // namespace seqrisk
