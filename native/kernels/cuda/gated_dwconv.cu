// gated_dwconv on CUDA. Forward: a thread takes up to four channels of kRun events in a row, so that a row of x comes
// from memory once. Backward of narrow filters: one pass, with the gradients of the gate's factors in shared memory;
// see gated_dwconv_wide.cu for wide ones.
#include "ops/gated_dwconv.h"

#include "kernels/cuda/columns-inl.cuh"
#include "kernels/cuda/gated_dwconv_wide.h"
#include "kernels/cuda/spans-inl.cuh"

namespace seqrisk {
namespace cuda {
namespace {

constexpr int kRun = 8;  // events of a thread
constexpr int kThreads = 256;

// Neighbours in a row: a filter of K taps at a dilation of 1. Every row of x is read once for all of the run's events,
// and is on its way while the sequences are looked up. A block takes kTiles tiles of runs one after the other.
constexpr int kTiles = 4;

template <int V, int K>
__global__ void __launch_bounds__(kThreads) forward_near_kernel(GatedDwconvForward a, int lanes) {
  extern __shared__ int2 spans[];
  __shared__ int64_t ends[2];
  const int runs = kThreads / lanes;
  const int64_t begin = static_cast<int64_t>(blockIdx.x) * kTiles * runs * kRun;
  const int64_t channel = (static_cast<int64_t>(blockIdx.y) * lanes + threadIdx.x % lanes) * V;
  const int run = static_cast<int>(threadIdx.x) / lanes;
  const bool inside = channel < a.channels;
  const int64_t origin = a.causal ? K - 1 : K / 2;
  const bool gated = a.gate_weight != nullptr;
  Floats<V> window[kRun + K - 1];
  const auto fetch = [&](int64_t first) {
#pragma unroll
    for (int i = 0; i < kRun + K - 1; ++i) {
      const int64_t event = first - origin + i;
      const bool there = inside && event >= 0 && event < a.packing.events;
      window[i] = there ? load<V>(a.x + event * a.channels + channel) : Floats<V>{};
    }
  };
  fetch(begin + run * kRun);
  Floats<V> weight[K];
  Floats<V> gate_weight[K];
  Floats<V> bias{};
  Floats<V> gate_bias{};
#pragma unroll
  for (int k = 0; k < K; ++k) {
    weight[k] = inside ? load<V>(a.weight + k * a.channels + channel) : Floats<V>{};
    gate_weight[k] = inside && gated ? load<V>(a.gate_weight + k * a.channels + channel) : Floats<V>{};
  }
  if (inside) {
    bias = load<V>(a.bias + channel);
    if (gated) gate_bias = load<V>(a.gate_bias + channel);
  }
  find_spans(a.packing, begin, kTiles * runs * kRun, spans, ends);
  if (!inside) return;
  for (int tile = 0; tile < kTiles; ++tile) {
    const int in_block = (tile * runs + run) * kRun;
    const int64_t first = begin + in_block;
    if (first >= a.packing.events) return;
    Floats<V> results[kRun];
#pragma unroll
    for (int e = 0; e < kRun; ++e) {
      const int2 span = spans[in_block + e];
      // Taps that lie in the event's sequence.
      const int from = span.x - static_cast<int>(first + e - origin);
      const int to = span.y - static_cast<int>(first + e - origin);
      Floats<V> value = bias;
      Floats<V> gate = gate_bias;
#pragma unroll
      for (int k = 0; k < K; ++k) {
        const bool counts = k >= from && k < to;
#pragma unroll
        for (int v = 0; v < V; ++v) {
          const float x = counts ? window[e + k].at[v] : 0.0f;
          value.at[v] = fmaf(weight[k].at[v], x, value.at[v]);
          gate.at[v] = fmaf(gate_weight[k].at[v], x, gate.at[v]);
        }
      }
#pragma unroll
      for (int v = 0; v < V; ++v) results[e].at[v] = gated ? value.at[v] * sigmoid(gate.at[v]) : value.at[v];
    }
    if (tile + 1 < kTiles) fetch(first + runs * kRun);  // before the results are written, which reads would wait for
#pragma unroll
    for (int e = 0; e < kRun; ++e) {
      if (first + e < a.packing.events) store<V>(a.out + (first + e) * a.channels + channel, results[e]);
    }
  }
}

// Any filter: neighbours of neighbours come from the caches.
template <int V>
__global__ void __launch_bounds__(kThreads) forward_kernel(GatedDwconvForward a, int lanes) {
  extern __shared__ int2 spans[];
  __shared__ int64_t ends[2];
  const int runs = kThreads / lanes;
  const int64_t tile = static_cast<int64_t>(blockIdx.x) * runs * kRun;
  find_spans(a.packing, tile, runs * kRun, spans, ends);
  const int64_t channel = (static_cast<int64_t>(blockIdx.y) * lanes + threadIdx.x % lanes) * V;
  const int run = static_cast<int>(threadIdx.x) / lanes;
  const int64_t first = tile + run * kRun;
  if (channel >= a.channels) return;
  const int64_t origin = a.causal ? a.width - 1 : a.width / 2;
  const bool gated = a.gate_weight != nullptr;
  Floats<V> value[kRun];
  Floats<V> gate[kRun];
  const Floats<V> bias = load<V>(a.bias + channel);
  const Floats<V> gate_bias = gated ? load<V>(a.gate_bias + channel) : Floats<V>{};
#pragma unroll
  for (int e = 0; e < kRun; ++e) {
    value[e] = bias;
    gate[e] = gate_bias;
  }
  for (int64_t k = 0; k < a.width; ++k) {
    const Floats<V> weight = load<V>(a.weight + k * a.channels + channel);
    const Floats<V> gate_weight = gated ? load<V>(a.gate_weight + k * a.channels + channel) : Floats<V>{};
#pragma unroll
    for (int e = 0; e < kRun; ++e) {
      const int2 span = spans[run * kRun + e];
      const int64_t event = first + e + a.dilation * (k - origin);
      Floats<V> x{};
      if (event >= span.x && event < span.y) x = load<V>(a.x + event * a.channels + channel);
#pragma unroll
      for (int v = 0; v < V; ++v) {
        value[e].at[v] = fmaf(weight.at[v], x.at[v], value[e].at[v]);
        gate[e].at[v] = fmaf(gate_weight.at[v], x.at[v], gate[e].at[v]);
      }
    }
  }
#pragma unroll
  for (int e = 0; e < kRun; ++e) {
    if (first + e >= a.packing.events) break;
    if (gated) {
#pragma unroll
      for (int v = 0; v < V; ++v) value[e].at[v] *= sigmoid(gate[e].at[v]);
    }
    store<V>(a.out + (first + e) * a.channels + channel, value[e]);
  }
}

// How the threads of a forward block lie: `lanes` next to each other along the channels, each V of them.
struct Layout {
  int lanes = 8;
  dim3 blocks;
  size_t shared;

  Layout(const GatedDwconvForward& a, int V, int64_t events_per_run) {
    const int64_t groups = ceil_div(a.channels, V);
    while (lanes < 128 && lanes < groups) lanes *= 2;
    const int64_t events = kThreads / lanes * events_per_run;
    blocks = dim3(blocks_of(a.packing.events, events), blocks_of(groups, lanes));
    shared = static_cast<size_t>(events) * sizeof(int2);
  }
};

template <int V>
void launch_near(const GatedDwconvForward& a, Launch& launch) {
  const Layout layout(a, V, kTiles * kRun);
  const auto run = [&](auto kernel) {
    kernel<<<layout.blocks, kThreads, layout.shared, launch.stream>>>(a, layout.lanes);
  };
  if (a.width == 3) return run(forward_near_kernel<V, 3>);
  if (a.width == 5) return run(forward_near_kernel<V, 5>);
  run(forward_near_kernel<V, 7>);
}

template <int V>
void launch_far(const GatedDwconvForward& a, Launch& launch) {
  const Layout layout(a, V, kRun);
  forward_kernel<V><<<layout.blocks, kThreads, layout.shared, launch.stream>>>(a, layout.lanes);
}

// A block takes 32 · V channels, V a lane, of `tiles` stretches of events one after the other. Rows of a stretch are
// its own events and those around it whose factors' gradients dx needs. Each warp takes kRows rows at a time.
constexpr int kWarps = kThreads / kWarp;
constexpr int kStretch = 64;  // rows of a stretch
constexpr int kRows = kStretch / kWarps;
constexpr int64_t kMostHalo = kStretch / 2;
constexpr int64_t kLeastTiles = 4;  // the sequences of all of them are looked up at once

// Rows that a block's stretches cover, of which neighbours share some.
__host__ __device__ constexpr int backward_rows(int tiles, int own) {
  return (tiles - 1) * own + kStretch;
}

template <int V, int K>
__global__ void __launch_bounds__(kThreads) backward_kernel(GatedDwconvBackward a, int tiles, float* partials) {
  __shared__ Floats<V> dvalues[kStretch][kWarp];
  __shared__ Floats<V> dgates[kStretch][kWarp];
  extern __shared__ int2 all_spans[];
  __shared__ int64_t ends[2];
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const int64_t channel = (static_cast<int64_t>(blockIdx.y) * kWarp + lane) * V;
  const bool inside = channel < a.channels;
  const bool gated = a.gate_weight != nullptr;
  const int dilation = static_cast<int>(a.dilation);
  const int origin = a.causal ? K - 1 : K / 2;
  const int back = dilation * (K - 1 - origin);
  const int own = kStretch - dilation * (K - 1);
  Floats<V> weight[K];
  Floats<V> gate_weight[K];
  Floats<V> dweight[K] = {};
  Floats<V> dgate_weight[K] = {};
#pragma unroll
  for (int k = 0; k < K; ++k) {
    weight[k] = inside ? load<V>(a.weight + k * a.channels + channel) : Floats<V>{};
    gate_weight[k] = inside && gated ? load<V>(a.gate_weight + k * a.channels + channel) : Floats<V>{};
  }
  const Floats<V> bias = inside ? load<V>(a.bias + channel) : Floats<V>{};
  const Floats<V> gate_bias = inside && gated ? load<V>(a.gate_bias + channel) : Floats<V>{};
  Floats<V> dbias{};
  Floats<V> dgate_bias{};
  const int64_t block_begin = static_cast<int64_t>(blockIdx.x) * tiles * own;
  find_spans(a.packing, block_begin - back, backward_rows(tiles, own), all_spans, ends);
  for (int tile = 0; tile < tiles; ++tile) {
    const int64_t begin = block_begin + tile * own;  // the first own event
    if (begin >= a.packing.events) break;
    const int64_t first = begin - back;
    const int2* spans = all_spans + tile * own;
    __syncthreads();
#pragma unroll 4
    for (int i = 0; i < kRows; ++i) {
      const int row = warp * kRows + i;
      const int64_t event = first + row;
      const int2 span = spans[row];
      Floats<V> dvalue{};
      Floats<V> dgate{};
      if (inside && span.y > span.x) {
        Floats<V> x[K];
        const float* around = a.x + (event - dilation * origin) * a.channels + channel;
        const int from = span.x - static_cast<int>(event) + dilation * origin;
        const int to = span.y - static_cast<int>(event) + dilation * origin;
#pragma unroll
        for (int k = 0; k < K; ++k) {
          const int at = dilation * k;
          x[k] = at >= from && at < to ? load<V>(around + at * a.channels) : Floats<V>{};
        }
        const Floats<V> dout = load<V>(a.dout + event * a.channels + channel);
        const bool is_own = row >= back && row < back + own;
#pragma unroll
        for (int v = 0; v < V; ++v) {
          float value = bias.at[v];
          float gate = gate_bias.at[v];
#pragma unroll
          for (int k = 0; k < K; ++k) {
            value = fmaf(weight[k].at[v], x[k].at[v], value);
            gate = fmaf(gate_weight[k].at[v], x[k].at[v], gate);
          }
          const float open = gated ? sigmoid(gate) : 1.0f;
          dvalue.at[v] = dout.at[v] * open;
          dgate.at[v] = gated ? dout.at[v] * value * (open * (1.0f - open)) : 0.0f;
          const float own_value = is_own ? dvalue.at[v] : 0.0f;
          const float own_gate = is_own ? dgate.at[v] : 0.0f;
#pragma unroll
          for (int k = 0; k < K; ++k) {
            dweight[k].at[v] = fmaf(own_value, x[k].at[v], dweight[k].at[v]);
            dgate_weight[k].at[v] = fmaf(own_gate, x[k].at[v], dgate_weight[k].at[v]);
          }
          dbias.at[v] += own_value;
          dgate_bias.at[v] += own_gate;
        }
      }
      dvalues[row][lane] = dvalue;
      dgates[row][lane] = dgate;
    }
    __syncthreads();
    if (!a.dx || !inside) continue;
    // Read before anything is written, which reads would wait for.
    Floats<V> dx[kRows] = {};
    const auto is_own = [&](int row) { return row >= back && row < back + own && first + row < a.packing.events; };
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
      const int row = warp * kRows + i;
      if (a.accumulate_dx && is_own(row)) dx[i] = load<V>(a.dx + (first + row) * a.channels + channel);
    }
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
      const int row = warp * kRows + i;
      if (!is_own(row)) continue;
      const int from = spans[row].x - static_cast<int>(first);
      const int to = spans[row].y - static_cast<int>(first);
#pragma unroll
      for (int k = 0; k < K; ++k) {
        const int at = row + dilation * (origin - k);
        if (at < from || at >= to) continue;
        const Floats<V> dvalue = dvalues[at][lane];
        const Floats<V> dgate = dgates[at][lane];
#pragma unroll
        for (int v = 0; v < V; ++v) {
          dx[i].at[v] = fmaf(weight[k].at[v], dvalue.at[v], dx[i].at[v]);
          dx[i].at[v] = fmaf(gate_weight[k].at[v], dgate.at[v], dx[i].at[v]);
        }
      }
      store<V>(a.dx + (first + row) * a.channels + channel, dx[i]);
    }
  }
  // The block's sums, warp after warp: dweight, dbias, dgate_weight, dgate_bias.
  Floats<V>(*sums)[kWarp] = dvalues;
  __syncthreads();
  for (int w = 0; w < kWarps; ++w) {
    if (warp == w) {
      const auto add = [&](int at, const Floats<V>& more) {
        for (int v = 0; v < V; ++v) sums[at][lane].at[v] = w == 0 ? more.at[v] : sums[at][lane].at[v] + more.at[v];
      };
#pragma unroll
      for (int k = 0; k < K; ++k) {
        add(k, dweight[k]);
        add(K + 1 + k, dgate_weight[k]);
      }
      add(K, dbias);
      add(2 * K + 1, dgate_bias);
    }
    __syncthreads();
  }
  const int64_t stride = 2 * (K + 1) * a.channels;
  for (int at = warp; inside && at < 2 * (K + 1); at += kWarps) {
    store<V>(partials + blockIdx.x * stride + at * a.channels + channel, sums[at][lane]);
  }
}

template <int V, int K>
void launch_backward(const GatedDwconvBackward& a, Launch& launch) {
  constexpr int64_t kMostBlocks = 1024;
  constexpr int64_t kMostTiles = 24;
  const int64_t own = kStretch - a.dilation * (K - 1);
  int64_t tiles = ceil_div(ceil_div(a.packing.events, own), kMostBlocks);
  tiles = tiles < kLeastTiles ? kLeastTiles : tiles > kMostTiles ? kMostTiles : tiles;
  const unsigned blocks = blocks_of(a.packing.events, own * tiles);
  const int64_t half = (K + 1) * a.channels;
  float* partials = launch.workspace_of<float>(blocks * 2 * half);
  if (!partials) return;
  const auto rows = static_cast<size_t>(backward_rows(static_cast<int>(tiles), static_cast<int>(own)));
  backward_kernel<V, K>
      <<<dim3(blocks, blocks_of(a.channels, kWarp * V)), kThreads, rows * sizeof(int2), launch.stream>>>(
          a, static_cast<int>(tiles), partials);
  const int64_t filter = K * a.channels;
  add_partials(partials, blocks, 2 * half, half, filter, a.dweight, a.dbias, launch.stream);
  if (a.gate_weight) {
    add_partials(partials + half, blocks, 2 * half, half, filter, a.dgate_weight, a.dgate_bias, launch.stream);
  }
}

template <int K>
void launch_backward(const GatedDwconvBackward& a, Launch& launch) {
  const bool wide = is_wide(a.channels, a.x, a.weight, a.bias, a.gate_weight, a.gate_bias, a.dout, a.dx);
  wide ? launch_backward<2, K>(a, launch) : launch_backward<1, K>(a, launch);
}

}  // namespace

void gated_dwconv_forward(const GatedDwconvForward& a, Launch& launch) {
  if (a.packing.events == 0 || a.channels == 0) return;
  const bool wide = is_wide(a.channels, a.x, a.weight, a.bias, a.gate_weight, a.gate_bias, a.out);
  const bool is_near = a.dilation == 1 && (a.width == 3 || a.width == 5 || a.width == 7);
  if (is_near) return wide ? launch_near<2>(a, launch) : launch_near<1>(a, launch);
  wide ? launch_far<4>(a, launch) : launch_far<1>(a, launch);
}

void gated_dwconv_backward(const GatedDwconvBackward& a, Launch& launch) {
  if (a.packing.events == 0 || a.channels == 0) return;
  // The factors and so the halo are bounded by the filter, not by the sequences: a short one costs no more.
  const bool narrow = a.width <= 7 && a.dilation * (a.width - 1) <= kMostHalo;
  if (!narrow) return gated_dwconv_backward_wide(a, launch);
  if (a.width == 1) return launch_backward<1>(a, launch);
  if (a.width == 3) return launch_backward<3>(a, launch);
  if (a.width == 5) return launch_backward<5>(a, launch);
  launch_backward<7>(a, launch);
}

}  // namespace cuda
}  // namespace seqrisk
