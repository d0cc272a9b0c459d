// gated_dwconv on CUDA. Forward of narrow filters: a thread takes up to four channels of kRun events in a row, so that
// a row of x comes from memory once. For their backward see gated_dwconv_near.cu, for others gated_dwconv_wide.cu.
#include "ops/gated_dwconv.h"

#include "kernels/cuda/gated_dwconv_ways.h"
#include "kernels/cuda/spans-inl.cuh"

namespace seqrisk {
namespace cuda {
namespace {

constexpr int kRun = 8;  // events of a thread
constexpr int kThreads = 256;

// Neighbours in a row: a filter of K taps at a dilation of 1. Every row of x is read once for all of the run's events,
// and is on its way while the sequences are looked up. A block takes kTiles tiles of runs one after the other.
constexpr int kTiles = 4;

template <class T, int V, int K>
__global__ void __launch_bounds__(kThreads) forward_near_kernel(GatedDwconvForward a, int lanes) {
  if constexpr (!has_code<T>()) return;
  extern __shared__ int2 spans[];
  __shared__ int64_t ends[2];
  const int runs = kThreads / lanes;
  const int64_t begin = static_cast<int64_t>(blockIdx.x) * kTiles * runs * kRun;
  const int64_t channel = (static_cast<int64_t>(blockIdx.y) * lanes + threadIdx.x % lanes) * V;
  const int run = static_cast<int>(threadIdx.x) / lanes;
  const bool inside = channel < a.channels;
  const int64_t origin = a.causal ? K - 1 : K / 2;
  const bool gated = a.gate_weight != nullptr;
  Raw<T, V> window[kRun + K - 1];
  const auto fetch = [&](int64_t first) {
#pragma unroll
    for (int i = 0; i < kRun + K - 1; ++i) {
      // Some event of the batch in place of one outside, which no tap counts: a read that may be left out would wait.
      int64_t event = first - origin + i;
      event = event < 0 ? 0 : event >= a.packing.events ? a.packing.events - 1 : event;
      window[i] = load_raw<T, V>(stored_as<T>(a.x) + event * a.channels + (inside ? channel : 0));
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
        const Floats<V> neighbour = widen(window[e + k]);
#pragma unroll
        for (int v = 0; v < V; ++v) {
          const float x = counts ? neighbour.at[v] : 0.0f;
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
      if (first + e < a.packing.events) store<V>(stored_as<T>(a.out) + (first + e) * a.channels + channel, results[e]);
    }
  }
}

// Neighbours that are apart, or read one by one: what they share comes from the caches.
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
      if (event >= span.x && event < span.y) x = load_stored<V>(a.x, event * a.channels + channel, a.stored);
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
    store_stored<V>(a.out, (first + e) * a.channels + channel, a.stored, value[e]);
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

template <class T>
void launch_near(const GatedDwconvForward& a, Launch& launch) {
  constexpr int V = 2;
  const Layout layout(a, V, kTiles * kRun);
  const auto run = [&](auto kernel) {
    kernel<<<layout.blocks, kThreads, layout.shared, launch.stream>>>(a, layout.lanes);
  };
  if (a.width == 3) return run(forward_near_kernel<T, V, 3>);
  if (a.width == 5) return run(forward_near_kernel<T, V, 5>);
  run(forward_near_kernel<T, V, 7>);
}

template <int V>
void launch_far(const GatedDwconvForward& a, Launch& launch) {
  const Layout layout(a, V, kRun);
  forward_kernel<V><<<layout.blocks, kThreads, layout.shared, launch.stream>>>(a, layout.lanes);
}

}  // namespace

void gated_dwconv_forward(const GatedDwconvForward& a, Launch& launch) {
  constexpr int64_t kMostNarrow = 7;
  if (a.packing.events == 0 || a.channels == 0) return;
  if (a.width > kMostNarrow) return gated_dwconv_forward_wide(a, launch);
  const bool wide = is_wide(a.channels, a.x, a.weight, a.bias, a.gate_weight, a.gate_bias, a.out);
  const bool is_near = wide && a.dilation == 1 && (a.width == 3 || a.width == 5 || a.width == 7);
  if (!is_near) return wide ? launch_far<4>(a, launch) : launch_far<1>(a, launch);
  with_storage(a.stored, [&](auto element) { launch_near<Element<decltype(element)>>(a, launch); });
}

void gated_dwconv_backward(const GatedDwconvBackward& a, Launch& launch) {
  if (a.packing.events == 0 || a.channels == 0) return;
  if (!gated_dwconv_backward_near(a, launch)) gated_dwconv_backward_wide(a, launch);
}

}  // namespace cuda
}  // namespace seqrisk
