// float32 matrix products on CUDA cores: a block computes a tile of out, a thread a patch of it in registers. Operands
// come through shared memory, k by k, the next slice being fetched while this one is worked on.
#include "kernels/cuda/gemm_epilogue-inl.cuh"

namespace seqrisk {
namespace cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kSlice = 16;  // of k in shared memory at a time

// Fetches a slice of kRows rows of an operand into registers, then into shared memory as [k][row].
template <int kRows, bool kWide>
class Slice {
 public:
  static constexpr int kEach = kRows * kSlice / kThreads;  // floats of a thread
  static constexpr int kStride = kRows + 4;                // of shared memory

  __device__ Slice(const GemmOperand& operand, int64_t first_row, int64_t rows)
      : operand_(operand), first_row_(first_row), rows_(rows) {}

  __device__ void fetch(int64_t k, int64_t k_end) {
#pragma unroll
    for (int i = 0; i < kEach; i += kPiece) {
      int row, depth;
      place(i, row, depth);
      const int64_t r = first_row_ + row;
      const int64_t d = k + depth;
      if constexpr (kWide) {
        // Rows and k come in whole pieces: one is inside or outside as a whole.
        Floats<4> piece{};
        if (r < rows_ && d < k_end) piece = load<4>(operand_.values + offset(r, d));
#pragma unroll
        for (int p = 0; p < 4; ++p) held_[i + p] = piece.at[p];
      } else {
        held_[i] = r < rows_ && d < k_end ? operand_.values[offset(r, d)] : 0.0f;
      }
    }
  }

  __device__ void put(float* shared) const {
#pragma unroll
    for (int i = 0; i < kEach; i += kPiece) {
      int row, depth;
      place(i, row, depth);
      if constexpr (kWide) {
        if (operand_.k_adjacent) {
#pragma unroll
          for (int p = 0; p < 4; ++p) shared[(depth + p) * kStride + row] = held_[i + p];
        } else {
          store<4>(shared + depth * kStride + row, {{held_[i], held_[i + 1], held_[i + 2], held_[i + 3]}});
        }
      } else {
        shared[depth * kStride + row] = held_[i];
      }
    }
  }

 private:
  static constexpr int kPiece = kWide ? 4 : 1;

  // Which row and k the thread's piece i is: threads run along what is adjacent in memory.
  __device__ void place(int i, int& row, int& depth) const {
    const int index = static_cast<int>(threadIdx.x) + i / kPiece * kThreads;
    if (operand_.k_adjacent) {
      constexpr int kAcross = kSlice / kPiece;
      row = index / kAcross;
      depth = index % kAcross * kPiece;
    } else {
      constexpr int kAcross = kRows / kPiece;
      depth = index / kAcross;
      row = index % kAcross * kPiece;
    }
  }
  __device__ int64_t offset(int64_t row, int64_t depth) const {
    return operand_.k_adjacent ? row * operand_.stride + depth : depth * operand_.stride + row;
  }

  const GemmOperand operand_;
  const int64_t first_row_;
  const int64_t rows_;
  float held_[kEach];
};

// kTile × kTile elements of out; a thread has kPatch × kPatch of them, in quarters so that shared memory is read
// without conflicts.
template <int kTile, bool kWide>
__global__ void __launch_bounds__(kThreads) gemm_kernel(Gemm g) {
  constexpr int kPatch = kTile / 16;
  constexpr int kHalf = kPatch >= 8 ? 2 : 1;  // patches of 8 are two by two of 4
  constexpr int kSide = kPatch / kHalf;
  using Part = Slice<kTile, kWide>;
  __shared__ float shared_a[2][kSlice * Part::kStride];
  __shared__ float shared_b[2][kSlice * Part::kStride];
  const int64_t column_tiles = ceil_div(g.n, kTile);  // next to each other: they share rows of a in the cache
  const int64_t first_row = blockIdx.x / column_tiles * kTile;
  const int64_t first_column = blockIdx.x % column_tiles * kTile;
  const int64_t part = blockIdx.y;
  const int64_t begin = part * g.chunk_k;
  const int64_t end = begin + g.chunk_k < g.k ? begin + g.chunk_k : g.k;
  const int ty = static_cast<int>(threadIdx.x) / 16;
  const int tx = static_cast<int>(threadIdx.x) % 16;
  const auto place = [](int t, int i) { return i / kSide * (kTile / kHalf) + t * kSide + i % kSide; };

  float sums[kPatch][kPatch];
#pragma unroll
  for (int j = 0; j < kPatch; ++j) {
    const int64_t column = first_column + place(tx, j);
    const float start = g.bias && column < g.n ? g.bias[column] : 0.0f;
#pragma unroll
    for (int i = 0; i < kPatch; ++i) sums[i][j] = start;
  }

  Part a(g.a, first_row, g.m);
  Part b(g.b, first_column, g.n);
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
    // Behind the end both are 0, which leaves a sum as it is; but 0·∞ would not: stop there.
    const int depth = static_cast<int>(end - k < kSlice ? end - k : kSlice);
    const auto step = [&](int d) {
      float left[kPatch];
      float right[kPatch];
#pragma unroll
      for (int half = 0; half < kHalf; ++half) {
        const float* from_a = shared_a[side] + d * Part::kStride + place(ty, half * kSide);
        const float* from_b = shared_b[side] + d * Part::kStride + place(tx, half * kSide);
#pragma unroll
        for (int i = 0; i < kSide; ++i) {
          left[half * kSide + i] = from_a[i];
          right[half * kSide + i] = from_b[i];
        }
      }
#pragma unroll
      for (int i = 0; i < kPatch; ++i) {
#pragma unroll
        for (int j = 0; j < kPatch; ++j) sums[i][j] = fmaf(left[i], right[j], sums[i][j]);
      }
    };
    if (depth == kSlice) {
#pragma unroll
      for (int d = 0; d < kSlice; ++d) step(d);
    } else {
      for (int d = 0; d < depth; ++d) step(d);
    }
  }
#pragma unroll
  for (int i = 0; i < kPatch; ++i) {
    const int64_t row = first_row + place(ty, i);
    if constexpr (kWide) {
      Floats<4> results[kHalf];
#pragma unroll
      for (int j = 0; j < kPatch; ++j) results[j / 4].at[j % 4] = sums[i][j];
      finish_row(g, row, first_column + tx * 4, kTile / kHalf, results, part);
    } else {
#pragma unroll
      for (int j = 0; j < kPatch; ++j) {
        Floats<1> result[1] = {{sums[i][j]}};
        finish_row(g, row, first_column + place(tx, j), 0, result, part);
      }
    }
  }
}

template <int kTile>
void launch_tiles(const Gemm& g, Launch& launch) {
  const dim3 blocks(blocks_of(g.m, kTile) * blocks_of(g.n, kTile), static_cast<unsigned>(g.chunks));
  if (is_wide_problem(g)) {
    gemm_kernel<kTile, true><<<blocks, kThreads, 0, launch.stream>>>(g);
  } else {
    gemm_kernel<kTile, false><<<blocks, kThreads, 0, launch.stream>>>(g);
  }
}

}  // namespace

void gemm_float32(const Gemm& g, Launch& launch) {
  if (g.m == 0 || g.n == 0) return;
  // Small tiles where large ones would leave the card idle, or be mostly empty.
  const int64_t large = ceil_div(g.m, 128) * ceil_div(g.n, 128) * g.chunks;
  if (large < launch.multiprocessors || g.n <= 64) {
    launch_tiles<64>(g, launch);
  } else {
    launch_tiles<128>(g, launch);
  }
}

}  // namespace cuda
}  // namespace seqrisk
