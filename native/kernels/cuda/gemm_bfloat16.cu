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

  __device__ Slice(const GemmOperand& operand, int64_t first_row, int64_t rows)
      : operand_(operand), first_row_(first_row), rows_(rows) {}

  __device__ void fetch(int64_t k, int64_t k_end) {
#pragma unroll
    for (int i = 0; i < kEach; i += 4) {
      int row, depth;
      place(i, row, depth);
      const int64_t r = first_row_ + row;
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
  const int64_t first_row_;
  const int64_t rows_;
  float held_[kEach];
};

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
  const int64_t first_row = static_cast<int64_t>(blockIdx.x) * kTile;
  const int64_t first_column = static_cast<int64_t>(blockIdx.y) * kTile;
  const int64_t part = blockIdx.z;
  const int64_t begin = part * g.chunk_k;
  const int64_t end = begin + g.chunk_k < g.k ? begin + g.chunk_k : g.k;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const int warp_row = warp / 4 * kWarpRows;
  const int warp_column = warp % 4 * kWarpColumns;

  float sums[kRowBlocks][kColumnBlocks][4];
#pragma unroll
  for (int j = 0; j < kColumnBlocks; ++j) {
    float start[2];
    for (int c = 0; c < 2; ++c) {
      const int64_t column = first_column + warp_column + j * 8 + lane % 4 * 2 + c;
      start[c] = g.bias && column < g.n ? g.bias[column] : 0.0f;
    }
#pragma unroll
    for (int i = 0; i < kRowBlocks; ++i) {
      for (int e = 0; e < 4; ++e) sums[i][j][e] = start[e % 2];
    }
  }

  PartA a(g.a, first_row, g.m);
  PartB b(g.b, first_column, g.n);
  a.fetch(begin, end);
  b.fetch(begin, end);
  int side = 0;
  for (int64_t k = begin; k < end; k += kSlice, side ^= 1) {
    a.put(shared_a[side]);
    b.put(shared_b[side]);
    __syncthreads();
    if (k + kSlice < end) {
      a.fetch(k + kSlice, end);
      b.fetch(k + kSlice, end);
    }
#pragma unroll
    for (int d = 0; d < kSlice; d += 16) {
      uint32_t left[kRowBlocks][4];
      uint32_t right[kColumnBlocks / 2][4];
#pragma unroll
      for (int i = 0; i < kRowBlocks; ++i) {
        load_left<kAdjacentA>(left[i], shared_a[side], PartA::kStride, warp_row + i * 16, d);
      }
#pragma unroll
      for (int j = 0; j < kColumnBlocks / 2; ++j) {
        load_right<kAdjacentB>(right[j], shared_b[side], PartB::kStride, warp_column + j * 16, d);
      }
#pragma unroll
      for (int i = 0; i < kRowBlocks; ++i) {
#pragma unroll
        for (int j = 0; j < kColumnBlocks; ++j) {
          multiply_add(sums[i][j], left[i], right[j / 2][j % 2 * 2], right[j / 2][j % 2 * 2 + 1]);
        }
      }
    }
  }
#pragma unroll
  for (int i = 0; i < kRowBlocks; ++i) {
#pragma unroll
    for (int j = 0; j < kColumnBlocks; ++j) {
      for (int half = 0; half < 2; ++half) {
        const int64_t row = first_row + warp_row + i * 16 + lane / 4 + half * 8;
        const int64_t column = first_column + warp_column + j * 8 + lane % 4 * 2;
        const float (&sum)[4] = sums[i][j];
        if constexpr (kWide) {
          finish_elements<2>(g, row, column, {{sum[2 * half], sum[2 * half + 1]}}, part);
        } else {
          finish_elements<1>(g, row, column, {{sum[2 * half]}}, part);
          finish_elements<1>(g, row, column + 1, {{sum[2 * half + 1]}}, part);
        }
      }
    }
  }
}

template <int kTile, bool kWide>
void launch_layout(const Gemm& g, Launch& launch) {
  const dim3 blocks(blocks_of(g.m, kTile), blocks_of(g.n, kTile), static_cast<unsigned>(g.chunks));
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
  if (small && wide) return launch_layout<64, true>(g, launch);
  if (small) return launch_layout<64, false>(g, launch);
  if (wide) return launch_layout<128, true>(g, launch);
  launch_layout<128, false>(g, launch);
}

}  // namespace cuda
}  // namespace seqrisk
