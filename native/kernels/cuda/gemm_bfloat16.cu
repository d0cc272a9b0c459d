// bfloat16 matrix products on tensor cores (mma.sync m16n8k16, compute capability 8.0 and later). Operands are float32
// in memory; they are rounded on their way into shared memory, the next slice being fetched while this one is worked
// on.
#include "kernels/cuda/gemm_epilogue-inl.cuh"
#include "kernels/cuda/matrix-inl.cuh"

namespace seqrisk {
namespace cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kSlice = 32;  // of k in shared memory at a time

// kRows rows of an operand, kSlice deep, in bfloat16: as [row][k] where k is adjacent in memory, else as [k][row].
// Threads take pieces of four floats along what is adjacent in memory.
template <int kRows, bool kAdjacent>
struct SliceLayout {
  static constexpr int kPieces = kRows * kSlice / 4 / kThreads;  // of a thread
  static constexpr int kStride = (kAdjacent ? kSlice : kRows) + kMatrixPad;
  static constexpr int kElements = (kAdjacent ? kRows : kSlice) * kStride;

  __device__ static void place(int piece, int& row, int& depth) {
    const int index = static_cast<int>(threadIdx.x) + piece * kThreads;
    if (kAdjacent) {
      row = index / (kSlice / 4);
      depth = index % (kSlice / 4) * 4;
    } else {
      depth = index / (kRows / 4);
      row = index % (kRows / 4) * 4;
    }
  }
  __device__ static void put(__nv_bfloat16* shared, int piece, const float (&values)[4]) {
    int row, depth;
    place(piece, row, depth);
    *reinterpret_cast<uint2*>(shared + (kAdjacent ? row * kStride + depth : depth * kStride + row)) =
        make_uint2(pack_bfloat16(values[0], values[1]), pack_bfloat16(values[2], values[3]));
  }
};

// Bytes of a ring for so many slices of a tile of rows.
constexpr size_t ring_bytes(int rows, int slices) {
  return static_cast<size_t>(rows) * kSlice * static_cast<size_t>(slices) * sizeof(float);
}

// Brings slices of any operand through registers: one is on its way while the one before is worked on. With kWide four
// floats at a time.
template <int kRows, bool kWide, bool kAdjacent>
class HeldSlice : public SliceLayout<kRows, kAdjacent> {
 public:
  using Layout = SliceLayout<kRows, kAdjacent>;

  __device__ HeldSlice(const GemmOperand& operand, int64_t rows, float*) : operand_(operand), rows_(rows) {}

  __device__ void fetch(int64_t first_row, int64_t k, int64_t k_end, int) {
#pragma unroll
    for (int piece = 0; piece < Layout::kPieces; ++piece) {
      int row, depth;
      Layout::place(piece, row, depth);
      if constexpr (kWide) {
        const int64_t r = first_row + row;
        const int64_t d = k + depth;
        Floats<4> values{};
        if (r < rows_ && d < k_end) {
          values = load<4>(operand_.values + (kAdjacent ? r * operand_.stride + d : d * operand_.stride + r));
        }
        for (int p = 0; p < 4; ++p) held_[piece][p] = values.at[p];
      } else {
        for (int p = 0; p < 4; ++p) {
          const int64_t r = first_row + row + (kAdjacent ? 0 : p);
          const int64_t d = k + depth + (kAdjacent ? p : 0);
          const bool inside = r < rows_ && d < k_end;
          held_[piece][p] =
              inside ? operand_.values[kAdjacent ? r * operand_.stride + d : d * operand_.stride + r] : 0.0f;
        }
      }
    }
  }
  __device__ void put(__nv_bfloat16* shared, int) const {
#pragma unroll
    for (int piece = 0; piece < Layout::kPieces; ++piece) Layout::put(shared, piece, held_[piece]);
  }

 private:
  const GemmOperand operand_;
  const int64_t rows_;
  float held_[Layout::kPieces][4];
};

// Brings slices of an operand that is read four floats at a time: copies run on their own, some slices ahead, into a
// ring in shared memory where each thread later finds its own pieces.
template <int kRows, bool kAdjacent>
class AsyncSlice : public SliceLayout<kRows, kAdjacent> {
 public:
  using Layout = SliceLayout<kRows, kAdjacent>;

  __device__ AsyncSlice(const GemmOperand& operand, int64_t rows, float* ring)
      : operand_(operand), rows_(rows), ring_(ring) {}

  __device__ void fetch(int64_t first_row, int64_t k, int64_t k_end, int slot) const {
#pragma unroll
    for (int piece = 0; piece < Layout::kPieces; ++piece) {
      int row, depth;
      Layout::place(piece, row, depth);
      const int64_t r = first_row + row;
      const int64_t d = k + depth;
      // Rows and k come in whole pieces: one is inside or outside as a whole, and zeros where it is outside.
      const bool inside = r < rows_ && d < k_end;
      copy_async(
          at(slot, piece),
          inside ? operand_.values + (kAdjacent ? r * operand_.stride + d : d * operand_.stride + r) : operand_.values,
          inside);
    }
  }
  __device__ void put(__nv_bfloat16* shared, int slot) const {
#pragma unroll
    for (int piece = 0; piece < Layout::kPieces; ++piece) {
      Layout::put(shared, piece, load<4>(at(slot, piece)).at);
    }
  }

 private:
  __device__ float* at(int slot, int piece) const {
    return ring_ + ((slot * Layout::kPieces + piece) * kThreads + static_cast<int>(threadIdx.x)) * 4;
  }

  const GemmOperand operand_;
  const int64_t rows_;
  float* const ring_;
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

// Which slices a kernel has: of a tile of kRows rows.
template <int kRows, bool kWide, bool kAdjacent>
struct SliceOf {
  using Type = HeldSlice<kRows, false, kAdjacent>;
};
template <int kRows, bool kAdjacent>
struct SliceOf<kRows, true, kAdjacent> {
  using Type = AsyncSlice<kRows, kAdjacent>;
};

// A block has kTile × kTile elements of out; a warp half of its rows and a quarter of its columns.
template <int kTile, bool kWide, bool kAdjacentA, bool kAdjacentB>
struct Tiles {
  using PartA = typename SliceOf<kTile, kWide, kAdjacentA>::Type;
  using PartB = typename SliceOf<kTile, kWide, kAdjacentB>::Type;
  static constexpr int kDepth = kWide ? 3 : 1;  // slices on their way
  static constexpr size_t kRing = kWide ? ring_bytes(kTile, kDepth) : 0;
  static constexpr size_t kBytes = 2 * kRing + 2 * (PartA::kElements + PartB::kElements) * sizeof(__nv_bfloat16);
};

template <int kTile, bool kWide, bool kAdjacentA, bool kAdjacentB>
__global__ void __launch_bounds__(kThreads) gemm_kernel(Gemm g) {
  constexpr int kWarpRows = kTile / 2;
  constexpr int kWarpColumns = kTile / 4;
  using Own = Tiles<kTile, kWide, kAdjacentA, kAdjacentB>;
  using PartA = typename Own::PartA;
  using PartB = typename Own::PartB;
  constexpr int kDepth = Own::kDepth;
  extern __shared__ float memory[];
  float* ring_a = memory;
  float* ring_b = ring_a + Own::kRing / sizeof(float);
  auto* shared_a = reinterpret_cast<__nv_bfloat16*>(ring_b + Own::kRing / sizeof(float));
  __nv_bfloat16* shared_b = shared_a + 2 * PartA::kElements;
  const int64_t column_tiles = ceil_div(g.n, kTile);  // next to each other: they share rows of a in the cache
  const int64_t first_row = blockIdx.x / column_tiles * kTile;
  const int64_t first_column = blockIdx.x % column_tiles * kTile;
  const int64_t part = blockIdx.y;
  const int64_t begin = part * g.chunk_k;
  const int64_t end = begin + g.chunk_k < g.k ? begin + g.chunk_k : g.k;
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const int warp_row = warp / 4 * kWarpRows;
  const int warp_column = warp % 4 * kWarpColumns;

  float sums[kWarpRows / 16][kWarpColumns / 8][4];
  start_sums(g, first_column + warp_column, sums);
  PartA a(g.a, g.m, ring_a);
  PartB b(g.b, g.n, ring_b);
  const int slices = static_cast<int>(ceil_div(end - begin, kSlice));
  const auto fetch = [&](int slice) {
    if (slice < slices) {
      a.fetch(first_row, begin + static_cast<int64_t>(slice) * kSlice, end, slice % kDepth);
      b.fetch(first_column, begin + static_cast<int64_t>(slice) * kSlice, end, slice % kDepth);
    }
    close_async_group();
  };
  for (int slice = 0; slice < kDepth; ++slice) fetch(slice);
  for (int slice = 0; slice < slices; ++slice) {
    __nv_bfloat16* own_a = shared_a + slice % 2 * PartA::kElements;
    __nv_bfloat16* own_b = shared_b + slice % 2 * PartB::kElements;
    wait_async_groups<kDepth - 1>();
    a.put(own_a, slice % kDepth);
    b.put(own_b, slice % kDepth);
    __syncthreads();
    fetch(slice + kDepth);
    multiply_slice<PartA, PartB, kAdjacentA, kAdjacentB>(own_a, own_b, warp_row, warp_column, sums);
  }
  finish_sums<kWide>(g, first_row + warp_row, first_column + warp_column, sums, part);
}

// The same for operands of rows on the left and a small one on the right, which stays in shared memory, rounded once:
// blocks take one tile of rows after the other. Where a is read once and out written once, that is all the memory there
// is to move.
//
// Rows come through registers, so that two blocks fit on a multiprocessor: with a ring as above and one block, 256 →
// 256 took 0.42 ms instead of 0.35 for 256 000 rows on an H200. Too few warps hide too little.
template <int kColumns, bool kAdjacentB>
struct Tall {
  static constexpr int kRows = 128;
  using PartA = HeldSlice<kRows, true, true>;
  using PartB = HeldSlice<kColumns, true, kAdjacentB>;
  static size_t bytes(int64_t k) {
    const auto slices = static_cast<size_t>(ceil_div(k, kSlice));
    return (2 * PartA::kElements + slices * PartB::kElements) * sizeof(__nv_bfloat16);
  }
};

template <int kColumns, bool kAdjacentB>
__global__ void __launch_bounds__(kThreads, 2) tall_kernel(Gemm g, int64_t column_tiles) {
  constexpr int kRows = Tall<kColumns, kAdjacentB>::kRows;
  constexpr int kWarpRows = kRows / 2;
  constexpr int kWarpColumns = kColumns / 4;
  using PartA = typename Tall<kColumns, kAdjacentB>::PartA;
  using PartB = typename Tall<kColumns, kAdjacentB>::PartB;
  extern __shared__ float memory[];
  auto* shared_a = reinterpret_cast<__nv_bfloat16*>(memory);  // two slices
  __nv_bfloat16* shared_b = shared_a + 2 * PartA::kElements;  // all slices
  const int slices = static_cast<int>(ceil_div(g.k, kSlice));
  const int64_t first_column = blockIdx.x % column_tiles * kColumns;
  const int64_t step = gridDim.x / column_tiles;
  const int64_t row_tiles = ceil_div(g.m, kRows);
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const int warp_row = warp / 4 * kWarpRows;
  const int warp_column = warp % 4 * kWarpColumns;

  int64_t tile = blockIdx.x / column_tiles;
  PartA a(g.a, g.m, nullptr);
  a.fetch(tile * kRows, 0, g.k, 0);
  {
    PartB b(g.b, g.n, nullptr);
    for (int slice = 0; slice < slices; ++slice) {
      b.fetch(first_column, slice * kSlice, g.k, 0);
      b.put(shared_b + slice * PartB::kElements, 0);
    }
  }
  int side = 0;
  for (; tile < row_tiles; tile += step) {
    float sums[kWarpRows / 16][kWarpColumns / 8][4];
    start_sums(g, first_column + warp_column, sums);
    for (int slice = 0; slice < slices; ++slice, side ^= 1) {
      __nv_bfloat16* own = shared_a + side * PartA::kElements;
      a.put(own, 0);
      __syncthreads();
      if (slice + 1 < slices) {
        a.fetch(tile * kRows, (slice + 1) * kSlice, g.k, 0);
      } else if (tile + step < row_tiles) {
        a.fetch((tile + step) * kRows, 0, g.k, 0);
      }
      multiply_slice<PartA, PartB, true, kAdjacentB>(own, shared_b + slice * PartB::kElements, warp_row, warp_column,
                                                     sums);
    }
    finish_sums<true>(g, tile * kRows + warp_row, first_column + warp_column, sums, 0);
  }
}

// False where the right operand does not fit.
template <int kColumns, bool kAdjacentB>
bool launch_tall(const Gemm& g, Launch& launch) {
  const size_t bytes = Tall<kColumns, kAdjacentB>::bytes(g.k);
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

template <int kTile, bool kWide, bool kAdjacentA, bool kAdjacentB>
void launch_kernel(const Gemm& g, Launch& launch) {
  const size_t bytes = Tiles<kTile, kWide, kAdjacentA, kAdjacentB>::kBytes;
  const auto kernel = gemm_kernel<kTile, kWide, kAdjacentA, kAdjacentB>;
  cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes));
  const dim3 blocks(blocks_of(g.m, kTile) * blocks_of(g.n, kTile), static_cast<unsigned>(g.chunks));
  kernel<<<blocks, kThreads, bytes, launch.stream>>>(g);
}

template <int kTile, bool kWide>
void launch_layout(const Gemm& g, Launch& launch) {
  if (g.a.k_adjacent && g.b.k_adjacent) return launch_kernel<kTile, kWide, true, true>(g, launch);
  if (g.a.k_adjacent) return launch_kernel<kTile, kWide, true, false>(g, launch);
  launch_kernel<kTile, kWide, false, false>(g, launch);
}

}  // namespace

void gemm_bfloat16(const Gemm& g, Launch& launch) {
  const bool wide = is_wide_problem(g);
  const int64_t large = ceil_div(g.m, 128) * ceil_div(g.n, 128) * g.chunks;
  const bool fits = Tiles<128, true, true, true>::kBytes <= launch.shared_limit;
  const bool small = large < launch.multiprocessors || g.n <= 64 || !fits;
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
