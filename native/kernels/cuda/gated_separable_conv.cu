// gated_separable_conv on CUDA. In bfloat16 one kernel for the filters and widths that encoders have: a block keeps the
// weight in shared memory and goes from tile to tile of events. It convolves a tile into shared memory, out of which
// tensor cores multiply it, while x of the next tile is on its way; the residual comes meanwhile, into the registers of
// the sums. Everything else is the two kernels one after the other; in float32 the product takes many times as long as
// what stands between takes to be read.
#include "ops/gated_separable_conv.h"

#include "kernels/cuda/gated_dwconv-inl.cuh"
#include "kernels/cuda/gemm_bfloat16_finish-inl.cuh"

namespace seqrisk {
namespace cuda {

void gated_dwconv_forward(const GatedDwconvForward& arguments, Launch& launch);
void linear_forward(const LinearForward& arguments, Launch& launch);

namespace {

constexpr int kThreads = 256;
constexpr int kTile = 64;      // events
constexpr int kPairWidth = 2;  // channels of a thread in the convolution
constexpr int kPartRows = 32;  // of a warp in the product
constexpr int kRowParts = kTile / kPartRows;
constexpr int kColumnParts = kThreads / kWarp / kRowParts;
constexpr int kSlice = 32;  // of k at a time
constexpr int kSteps = kSlice / 16;

// Blocks on a multiprocessor: as many as registers allow without spilling.
template <int C>
constexpr int kBlocks = C == 256 ? 1 : 2;

template <int C>
using Row = Bfloat16[C + kMatrixPad];

template <int C, int K>
struct Shared {
  Row<C> weight[C];
  Row<C> between[kTile];
  Row<C> x[kTile + K - 1];
};

template <int C>
constexpr int kColumns = C / kColumnParts;  // of a warp
template <int C>
using Sums = Strip<kColumns<C> / 8>[kPartRows / 16];

// The product of the warp's rows of `left` and all rows of `right` from its column on.
template <int C>
__device__ inline void multiply(const Row<C>* left, const Row<C>* right, int row, int column, Sums<C>& sums) {
  constexpr int kStride = C + kMatrixPad;
#pragma unroll 2
  for (int k = 0; k < C; k += kSlice) {
    uint32_t a[kSteps][kPartRows / 16][4];
    uint32_t b[kSteps][kColumns<C> / 16][4];
#pragma unroll
    for (int d = 0; d < kSteps; ++d) {
#pragma unroll
      for (int i = 0; i < kPartRows / 16; ++i) load_left<true>(a[d][i], left[0], kStride, row + i * 16, k + d * 16);
#pragma unroll
      for (int j = 0; j < kColumns<C> / 16; ++j) {
        load_right<true>(b[d][j], right[0], kStride, column + j * 16, k + d * 16);
      }
    }
#pragma unroll
    for (int d = 0; d < kSteps; ++d) {
#pragma unroll
      for (int i = 0; i < kPartRows / 16; ++i) {
#pragma unroll
        for (int j = 0; j < kColumns<C> / 8; ++j) {
          multiply_add(sums[i][j], a[d][i], b[d][j / 2][j % 2 * 2], b[d][j / 2][j % 2 * 2 + 1]);
        }
      }
    }
  }
}

// A run of a tile's events, two channels of them: rows of x into rows of what stands between. Events count from
// `start`, those from `count` on are outside of the batch. The chain of additions is forward_near_kernel's, whose bits
// are wanted (cuda_parity --only gated_separable_conv_parts).
template <int C, int K, int kRun>
__device__ inline void convolve(const GatedDwconvForward& a, const Filters<kPairWidth, K>& filters, MovingSpan& span,
                                int64_t start, int event, int count, const Bfloat16* from, Bfloat16* to) {
  constexpr int V = kPairWidth;
  constexpr int kStride = C + kMatrixPad;
  const int origin = a.causal ? K - 1 : K / 2;
  const int back = K - 1 - origin;
  if (event >= count) return;
  const auto work = [&](auto checked) {
    constexpr bool kChecks = decltype(checked)::value;
    Floats<V> x[K - 1 + kGroup];  // from the group's first event's first tap on
#pragma unroll
    for (int k = 0; k < K - 1; ++k) x[k] = load<V>(from + k * kStride);
#pragma unroll 2
    for (int group = 0; group < kRun; group += kGroup) {
#pragma unroll
      for (int j = 0; j < kGroup; ++j) x[K - 1 + j] = load<V>(from + (group + K - 1 + j) * kStride);
#pragma unroll
      for (int j = 0; j < kGroup; ++j) {
        const int at = event + group + j;
        if (kChecks && at >= count) break;
        if (kChecks) span.move_to(a.packing, start, at);
        Floats<V> value = filters.bias;
        Floats<V> gate = filters.gate_bias;
#pragma unroll
        for (int k = 0; k < K; ++k) {
          const bool counts = !kChecks || span.holds(at + k - origin);
#pragma unroll
          for (int v = 0; v < V; ++v) {
            const float neighbour = counts ? x[j + k].at[v] : 0.0f;
            value.at[v] = fmaf(filters.weight[k].at[v], neighbour, value.at[v]);
            gate.at[v] = fmaf(filters.gate_weight[k].at[v], neighbour, gate.at[v]);
          }
        }
#pragma unroll
        for (int v = 0; v < V; ++v) value.at[v] *= open_gate<Bfloat16>(gate.at[v]);
        store<V>(to + (group + j) * kStride, value);
      }
#pragma unroll
      for (int k = 0; k < K - 1; ++k) x[k] = x[kGroup + k];
    }
  };
  span.move_to(a.packing, start, event);
  const bool reads_one = event - origin >= span.begin && event + kRun - 1 + back < span.end;
  reads_one ? work(std::false_type()) : work(std::true_type());
}

// `run`: events of a block, whole tiles of them.
template <int C, int K>
__global__ void __launch_bounds__(kThreads, kBlocks<C>)
    forward_kernel(GatedDwconvForward a, Bfloat16Gemm g, const float* weight, bool keeps_between, int run) {
  if constexpr (!has_code<Bfloat16>()) return;
  constexpr int kPieces = C / 8;  // of 16 bytes in a row
  constexpr int kPairs = C / kPairWidth;
  constexpr int kRun = kTile * kPairs / kThreads;
  extern __shared__ float4 memory[];
  auto& shared = *reinterpret_cast<Shared<C, K>*>(memory);
  const int thread = static_cast<int>(threadIdx.x);
  const int column = thread % kPairs * kPairWidth;  // in the convolution
  const int first = thread / kPairs * kRun;
  const int part = thread / kWarp;  // in the product
  const int part_row = part % kRowParts * kPartRows;
  const int part_column = part / kRowParts * kColumns<C>;
  const int64_t start = static_cast<int64_t>(blockIdx.x) * run;
  const int64_t left = a.packing.events - start;
  const int count = static_cast<int>(left < run ? left : run);
  const int origin = a.causal ? K - 1 : K / 2;

  const auto fetch = [&](int event) {
    for (int index = thread; index < (kTile + K - 1) * kPieces; index += kThreads) {
      const int row = index / kPieces;
      const int place = index % kPieces * 8;
      const int64_t at = start + event + row - origin;
      const bool inside = at >= 0 && at < a.packing.events;
      copy_async(&shared.x[row][place], stored_as<Bfloat16>(a.x) + (inside ? at : 0) * C + place, inside);
    }
    close_async_group();
  };
  fetch(0);
  for (int index = thread * 4; index < C * C; index += kThreads * 4) {
    store<4>(&shared.weight[index / C][index % C], load<4>(weight + index));
  }
  const Filters<kPairWidth, K> filters(a, column);
  MovingSpan span;
  const int64_t own = start + first;
  span.take(a.packing, start, warp_sequence_of(a.packing, own < a.packing.events ? own : a.packing.events - 1));

  for (int event = 0; event < count; event += kTile) {
    const int64_t row = start + event + part_row;
    Sums<C> sums;
#pragma unroll
    for (int i = 0; i < kPartRows / 16; ++i) load_residual<float>(g, true, row + i * 16, part_column, sums[i]);
    wait_async_groups<0>();
    __syncthreads();  // the tile is there for all, and what stood between in the one before it is no longer needed
    convolve<C, K, kRun>(a, filters, span, start, event + first, count, &shared.x[first][column],
                         &shared.between[first][column]);
    __syncthreads();
    if (event + kTile < count) fetch(event + kTile);
#pragma unroll
    for (int i = 0; i < kPartRows / 16; ++i) add_bias(g, part_column, sums[i]);
    multiply<C>(shared.between, shared.weight, part_row, part_column, sums);
    if (keeps_between) {
      for (int index = thread; index < kTile * kPieces; index += kThreads) {
        const int at = event + index / kPieces;
        const int place = index % kPieces * 8;
        if (at >= count) break;
        *reinterpret_cast<uint4*>(stored_as<Bfloat16>(a.out) + (start + at) * C + place) =
            *reinterpret_cast<const uint4*>(&shared.between[index / kPieces][place]);
      }
    }
#pragma unroll
    for (int i = 0; i < kPartRows / 16; ++i) finish_strip<float>(g, true, row + i * 16, part_column, sums[i], 0);
  }
}

template <int C, int K>
bool launch_kernel(const GatedSeparableConvForward& a, Launch& launch) {
  constexpr size_t kBytes = sizeof(Shared<C, K>);
  if (kBytes > launch.shared_limit) return false;
  Bfloat16Gemm g{};
  g.m = a.product.rows;
  g.n = C;
  g.k = C;
  g.bias = a.product.bias;
  g.residual = a.product.residual;
  g.residual_stride = C;
  g.out = a.product.out;
  g.out_stride = C;
  const int64_t tiles = ceil_div(g.m, kTile);
  const int64_t run = ceil_div(tiles, kBlocks<C> * static_cast<int64_t>(launch.multiprocessors)) * kTile;
  const auto kernel = forward_kernel<C, K>;
  allow_shared(kernel, kBytes);
  const float* weight = a.product.packed ? a.product.packed : a.product.weight;
  kernel<<<blocks_of(g.m, run), kThreads, kBytes, launch.stream>>>(a.convolution, g, weight, a.keeps_between,
                                                                   static_cast<int>(run));
  return true;
}

template <int C>
bool launch_width(const GatedSeparableConvForward& a, Launch& launch) {
  if (a.convolution.width == 3) return launch_kernel<C, 3>(a, launch);
  if (a.convolution.width == 5) return launch_kernel<C, 5>(a, launch);
  return a.convolution.width == 7 && launch_kernel<C, 7>(a, launch);
}

// As one kernel. False: not of this problem, nothing done.
bool forward_fused(const GatedSeparableConvForward& a, Launch& launch) {
  const GatedDwconvForward& convolution = a.convolution;
  const LinearForward& product = a.product;
  if (!launch.bfloat16 || launch.cublaslt || convolution.dilation != 1) return false;
  if (!product.residual || product.saved || product.activation != Activation::kNone) return false;
  if (convolution.stored != Storage::bfloat16 || product.out_stored != Storage::float32) return false;
  const int64_t width = product.out_features;
  if (product.x_stride != width || product.out_stride != width || product.residual_stride != width) return false;
  if (product.in_features != width || !is_bfloat16_rows(convolution.x, 0, 0)) return false;
  if (!is_wide(convolution.channels, convolution.weight, convolution.bias, convolution.gate_weight,
               convolution.gate_bias, convolution.out, product.weight, product.packed, product.residual, product.out)) {
    return false;
  }
  switch (convolution.channels) {
    case 64:
      return launch_width<64>(a, launch);
    case 128:
      return launch_width<128>(a, launch);
    case 256:
      return launch_width<256>(a, launch);
    default:
      return false;
  }
}

}  // namespace

void gated_separable_conv_forward(const GatedSeparableConvForward& a, Launch& launch) {
  if (a.product.rows == 0) return;
  if (forward_fused(a, launch)) return;
  gated_dwconv_forward(a.convolution, launch);
  linear_forward(a.product, launch);
}

}  // namespace cuda
}  // namespace seqrisk
