// bfloat16 matrix products (mma.sync m16n8k16, compute capability 8.0 and later). A block of four warps has 128 × 128
// elements of out, a warp 64 × 64 of them: then shared memory feeds the tensor cores. Slices of the operands come by
// asynchronous copies, some slices ahead, and blocks go from tile to tile without letting the copies run dry. A small
// right operand stays in shared memory as a whole.
#include "kernels/cuda/gemm_bfloat16.h"

#include "kernels/cuda/gemm_bfloat16_finish-inl.cuh"
#include "kernels/cuda/gemm_cublaslt.h"
#include "kernels/cuda/gemm_hopper.h"

namespace seqrisk {
namespace cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kTile = 128;
constexpr int kPart = 64;   // rows, and columns, of a warp
constexpr int kSlice = 32;  // of k at a time
constexpr int kStages = 4;  // slices in shared memory
constexpr int kBlocks = 2;  // on a multiprocessor
constexpr int kLeftBlocks = kPart / 16;
constexpr int kRightBlocks = kPart / 8;

// kTile rows of an operand, kSlice deep: as [row][k] where k is adjacent in memory, else as [k][row].
template <bool kAdjacent>
struct Slice {
  static constexpr int kStride = (kAdjacent ? kSlice : kTile) + kMatrixPad;
  static constexpr int kElements = (kAdjacent ? kTile : kSlice) * kStride;

  static __device__ void fetch(Bfloat16* shared, const Bfloat16Rows& from, int64_t rows, int64_t first_row, int64_t k,
                               int64_t k_end) {
    constexpr int kAcross = (kAdjacent ? kSlice : kTile) / 8;  // pieces of 16 bytes in a row of the slice
    constexpr int kPieces = kTile * kSlice / 8 / kThreads;     // of a thread
#pragma unroll
    for (int piece = 0; piece < kPieces; ++piece) {
      const int index = static_cast<int>(threadIdx.x) + piece * kThreads;
      const int line = index / kAcross;
      const int place = index % kAcross * 8;
      const int64_t row = first_row + (kAdjacent ? line : place);
      const int64_t depth = k + (kAdjacent ? place : line);
      const bool inside = row < rows && depth < k_end;
      const int64_t at = kAdjacent ? row * from.stride + depth : depth * from.stride + row;
      copy_async(shared + line * kStride + place, from.values + (inside ? at : 0), inside);
    }
  }
};

// A right operand that stays: all of k, rounded up to whole slices.
template <bool kAdjacent>
struct Held {
  static __host__ __device__ int depth(int64_t k) { return static_cast<int>(ceil_div(k, kSlice)) * kSlice; }
  static __host__ __device__ int stride(int64_t k) { return (kAdjacent ? depth(k) : kTile) + kMatrixPad; }
  static __host__ __device__ int elements(int64_t k) { return (kAdjacent ? kTile : depth(k)) * stride(k); }

  static __device__ void fetch(Bfloat16* shared, const Bfloat16Rows& from, int64_t rows, int64_t first_row, int64_t k) {
    const int across = (kAdjacent ? depth(k) : kTile) / 8;
    const int pieces = kTile * depth(k) / 8;
    for (int index = static_cast<int>(threadIdx.x); index < pieces; index += kThreads) {
      const int line = index / across;
      const int place = index % across * 8;
      const int64_t row = first_row + (kAdjacent ? line : place);
      const int64_t at_k = kAdjacent ? place : line;
      const bool inside = row < rows && at_k < k;
      const int64_t at = kAdjacent ? row * from.stride + at_k : at_k * from.stride + row;
      copy_async(shared + line * stride(k) + place, from.values + (inside ? at : 0), inside);
    }
  }
};

template <GemmForm kForm>
constexpr bool kLeftAdjacent = kForm != GemmForm::columns_by_columns;
template <GemmForm kForm>
constexpr bool kRightAdjacent = kForm == GemmForm::rows_by_rows;

template <GemmForm kForm, bool kHeld>
size_t shared_bytes(int64_t k) {
  const size_t left = kStages * Slice<kLeftAdjacent<kForm>>::kElements;
  const size_t right = kHeld ? static_cast<size_t>(Held<kRightAdjacent<kForm>>::elements(k))
                             : static_cast<size_t>(kStages * Slice<kRightAdjacent<kForm>>::kElements);
  return (left + right) * sizeof(Bfloat16);
}

using Sums = Strip<kRightBlocks>[kLeftBlocks];

// `right` is where the slice's k = 0 stands. With row_sums also left · 1, of which every column is the same. All of the
// slice is asked for before anything is multiplied.
template <bool kAdjacentLeft, bool kAdjacentRight>
__device__ inline void multiply_slice(const Bfloat16* left, const Bfloat16* right, int right_stride, int row,
                                      int column, Sums& sums, bool sums_rows, float (&row_sums)[kLeftBlocks][4]) {
  constexpr uint32_t kOnes = 0x3f803f80;  // two
  constexpr int kSteps = kSlice / 16;
  uint32_t a[kSteps][kLeftBlocks][4];
  uint32_t b[kSteps][kRightBlocks / 2][4];
#pragma unroll
  for (int d = 0; d < kSteps; ++d) {
#pragma unroll
    for (int i = 0; i < kLeftBlocks; ++i) {
      load_left<kAdjacentLeft>(a[d][i], left, Slice<kAdjacentLeft>::kStride, row + i * 16, d * 16);
    }
#pragma unroll
    for (int j = 0; j < kRightBlocks / 2; ++j) {
      load_right<kAdjacentRight>(b[d][j], right, right_stride, column + j * 16, d * 16);
    }
  }
#pragma unroll
  for (int d = 0; d < kSteps; ++d) {
#pragma unroll
    for (int i = 0; i < kLeftBlocks; ++i) {
#pragma unroll
      for (int j = 0; j < kRightBlocks; ++j) {
        multiply_add(sums[i][j], a[d][i], b[d][j / 2][j % 2 * 2], b[d][j / 2][j % 2 * 2 + 1]);
      }
    }
    if constexpr (!kAdjacentLeft) {
      if (!sums_rows) continue;
#pragma unroll
      for (int i = 0; i < kLeftBlocks; ++i) multiply_add(row_sums[i], a[d][i], kOnes, kOnes);
    }
  }
}

template <class Out, GemmForm kForm, bool kHeld>
__global__ void __launch_bounds__(kThreads, kBlocks) gemm_kernel(Bfloat16Gemm g, bool wide) {
  if constexpr (!has_code<Bfloat16>()) return;
  using Left = Slice<kLeftAdjacent<kForm>>;
  using Right = Slice<kRightAdjacent<kForm>>;
  using HeldRight = Held<kRightAdjacent<kForm>>;
  extern __shared__ __align__(16) Bfloat16 shared[];
  Bfloat16* lefts = shared;
  Bfloat16* rights = lefts + kStages * Left::kElements;
  const int64_t column_tiles = ceil_div(g.n, kTile);  // next to each other: they share rows of a in the cache
  const int64_t tiles = ceil_div(g.m, kTile) * column_tiles;
  const int64_t part = blockIdx.y;
  const int64_t begin = part * g.chunk_k;
  const int64_t end = begin + g.chunk_k < g.k ? begin + g.chunk_k : g.k;
  const int slices = static_cast<int>(ceil_div(end - begin, kSlice));
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const int own_row = warp / 2 * kPart;
  const int own_column = warp % 2 * kPart;

  // What is fetched next: it runs ahead of what is worked on, into the following tile.
  int64_t next_tile = blockIdx.x;
  int64_t next_row = next_tile / column_tiles * kTile;
  int64_t next_column = next_tile % column_tiles * kTile;
  int next_slice = 0;
  int next_stage = 0;
  const auto fetch = [&] {
    if (next_tile < tiles) {
      const int64_t k = begin + static_cast<int64_t>(next_slice) * kSlice;
      Left::fetch(lefts + next_stage * Left::kElements, g.a, g.m, next_row, k, end);
      if constexpr (!kHeld) Right::fetch(rights + next_stage * Right::kElements, g.b, g.n, next_column, k, end);
      next_stage = next_stage + 1 == kStages ? 0 : next_stage + 1;
      if (++next_slice == slices) {
        next_slice = 0;
        next_tile += gridDim.x;
        next_row = next_tile / column_tiles * kTile;
        next_column = next_tile % column_tiles * kTile;
      }
    }
    close_async_group();
  };
  if constexpr (kHeld) HeldRight::fetch(rights, g.b, g.n, next_column, g.k);  // one column of tiles alone
  for (int stage = 0; stage + 1 < kStages; ++stage) fetch();

  int stage = 0;
  for (int64_t tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
    const int64_t first_row = tile / column_tiles * kTile + own_row;
    const int64_t first_column = tile % column_tiles * kTile + own_column;
    Sums sums;
    float row_sums[kLeftBlocks][4] = {};
    const bool sums_rows = g.row_sums && first_column == 0;
#pragma unroll
    for (int i = 0; i < kLeftBlocks; ++i) {
      if (g.residual) {
        start_strip<Out, true>(g, wide, first_row + i * 16, first_column, sums[i]);
      } else {
        start_strip<Out, false>(g, wide, first_row + i * 16, first_column, sums[i]);
      }
    }
    for (int slice = 0; slice < slices; ++slice) {
      wait_async_groups<kStages - 2>();
      __syncthreads();  // the slice is there for all, and the one before it is no longer needed
      fetch();
      const Bfloat16* left = lefts + stage * Left::kElements;
      if constexpr (kHeld) {
        const int stride = HeldRight::stride(g.k);
        const Bfloat16* right = rights + slice * kSlice * (kRightAdjacent<kForm> ? 1 : stride);
        multiply_slice<kLeftAdjacent<kForm>, kRightAdjacent<kForm>>(left, right, stride, own_row, own_column, sums,
                                                                    sums_rows, row_sums);
      } else {
        multiply_slice<kLeftAdjacent<kForm>, kRightAdjacent<kForm>>(
            left, rights + stage * Right::kElements, Right::kStride, own_row, own_column, sums, sums_rows, row_sums);
      }
      stage = stage + 1 == kStages ? 0 : stage + 1;
    }
#pragma unroll
    for (int i = 0; i < kLeftBlocks; ++i) {
      finish_strip<Out>(g, wide, first_row + i * 16, first_column, sums[i], part);
    }
    if (!sums_rows || threadIdx.x % 4 != 0) continue;
    for (int i = 0; i < kLeftBlocks; ++i) {
      for (int half = 0; half < 2; ++half) {
        const int64_t row = first_row + i * 16 + static_cast<int>(threadIdx.x) % kWarp / 4 + half * 8;
        if (row < g.m) g.row_sums[part * g.chunk_out + row] = row_sums[i][2 * half];
      }
    }
  }
}

template <class Out, GemmForm kForm, bool kHeld>
void launch_kernel(const Bfloat16Gemm& g, int64_t blocks, Launch& launch) {
  const bool wide = has_wide_result(g);
  const size_t bytes = shared_bytes<kForm, kHeld>(g.k);
  const auto kernel = gemm_kernel<Out, kForm, kHeld>;
  allow_shared(kernel, bytes);
  const dim3 grid(static_cast<unsigned>(blocks), static_cast<unsigned>(g.chunks));
  kernel<<<grid, kThreads, bytes, launch.stream>>>(g, wide);
}

// Rows on the left: blocks go from tile to tile.
template <class Out, GemmForm kForm>
void launch_rows(const Bfloat16Gemm& g, Launch& launch) {
  const int64_t column_tiles = ceil_div(g.n, kTile);
  const int64_t tiles = ceil_div(g.m, kTile) * column_tiles;
  const int64_t most = kBlocks * launch.multiprocessors;
  const size_t half = launch.shared_limit / kBlocks;
  // A block that keeps its right operand stays in its column of tiles. Gradients in float32 are those of heads, which
  // have few rows: there a kernel of its own would save nothing.
  if constexpr (kForm == GemmForm::rows_by_rows || sizeof(Out) == sizeof(Bfloat16)) {
    if (most >= column_tiles && shared_bytes<kForm, true>(g.k) <= half) {
      const int64_t blocks = most / column_tiles * column_tiles;
      return launch_kernel<Out, kForm, true>(g, blocks < tiles ? blocks : tiles, launch);
    }
  }
  launch_kernel<Out, kForm, false>(g, most < tiles ? most : tiles, launch);
}

template <class Out>
void launch_form(GemmForm form, const Bfloat16Gemm& g, Launch& launch) {
  if (form == GemmForm::rows_by_rows) return launch_rows<Out, GemmForm::rows_by_rows>(g, launch);
  launch_rows<Out, GemmForm::rows_by_columns>(g, launch);
}

}  // namespace

void gemm_bfloat16(GemmForm form, const Bfloat16Gemm& g, Launch& launch) {
  if (g.m == 0 || g.n == 0) return;
  if (launch.cublaslt && gemm_cublaslt(form, g, launch)) return;
  // What reads and writes sums in float32 waits for memory, and smaller tiles wait less: 0.27 ms of 256 000 x 256 x 256
  // and not 0.34. The bits are the same.
  const bool waits = g.residual && g.out_stored == Storage::float32 && g.k <= 256;
  if (launch.capability == kHopper && !waits) return gemm_hopper(form, g, launch);
  if (form == GemmForm::columns_by_columns) {
    const int64_t tiles = ceil_div(g.m, kTile) * ceil_div(g.n, kTile);
    return launch_kernel<float, GemmForm::columns_by_columns, false>(g, tiles, launch);
  }
  if (g.out_stored == Storage::bfloat16) return launch_form<Bfloat16>(form, g, launch);
  launch_form<float>(form, g, launch);
}

}  // namespace cuda
}  // namespace seqrisk
