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

constexpr int kRun = 8;         // events of a thread
constexpr int kThreads = 256;

// Neighbours in a row: a filter of K taps at a dilation of 1. Every row of x is read once for all of the run's events,
// and is on its way while the sequences are looked up.
template <int V, int K>
__global__ void __launch_bounds__(kThreads, K <= 5 ? 2 : 1) forward_near_kernel(GatedDwconvForward a, int lanes) {
  extern __shared__ int2 spans[];
  __shared__ int64_t ends[2];
  const int runs = kThreads / lanes;
  const int64_t tile = static_cast<int64_t>(blockIdx.x) * runs * kRun;
  const int64_t channel = (static_cast<int64_t>(blockIdx.y) * lanes + threadIdx.x % lanes) * V;
  const int run = static_cast<int>(threadIdx.x) / lanes;
  const int64_t first = tile + run * kRun;
  const bool inside = channel < a.channels;
  const int64_t origin = a.causal ? K - 1 : K / 2;
  const bool gated = a.gate_weight != nullptr;
  Floats<V> window[kRun + K - 1];
#pragma unroll
  for (int i = 0; i < kRun + K - 1; ++i) {
    const int64_t event = first - origin + i;
    const bool there = inside && event >= 0 && event < a.packing.events;
    window[i] = there ? load<V>(a.x + event * a.channels + channel) : Floats<V>{};
  }
  find_spans(a.packing, tile, runs * kRun, spans, ends);
  if (!inside) return;
  Floats<V> weight[K];
  Floats<V> gate_weight[K];
#pragma unroll
  for (int k = 0; k < K; ++k) {
    weight[k] = load<V>(a.weight + k * a.channels + channel);
    gate_weight[k] = gated ? load<V>(a.gate_weight + k * a.channels + channel) : Floats<V>{};
  }
  const Floats<V> bias = load<V>(a.bias + channel);
  const Floats<V> gate_bias = gated ? load<V>(a.gate_bias + channel) : Floats<V>{};
#pragma unroll
  for (int e = 0; e < kRun; ++e) {
    const int64_t event = first + e;
    if (event >= a.packing.events) break;
    const int2 span = spans[run * kRun + e];
    const int begin = static_cast<int>(span.x - event + origin);  // taps that lie in the event's sequence
    const int end = static_cast<int>(span.y - event + origin);
    Floats<V> value = bias;
    Floats<V> gate = gate_bias;
#pragma unroll
    for (int k = 0; k < K; ++k) {
      const bool counts = k >= begin && k < end;
#pragma unroll
      for (int v = 0; v < V; ++v) {
        const float x = counts ? window[e + k].at[v] : 0.0f;
        value.at[v] = fmaf(weight[k].at[v], x, value.at[v]);
        gate.at[v] = fmaf(gate_weight[k].at[v], x, gate.at[v]);
      }
    }
    if (gated) {
#pragma unroll
      for (int v = 0; v < V; ++v) value.at[v] *= sigmoid(gate.at[v]);
    }
    store<V>(a.out + event * a.channels + channel, value);
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

template <int V>
void launch_forward(const GatedDwconvForward& a, Launch& launch) {
  const int64_t groups = ceil_div(a.channels, V);
  int lanes = 8;
  while (lanes < 64 && lanes < groups) lanes *= 2;
  const int events = kThreads / lanes * kRun;
  const dim3 blocks(blocks_of(a.packing.events, events), blocks_of(groups, lanes));
  const size_t shared = static_cast<size_t>(events) * sizeof(int2);
  const int64_t width = a.dilation == 1 ? a.width : 0;
  if (width == 3) {
    forward_near_kernel<V, 3><<<blocks, kThreads, shared, launch.stream>>>(a, lanes);
  } else if (width == 5) {
    forward_near_kernel<V, 5><<<blocks, kThreads, shared, launch.stream>>>(a, lanes);
  } else if (width == 7) {
    forward_near_kernel<V, 7><<<blocks, kThreads, shared, launch.stream>>>(a, lanes);
  } else {
    forward_kernel<V><<<blocks, kThreads, shared, launch.stream>>>(a, lanes);
  }
}

// A block takes 32 channels, one a lane, of `tiles` stretches of events one after the other. Rows of a stretch are its
// own events and those around it whose factors' gradients dx needs. Each warp takes kRows rows at a time.
constexpr int kWarps = kThreads / kWarp;
constexpr int kRows = 16;
constexpr int kStretch = kWarps * kRows;  // rows of a stretch
constexpr int64_t kMostHalo = kStretch / 2;

template <int K>
__global__ void __launch_bounds__(kThreads) backward_kernel(GatedDwconvBackward a, int tiles, float* partials) {
  __shared__ float dvalues[kStretch][kWarp];
  __shared__ float dgates[kStretch][kWarp];
  __shared__ int2 spans[kStretch];
  __shared__ int64_t ends[2];
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const int64_t channel = static_cast<int64_t>(blockIdx.y) * kWarp + lane;
  const bool inside = channel < a.channels;
  const bool gated = a.gate_weight != nullptr;
  const int dilation = static_cast<int>(a.dilation);
  const int origin = a.causal ? K - 1 : K / 2;
  const int back = dilation * (K - 1 - origin);
  const int own = kStretch - dilation * (K - 1);
  float weight[K];
  float gate_weight[K];
  float dweight[K];
  float dgate_weight[K];
#pragma unroll
  for (int k = 0; k < K; ++k) {
    weight[k] = inside ? a.weight[k * a.channels + channel] : 0.0f;
    gate_weight[k] = inside && gated ? a.gate_weight[k * a.channels + channel] : 0.0f;
    dweight[k] = 0.0f;
    dgate_weight[k] = 0.0f;
  }
  const float bias = inside ? a.bias[channel] : 0.0f;
  const float gate_bias = inside && gated ? a.gate_bias[channel] : 0.0f;
  float dbias = 0.0f;
  float dgate_bias = 0.0f;
  for (int tile = 0; tile < tiles; ++tile) {
    const int64_t begin = (static_cast<int64_t>(blockIdx.x) * tiles + tile) * own;  // the first own event
    if (begin >= a.packing.events) break;
    const int64_t first = begin - back;
    __syncthreads();
    find_spans(a.packing, first, kStretch, spans, ends);
#pragma unroll 4
    for (int i = 0; i < kRows; ++i) {
      const int row = warp * kRows + i;
      const int64_t event = first + row;
      const int2 span = spans[row];
      float dvalue = 0.0f;
      float dgate = 0.0f;
      if (inside && span.y > span.x) {
        float x[K];
        float value = bias;
        float gate = gate_bias;
        const float* around = a.x + (event - dilation * origin) * a.channels + channel;
        const int own_begin = static_cast<int>(span.x - event) + dilation * origin;
        const int own_end = static_cast<int>(span.y - event) + dilation * origin;
#pragma unroll
        for (int k = 0; k < K; ++k) {
          const int at = dilation * k;
          x[k] = at >= own_begin && at < own_end ? around[at * a.channels] : 0.0f;
          value = fmaf(weight[k], x[k], value);
          gate = fmaf(gate_weight[k], x[k], gate);
        }
        const float dout = a.dout[event * a.channels + channel];
        const float open = gated ? sigmoid(gate) : 1.0f;
        dvalue = dout * open;
        dgate = gated ? dout * value * (open * (1.0f - open)) : 0.0f;
        if (row >= back && row < back + own) {
#pragma unroll
          for (int k = 0; k < K; ++k) {
            dweight[k] = fmaf(dvalue, x[k], dweight[k]);
            dgate_weight[k] = fmaf(dgate, x[k], dgate_weight[k]);
          }
          dbias += dvalue;
          dgate_bias += dgate;
        }
      }
      dvalues[row][lane] = dvalue;
      dgates[row][lane] = dgate;
    }
    __syncthreads();
    if (!a.dx || !inside) continue;
#pragma unroll 4
    for (int i = 0; i < kRows; ++i) {
      const int row = warp * kRows + i;
      const int64_t event = first + row;
      if (row < back || row >= back + own || event >= a.packing.events) continue;
      const int2 span = spans[row];
      float dx = 0.0f;
#pragma unroll
      for (int k = 0; k < K; ++k) {
        const int to = dilation * (origin - k);
        if (event + to < span.x || event + to >= span.y) continue;
        dx = fmaf(weight[k], dvalues[row + to][lane], dx);
        dx = fmaf(gate_weight[k], dgates[row + to][lane], dx);
      }
      float* at = a.dx + event * a.channels + channel;
      *at = a.accumulate_dx ? *at + dx : dx;
    }
  }
  // The block's sums, warp after warp: dweight, dbias, dgate_weight, dgate_bias.
  float (*sums)[kWarp] = dvalues;
  __syncthreads();
  for (int w = 0; w < kWarps; ++w) {
    if (warp == w) {
      const auto add = [&](int at, float value) { sums[at][lane] = w == 0 ? value : sums[at][lane] + value; };
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
    partials[blockIdx.x * stride + at * a.channels + channel] = sums[at][lane];
  }
}

template <int K>
void launch_backward(const GatedDwconvBackward& a, Launch& launch) {
  constexpr int64_t kMostBlocks = 1024;
  const int64_t own = kStretch - a.dilation * (K - 1);
  const int64_t tiles = ceil_div(ceil_div(a.packing.events, own), kMostBlocks);
  const unsigned blocks = blocks_of(a.packing.events, own * tiles);
  const int64_t half = (K + 1) * a.channels;
  float* partials = launch.workspace_of<float>(blocks * 2 * half);
  if (!partials) return;
  backward_kernel<K><<<dim3(blocks, blocks_of(a.channels, kWarp)), kThreads, 0, launch.stream>>>(
      a, static_cast<int>(tiles), partials);
  const int64_t filter = K * a.channels;
  add_partials(partials, blocks, 2 * half, half, filter, a.dweight, a.dbias, launch.stream);
  if (a.gate_weight) {
    add_partials(partials + half, blocks, 2 * half, half, filter, a.dgate_weight, a.dgate_bias, launch.stream);
  }
}

}  // namespace

void gated_dwconv_forward(const GatedDwconvForward& a, Launch& launch) {
  if (a.packing.events == 0 || a.channels == 0) return;
  if (is_wide(a.channels, a.x, a.weight, a.bias, a.gate_weight, a.gate_bias, a.out)) {
    launch_forward<4>(a, launch);
  } else {
    launch_forward<1>(a, launch);
  }
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
