// bfloat16 matrix products with wgmma. A block has three groups of four warps: one lets the copy engine bring slices of
// the operands, 64 deep, and the two others multiply what has come, straight out of shared memory, each for rows of its
// own. Threads of the first group give their registers to the others, which hold 128 sums each.
//
// A right operand that fits stays in shared memory as a whole (a layer's weight: blocks go down the rows with it), and
// the two groups go from tile to tile without waiting for each other: one multiplies while the other one writes. Else
// slices of both operands come together.
//
// Results in bfloat16 leave by the copy engine as well. A scheduler has one warp of each group, so all that a warp does
// between products takes its full latency: it rounds, writes boxes of its own to shared memory, and goes on.
#include "kernels/cuda/gemm_hopper.h"

#include <type_traits>

#include "kernels/cuda/gemm_bfloat16_finish-inl.cuh"
#include "kernels/cuda/hopper_tile-inl.cuh"

namespace seqrisk {
namespace cuda {
namespace {

constexpr int kGroups = 2;  // that multiply
constexpr int kGroupWarps = 4;
constexpr int kGroupThreads = kGroupWarps * kWarp;
constexpr int kThreads = (1 + kGroups) * kGroupThreads;
constexpr int kFetchRegisters = 40;
constexpr int kMultiplyRegisters = 232;
constexpr int kSlice = kLineElements;  // of k at a time
constexpr int kStep = 16;              // of k in one product
constexpr int kBlockRows = 64;         // of one product
constexpr int kBlockBytes = kBlockRows * kLineBytes;
constexpr int kStages = 4;       // slices on their way, where both operands come
constexpr int kLeastStages = 3;  // where the right one stays: fewer would let products wait
constexpr int kMostStages = 8;
constexpr size_t kMostHeldBytes = 131072;  // of a right operand that stays
constexpr int kBoxRows = 16;               // of a result that leaves, one line each
constexpr int kBoxBytes = kBoxRows * kLineBytes;
constexpr int kBoxes = 2;  // of a warp: it fills one while the other one leaves

// Of all the warps that multiply.
template <class Out>
constexpr int kBoxesBytes = sizeof(Out) == sizeof(Bfloat16) ? kGroups * kGroupWarps * kBoxes * kBoxBytes : 0;

// What a group works on: kBlocks times 64 rows of out, and kColumns columns.
template <int kOfBlocks, int kOfColumns>
struct Tile {
  static constexpr int kBlocks = kOfBlocks;
  static constexpr int kColumns = kOfColumns;
  static constexpr int kGroupRows = kBlocks * kBlockRows;
  static constexpr int kRows = kGroups * kGroupRows;
  static constexpr int kLeftBytes = kBlocks * kBlockBytes;  // of a group's slice
  static constexpr int kRightBytes = kColumns * kLineBytes;
  static constexpr int kStageBytes = kGroups * kLeftBytes + kRightBytes;
  using Sums = Strip<kColumns / 8>[kBlocks];
};

// A slice of `kRows` rows, in blocks of 64. One thread calls it.
template <bool kAdjacent, int kRows>
__device__ inline void fetch_slice(std::byte* shared, const CUtensorMap& map, int64_t row, int64_t k,
                                   uint64_t* barrier) {
  if constexpr (kAdjacent) {
    fetch_box(shared, map, static_cast<int>(k), static_cast<int>(row), barrier);
  } else {
#pragma unroll
    for (int block = 0; block < kRows / kBlockRows; ++block) {
      fetch_box(shared + block * kBlockBytes, map, static_cast<int>(row) + block * kBlockRows, static_cast<int>(k),
                barrier);
    }
  }
}

template <bool kAdjacent>
constexpr int kStepBytes = kAdjacent ? kStep * 2 : kStep * kLineBytes;

// sums += left · rightᵀ over a slice, and row_sums += left · 1ᵀ where `ones` are given.
template <bool kLeftAdjacent, bool kRightAdjacent, int kBlocks, int kColumnBlocks>
__device__ inline void multiply_slice(const std::byte* left, const std::byte* right,
                                      Strip<kColumnBlocks> (&sums)[kBlocks], const std::byte* ones,
                                      Strip<1> (&row_sums)[kBlocks]) {
  const uint64_t a = describe_operand(left, kBlockBytes);
  const uint64_t b = describe_operand(right, kBlockBytes);
  open_products();
#pragma unroll
  for (int d = 0; d < kSlice / kStep; ++d) {
#pragma unroll
    for (int i = 0; i < kBlocks; ++i) {
      multiply_tile<kLeftAdjacent, kRightAdjacent>(sums[i], moved(a, i * kBlockBytes + d * kStepBytes<kLeftAdjacent>),
                                                   moved(b, d * kStepBytes<kRightAdjacent>));
    }
  }
  if constexpr (!kLeftAdjacent) {
    if (ones) {
      const uint64_t c = describe_operand(ones, 0);
#pragma unroll
      for (int d = 0; d < kSlice / kStep; ++d) {
#pragma unroll
        for (int i = 0; i < kBlocks; ++i) {
          multiply_tile<false, true>(row_sums[i], moved(a, i * kBlockBytes + d * kStepBytes<false>), c);
        }
      }
    }
  }
  close_products();
}

__device__ inline std::byte* aligned_memory(std::byte* memory) {
  return memory + (kSwizzleBytes - shared_address(memory) % kSwizzleBytes) % kSwizzleBytes;
}

__device__ inline bool is_first_lane() {
  return threadIdx.x % kWarp == 0;
}

// What sums of a tile's columns start at: 0 + bias, of which a bias of −0 is 0, and 0 where there are none. `threads`
// threads bring them.
template <int kColumns>
__device__ inline void bring_biases(float (&biases)[kColumns], const Bfloat16Gemm& g, int64_t column, int thread,
                                    int threads) {
  for (int i = thread; i < kColumns; i += threads) {
    biases[i] = g.bias && column + i < g.n ? 0.0f + g.bias[column + i] : 0.0f;
  }
}

template <class Out, bool kResidual, int kBlocks, int kColumnBlocks>
__device__ inline void start_tile(const Bfloat16Gemm& g, bool wide, int64_t row, int64_t column, const float* biases,
                                  Strip<kColumnBlocks> (&sums)[kBlocks]) {
  const int64_t own = row + threadIdx.x / kWarp % kGroupWarps * kBoxRows;
#pragma unroll
  for (int i = 0; i < kBlocks; ++i) {
    if constexpr (kResidual) load_residual<Out>(g, wide, own + i * kBlockRows, column, sums[i]);
#pragma unroll
    for (int j = 0; j < kColumnBlocks; ++j) {
      const Floats<2> bias = load<2>(biases + j * 8 + threadIdx.x % 4 * 2);
      for (int e = 0; e < 4; ++e) sums[i][j][e] = kResidual ? sums[i][j][e] + bias.at[e % 2] : bias.at[e % 2];
    }
  }
}

// A warp's rows of a tile, rounded, by the copy engine. `boxes` are the warp's own.
template <int kBlocks, int kColumnBlocks>
__device__ inline void send_tile(const CUtensorMap& out, std::byte* boxes, int64_t row, int64_t column,
                                 const Strip<kColumnBlocks> (&sums)[kBlocks]) {
  constexpr int kPieces = kLineElements / 16;  // of a box: 16 columns each
  constexpr int kAcross = kColumnBlocks / (2 * kPieces);
  static_assert(kBlocks * kAcross % kBoxes == 0, "each tile begins with the first box");
  // Lanes name lines of four matrices: eight columns of the upper eight lines and of the lower ones, and the next
  // eight. Their piece of 16 bytes changes its place as the tensor map says.
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const uint32_t place = shared_address(boxes) + lane % kBoxRows * kLineBytes + (lane / 16 ^ lane % 8) * 16;
#pragma unroll
  for (int i = 0; i < kBlocks; ++i) {
#pragma unroll
    for (int across = 0; across < kAcross; ++across) {
      const int box = (i * kAcross + across) % kBoxes;
      uint32_t words[kPieces][4];  // before the wait: what was in the box leaves meanwhile
#pragma unroll
      for (int p = 0; p < kPieces; ++p) {
        const int j = (across * kPieces + p) * 2;
        as_left(words[p], sums[i][j], sums[i][j + 1]);
      }
      if (is_first_lane()) wait_boxes_read<kBoxes - 1>();
      __syncwarp();
#pragma unroll
      for (int p = 0; p < kPieces; ++p) store_matrices((place ^ p * 32) + box * kBoxBytes, words[p]);
      publish_box();
      __syncwarp();
      if (is_first_lane()) {
        send_box(boxes + box * kBoxBytes, out, static_cast<int>(column) + across * kLineElements,
                 static_cast<int>(row) + i * kBlockRows);
      }
    }
  }
}

// A group's tile of sums, to memory.
template <class Out, int kBlocks, int kColumnBlocks>
__device__ inline void finish_tile(const Bfloat16Gemm& g, bool wide, const CUtensorMap& out, std::byte* boxes,
                                   int64_t row, int64_t column, Strip<kColumnBlocks> (&sums)[kBlocks], int64_t part) {
  const int64_t own = row + threadIdx.x / kWarp % kGroupWarps * kBoxRows;
  if constexpr (sizeof(Out) == sizeof(Bfloat16)) {
    if (wide) {
      if (g.relu) {
#pragma unroll
        for (int i = 0; i < kBlocks; ++i) clamp_strip(sums[i]);
      }
      return send_tile(out, boxes, own, column, sums);
    }
    wide = false;  // known to the compiler
  }
#pragma unroll
  for (int i = 0; i < kBlocks; ++i) finish_strip<Out>(g, wide, own + i * kBlockRows, column, sums[i], part);
}

// Of the warp, among those of all the warps that multiply.
__device__ inline std::byte* own_boxes(std::byte* boxes) {
  return boxes + (threadIdx.x / kWarp - kGroupWarps) * kBoxes * kBoxBytes;
}

struct Maps {
  CUtensorMap left;
  CUtensorMap right;
  CUtensorMap out;  // where it is bfloat16 and wide
};

template <class T, class Out, bool kResidual, bool kRightAdjacent>
__global__ void __launch_bounds__(kThreads, 1)
    held_kernel(const __grid_constant__ Maps maps, Bfloat16Gemm g, bool wide, int stages) {
  if constexpr (!kHasHopper) return;
  extern __shared__ std::byte memory[];
  __shared__ uint64_t filled[kGroups][kMostStages];
  __shared__ uint64_t emptied[kGroups][kMostStages];
  __shared__ uint64_t held;
  __shared__ uint64_t turn[kGroups];
  __shared__ __align__(8) float biases[T::kColumns];
  const int slices = static_cast<int>(ceil_div(g.k, kSlice));
  std::byte* rights = aligned_memory(memory);
  std::byte* lefts = rights + slices * T::kRightBytes;  // the first group's stages, then the second one's
  const int group = static_cast<int>(threadIdx.x) / kGroupThreads - 1;  // −1 fetches
  if (threadIdx.x == 0) {
    make_barrier(&held, 1);
    for (int owner = 0; owner < kGroups; ++owner) {
      make_barrier(&turn[owner], kGroupWarps);
      for (int stage = 0; stage < stages; ++stage) {
        make_barrier(&filled[owner][stage], 1);
        make_barrier(&emptied[owner][stage], kGroupWarps);
      }
    }
    publish_barriers();
  }
  const int64_t column_tiles = ceil_div(g.n, T::kColumns);  // neighbours share rows of the left operand in the cache
  const int64_t column = blockIdx.x % column_tiles * T::kColumns;
  const int64_t begin = blockIdx.x / column_tiles * T::kRows;
  const int64_t step = gridDim.x / column_tiles * T::kRows;
  bring_biases(biases, g, column, static_cast<int>(threadIdx.x), kThreads);
  __syncthreads();

  if (group < 0) {
    give_registers<kFetchRegisters>();
    const int owner = static_cast<int>(threadIdx.x) / kWarp;  // whom this warp serves
    if (owner >= kGroups || !is_first_lane()) return;
    if (owner == 0) {
      arrive_with_bytes(&held, slices * T::kRightBytes);
      for (int slice = 0; slice < slices; ++slice) {
        fetch_slice<kRightAdjacent, T::kColumns>(rights + slice * T::kRightBytes, maps.right, column, slice * kSlice,
                                                 &held);
      }
    }
    std::byte* own = lefts + owner * stages * T::kLeftBytes;
    RingPosition at{stages, 0, 1};  // the first round waits for nobody
    for (int64_t row = begin + owner * T::kGroupRows; row < g.m; row += step) {
      for (int slice = 0; slice < slices; ++slice) {
        uint64_t* barrier = &filled[owner][at.place];
        wait_barrier(&emptied[owner][at.place], at.parity);
        arrive_with_bytes(barrier, T::kLeftBytes);
        fetch_slice<true, T::kGroupRows>(own + at.place * T::kLeftBytes, maps.left, row, slice * kSlice, barrier);
        at.advance();
      }
    }
    return;
  }

  take_registers<kMultiplyRegisters>();
  const std::byte* own = lefts + group * stages * T::kLeftBytes;
  std::byte* boxes = own_boxes(lefts + kGroups * stages * T::kLeftBytes);
  RingPosition at{stages};
  // The groups multiply in turns: one writes its tile meanwhile. The first one begins; it has as many tiles as the
  // other one, or one more.
  uint32_t turn_parity = group == 0 ? 1 : 0;
  wait_barrier(&held, 0);
  for (int64_t row = begin + group * T::kGroupRows; row < g.m; row += step) {
    typename T::Sums sums;
    Strip<1> none[T::kBlocks];
    start_tile<Out, kResidual>(g, wide, row, column, biases, sums);
    hold(sums);
    wait_barrier(&turn[group], turn_parity);
    turn_parity ^= 1;
    int before = -1;  // the stage whose products may still be on their way
    for (int slice = 0; slice < slices; ++slice) {
      wait_barrier(&filled[group][at.place], at.parity);
      multiply_slice<true, kRightAdjacent>(own + at.place * T::kLeftBytes, rights + slice * T::kRightBytes, sums,
                                           nullptr, none);
      wait_products<1>();
      if (before >= 0 && is_first_lane()) arrive(&emptied[group][before]);
      before = at.place;
      at.advance();
    }
    if (is_first_lane()) arrive(&turn[1 - group]);
    wait_products<0>();
    hold(sums);
    if (is_first_lane()) arrive(&emptied[group][before]);
    finish_tile<Out>(g, wide, maps.out, boxes, row, column, sums, 0);
  }
  if (is_first_lane()) wait_boxes_written();
}

template <class T, class Out, bool kResidual, bool kLeftAdjacent, bool kRightAdjacent>
__global__ void __launch_bounds__(kThreads, 1)
    streamed_kernel(const __grid_constant__ Maps maps, Bfloat16Gemm g, bool wide) {
  if constexpr (!kHasHopper) return;
  constexpr uint32_t kOnes = 0x3f803f80;  // two
  extern __shared__ std::byte memory[];
  __shared__ uint64_t filled[kStages];
  __shared__ uint64_t emptied[kStages];
  __shared__ __align__(8) float biases[T::kColumns];
  std::byte* stages = aligned_memory(memory);
  std::byte* ones = stages + kStages * T::kStageBytes;  // where the left operand is not adjacent; else boxes
  const int group = static_cast<int>(threadIdx.x) / kGroupThreads - 1;  // −1 fetches
  if (threadIdx.x == 0) {
    for (int stage = 0; stage < kStages; ++stage) {
      make_barrier(&filled[stage], 1);
      make_barrier(&emptied[stage], kGroups * kGroupWarps);
    }
    publish_barriers();
  }
  if constexpr (!kLeftAdjacent) {
    if (threadIdx.x < kSwizzleBytes / sizeof(uint32_t)) reinterpret_cast<uint32_t*>(ones)[threadIdx.x] = kOnes;
    publish_barriers();  // to the tensor cores as well
  }
  const int64_t column_tiles = ceil_div(g.n, T::kColumns);   // next to each other: they share rows of the left operand
  int64_t biased = blockIdx.x % column_tiles * T::kColumns;  // the column whose biases are there
  bring_biases(biases, g, biased, static_cast<int>(threadIdx.x), kThreads);
  __syncthreads();

  const int64_t tiles = ceil_div(g.m, T::kRows) * column_tiles;
  const int64_t part = blockIdx.y;
  const int64_t first_k = part * g.chunk_k;
  const int64_t end_k = first_k + g.chunk_k < g.k ? first_k + g.chunk_k : g.k;
  const int slices = static_cast<int>(ceil_div(end_k - first_k, kSlice));

  if (group < 0) {
    give_registers<kFetchRegisters>();
    if (threadIdx.x != 0) return;
    RingPosition at{kStages, 0, 1};  // the first round waits for nobody
    for (int64_t tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
      const int64_t row = tile / column_tiles * T::kRows;
      const int64_t column = tile % column_tiles * T::kColumns;
      for (int slice = 0; slice < slices; ++slice) {
        std::byte* to = stages + at.place * T::kStageBytes;
        uint64_t* barrier = &filled[at.place];
        const int64_t k = first_k + slice * kSlice;
        wait_barrier(&emptied[at.place], at.parity);
        arrive_with_bytes(barrier, T::kStageBytes);
        for (int owner = 0; owner < kGroups; ++owner) {
          fetch_slice<kLeftAdjacent, T::kGroupRows>(to + owner * T::kLeftBytes, maps.left, row + owner * T::kGroupRows,
                                                    k, barrier);
        }
        fetch_slice<kRightAdjacent, T::kColumns>(to + kGroups * T::kLeftBytes, maps.right, column, k, barrier);
        at.advance();
      }
    }
    return;
  }

  take_registers<kMultiplyRegisters>();
  std::byte* boxes = own_boxes(stages + kStages * T::kStageBytes);
  RingPosition at{kStages};
  for (int64_t tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
    const int64_t row = tile / column_tiles * T::kRows + group * T::kGroupRows;
    const int64_t column = tile % column_tiles * T::kColumns;
    if (g.bias && column != biased) {
      constexpr int kMultipliers = kGroups * kGroupThreads;
      meet<1, kMultipliers>();  // nobody needs those that are there
      bring_biases(biases, g, column, static_cast<int>(threadIdx.x) - kGroupThreads, kMultipliers);
      meet<1, kMultipliers>();  // all of them have come
      biased = column;
    }
    const bool sums_rows = !kLeftAdjacent && g.row_sums && column == 0;
    typename T::Sums sums;
    Strip<1> row_sums[T::kBlocks] = {};
    start_tile<Out, kResidual>(g, wide, row, column, biases, sums);
    hold(sums);
    int before = -1;  // the stage whose products may still be on their way
    for (int slice = 0; slice < slices; ++slice) {
      const std::byte* from = stages + at.place * T::kStageBytes;
      wait_barrier(&filled[at.place], at.parity);
      multiply_slice<kLeftAdjacent, kRightAdjacent>(from + group * T::kLeftBytes, from + kGroups * T::kLeftBytes, sums,
                                                    sums_rows ? ones : nullptr, row_sums);
      wait_products<1>();
      if (before >= 0 && is_first_lane()) arrive(&emptied[before]);
      before = at.place;
      at.advance();
    }
    wait_products<0>();
    hold(sums);
    if (before >= 0 && is_first_lane()) arrive(&emptied[before]);
    finish_tile<Out>(g, wide, maps.out, boxes, row, column, sums, part);
    if (!sums_rows || threadIdx.x % 4 != 0) continue;
    const int64_t own = row + threadIdx.x / kWarp % kGroupWarps * 16 + threadIdx.x % kWarp / 4;
    for (int i = 0; i < T::kBlocks; ++i) {
      for (int half = 0; half < 2; ++half) {
        const int64_t sum = own + i * kBlockRows + half * 8;
        if (sum < g.m) g.row_sums[part * g.chunk_out + sum] = row_sums[i][0][2 * half];
      }
    }
  }
  if (is_first_lane()) wait_boxes_written();
}

using EncodeTiled = CUresult (*)(CUtensorMap*, CUtensorMapDataType, cuuint32_t, void*, const cuuint64_t*,
                                 const cuuint64_t*, const cuuint32_t*, const cuuint32_t*, CUtensorMapInterleave,
                                 CUtensorMapSwizzle, CUtensorMapL2promotion, CUtensorMapFloatOOBfill);

// The driver's function that writes tensor maps; null where the driver is older than Hopper.
EncodeTiled find_encode_tiled() {
  constexpr unsigned kSince = 12000;
  void* function = nullptr;
  cudaDriverEntryPointQueryResult found = cudaDriverEntryPointSymbolNotFound;
  cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function, kSince, cudaEnableDefault, &found);
  return found == cudaDriverEntryPointSuccess ? reinterpret_cast<EncodeTiled>(function) : nullptr;
}

// A map of `rows` rows of `width` elements, of which boxes of 64 elements of `box_rows` rows come and go.
bool map_rows(CUtensorMap* map, const void* values, int64_t stride, int64_t rows, int64_t width, int box_rows) {
  static const EncodeTiled encode = find_encode_tiled();
  if (!encode) return false;
  const cuuint64_t sizes[] = {static_cast<cuuint64_t>(width), static_cast<cuuint64_t>(rows)};
  const cuuint64_t strides[] = {static_cast<cuuint64_t>(stride) * sizeof(Bfloat16)};
  const cuuint32_t box[] = {kLineElements, static_cast<cuuint32_t>(box_rows)};
  const cuuint32_t steps[] = {1, 1};
  return encode(map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 2, const_cast<void*>(values), sizes, strides, box, steps,
                CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_128B,
                CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE) == CUDA_SUCCESS;
}
// Of `rows` rows of k elements, or of k rows of `rows` elements.
bool map_operand(CUtensorMap* map, const Bfloat16Rows& operand, bool adjacent, int64_t rows, int64_t k, int box_rows) {
  return adjacent ? map_rows(map, operand.values, operand.stride, rows, k, box_rows)
                  : map_rows(map, operand.values, operand.stride, k, rows, kSlice);
}

template <class T, class Out, bool kLeftAdjacent, bool kRightAdjacent>
bool make_maps(const Bfloat16Gemm& g, bool wide, Maps& maps, Launch& launch) {
  const bool sends = sizeof(Out) == sizeof(Bfloat16) && wide;
  const bool mapped = map_operand(&maps.left, g.a, kLeftAdjacent, g.m, g.k, T::kGroupRows) &&
                      map_operand(&maps.right, g.b, kRightAdjacent, g.n, g.k, T::kColumns) &&
                      (!sends || map_rows(&maps.out, g.out, g.out_stride, g.m, g.n, kBoxRows));
  if (!mapped) launch.refuse("operands that the card's copy engine takes");
  return mapped;
}

template <class T, class Out, bool kResidual, bool kLeftAdjacent, bool kRightAdjacent>
void launch_streamed(const Bfloat16Gemm& g, int64_t blocks, Launch& launch) {
  static_assert(kLeftAdjacent || kBoxesBytes<Out> == 0, "boxes and ones have one place");
  Maps maps{};
  const bool wide = has_wide_result(g);
  if (!make_maps<T, Out, kLeftAdjacent, kRightAdjacent>(g, wide, maps, launch)) return;
  const size_t bytes = kSwizzleBytes + kStages * T::kStageBytes + (kLeftAdjacent ? kBoxesBytes<Out> : kSwizzleBytes);
  const auto kernel = streamed_kernel<T, Out, kResidual, kLeftAdjacent, kRightAdjacent>;
  allow_shared(kernel, bytes);
  const dim3 grid(static_cast<unsigned>(blocks), static_cast<unsigned>(g.chunks));
  kernel<<<grid, kThreads, bytes, launch.stream>>>(maps, g, wide);
}

// Rows on the left: blocks go from tile to tile.
template <class T, class Out, bool kResidual, bool kRightAdjacent>
void launch_rows(const Bfloat16Gemm& g, Launch& launch) {
  const int64_t column_tiles = ceil_div(g.n, T::kColumns);
  const int64_t tiles = ceil_div(g.m, T::kRows) * column_tiles;
  const int64_t most = launch.multiprocessors;
  constexpr size_t kOwn = 2048;  // for barriers and biases
  constexpr size_t kBeside = kOwn + kSwizzleBytes + kBoxesBytes<Out>;
  constexpr size_t kStage = kGroups * T::kLeftBytes;
  const size_t held = static_cast<size_t>(ceil_div(g.k, kSlice)) * T::kRightBytes;
  const size_t free = launch.shared_limit > kBeside + held ? launch.shared_limit - kBeside - held : 0;
  if (held > kMostHeldBytes || free < kLeastStages * kStage || column_tiles > most) {
    return launch_streamed<T, Out, kResidual, true, kRightAdjacent>(g, most < tiles ? most : tiles, launch);
  }
  Maps maps{};
  const bool wide = has_wide_result(g);
  if (!make_maps<T, Out, true, kRightAdjacent>(g, wide, maps, launch)) return;
  const int stages = static_cast<int>(free / kStage < kMostStages ? free / kStage : kMostStages);
  const size_t bytes = kSwizzleBytes + held + static_cast<size_t>(stages) * kStage + kBoxesBytes<Out>;
  const int64_t full = most / column_tiles * column_tiles;
  const auto kernel = held_kernel<T, Out, kResidual, kRightAdjacent>;
  allow_shared(kernel, bytes);
  kernel<<<static_cast<unsigned>(full < tiles ? full : tiles), kThreads, bytes, launch.stream>>>(maps, g, wide, stages);
}

// Calls f with a value that is known when it is compiled: f(std::true_type()).
template <class F>
void with_flag(bool flag, F f) {
  flag ? f(std::true_type()) : f(std::false_type());
}

template <class T>
void launch_rows(GemmForm form, const Bfloat16Gemm& g, Launch& launch) {
  with_storage(g.out_stored, [&](auto element) {
    with_flag(g.residual != nullptr, [&](auto residual) {
      with_flag(form == GemmForm::rows_by_rows, [&](auto right_adjacent) {
        launch_rows<T, Element<decltype(element)>, residual.value, right_adjacent.value>(g, launch);
      });
    });
  });
}

template <class T>
void launch_columns(const Bfloat16Gemm& g, Launch& launch) {
  const int64_t tiles = ceil_div(g.m, T::kRows) * ceil_div(g.n, T::kColumns);
  launch_streamed<T, float, false, false, false>(g, tiles, launch);
}

}  // namespace

void gemm_hopper(GemmForm form, const Bfloat16Gemm& g, Launch& launch) {
  // Large tiles read less from the cache, unless the last one would be half empty. A matter of n alone where rows are
  // on the left: a row has the same bits among any others.
  const bool is_even = ceil_div(g.n, 128) % 2 == 0;
  if (form != GemmForm::columns_by_columns) {
    return is_even ? launch_rows<Tile<1, 256>>(form, g, launch) : launch_rows<Tile<2, 128>>(form, g, launch);
  }
  if (is_even) return launch_columns<Tile<1, 256>>(g, launch);
  const bool is_tall = ceil_div(g.m, 128) % 2 == 0;
  is_tall ? launch_columns<Tile<2, 128>>(g, launch) : launch_columns<Tile<1, 128>>(g, launch);
}

}  // namespace cuda
}  // namespace seqrisk
