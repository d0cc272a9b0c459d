// gated_dwconv on CUDA. Forward of narrow filters: a thread takes up to four channels of a run of events, so that a row
// of x comes from memory once. For their backward see gated_dwconv_near.cu, for others gated_dwconv_wide.cu.
#include "ops/gated_dwconv.h"

#include "kernels/cuda/gated_dwconv-inl.cuh"
#include "kernels/cuda/gated_dwconv_ways.h"

namespace seqrisk {
namespace cuda {
namespace {

// Neighbours in a row: a filter of K taps at a dilation of 1. A thread walks along a run of events with a few channels,
// while the rows that the next ones add are on their way: memory is read once.
constexpr int kNearThreads = 128;
constexpr int kNearBytes = 8;  // of a row, that a thread reads

// Blocks on a multiprocessor: as many as registers allow without spilling.
template <class T, int K>
constexpr int kNearBlocks = sizeof(T) == sizeof(float) ? 5
                            : K < 7                    ? 4
                                                       : 3;

template <class T, int K>
__global__ void __launch_bounds__(kNearThreads, kNearBlocks<T, K>)
    forward_near_kernel(GatedDwconvForward a, int lanes, int run) {
  if constexpr (!has_code<T>()) return;
  constexpr int V = kNearBytes / sizeof(T);
  __shared__ Raw<T, V> rows[kRing][kGroup][kNearThreads];
  const int64_t channel = (static_cast<int64_t>(blockIdx.y) * lanes + threadIdx.x % lanes) * V;
  const bool inside = channel < a.channels;
  const int64_t column = inside ? channel : 0;
  const int64_t runs = kNearThreads / lanes;
  const int64_t start = (blockIdx.x * runs + threadIdx.x / lanes) * run;
  const int64_t left = a.packing.events - start;
  const int count = static_cast<int>(left < run ? left : run);
  const int origin = a.causal ? K - 1 : K / 2;
  const int back = K - 1 - origin;

  // Events count from `start`. Some event of the batch stands for one outside of it, which nobody counts: a read that
  // may be left out would wait.
  const int row_bytes = static_cast<int>(a.channels * sizeof(T));
  const Columns<const T> xs{stored_as<T>(a.x) + start * a.channels + column, row_bytes};
  const Columns<T> outs{stored_as<T>(a.out) + start * a.channels + column, row_bytes};
  const int first = start < origin ? -static_cast<int>(start) : -origin;
  const int last = static_cast<int>(left < run + back ? left : run + back) - 1;
  const auto fetch = [&](int group, int event) {
#pragma unroll
    for (int j = 0; j < kGroup; ++j) {
      copy_own<T, V>(&rows[group][j][threadIdx.x], xs.at(event + j < last ? event + j : last));
    }
    close_async_group();
  };
#pragma unroll
  for (int group = 0; group < kRing - 1; ++group) fetch(group, back + group * kGroup);
  Floats<V> x[K - 1 + kGroup];  // from the group's first event's first tap on
#pragma unroll
  for (int k = 0; k < K - 1; ++k) {
    const int event = k - origin > first ? k - origin : first;
    x[k] = load<V>(xs.at(event < last ? event : last));
  }
  const Filters<V, K> filters(a, column);
  // All lanes of a warp look for the runs of each.
  int64_t sequence = 0;
  for (int lane = 0; lane < kWarp; lane += lanes) {
    const int64_t event = __shfl_sync(kAllLanes, start, lane);
    const int64_t found = warp_sequence_of(a.packing, event < a.packing.events ? event : a.packing.events - 1);
    if (event == start) sequence = found;
  }
  MovingSpan span;
  span.take(a.packing, start, sequence);

  Ring ring;
  // `checked`: whether the step looks at bounds.
  const auto work = [&](int event, auto checked) {
    constexpr bool kChecks = decltype(checked)::value;
#pragma unroll
    for (int turn = 0; turn < kTurns; ++turn, event += kGroup) {
      wait_async_groups<kRing - 2>();
#pragma unroll
      for (int j = 0; j < kGroup; ++j) x[K - 1 + j] = widen(rows[ring.filled(turn)][j][threadIdx.x]);
      fetch(ring.emptied(turn), event + back + (kRing - 1) * kGroup);
#pragma unroll
      for (int j = 0; j < kGroup; ++j) {
        if (kChecks && event + j >= count) break;
        if (kChecks) span.move_to(a.packing, start, event + j);
        Floats<V> value = filters.bias;
        Floats<V> gate = filters.gate_bias;
#pragma unroll
        for (int k = 0; k < K; ++k) {
          const bool counts = !kChecks || span.holds(event + j + k - origin);
#pragma unroll
          for (int v = 0; v < V; ++v) {
            const float neighbour = counts ? x[j + k].at[v] : 0.0f;
            value.at[v] = fmaf(filters.weight[k].at[v], neighbour, value.at[v]);
            gate.at[v] = fmaf(filters.gate_weight[k].at[v], neighbour, gate.at[v]);
          }
        }
#pragma unroll
        for (int v = 0; v < V; ++v) value.at[v] *= open_gate<T>(gate.at[v]);
        store<V>(outs.at(event + j), value);
      }
#pragma unroll
      for (int k = 0; k < K - 1; ++k) x[k] = x[kGroup + k];
    }
    ring.advance();
  };
  for (int event = 0; inside && event < count;) {
    span.move_to(a.packing, start, event);
    // Where the last step may start that reads one sequence only.
    const int until = (span.end - back < count ? span.end - back : count) - kStep;
    if (event - origin >= span.begin && event <= until) {
      for (; event <= until; event += kStep) work(event, std::false_type());
    } else {
      work(event, std::true_type());
      event += kStep;
    }
  }
  wait_async_groups<0>();  // soon the shared memory is another block's
}

constexpr int kRun = 8;  // events of a thread
constexpr int kThreads = 256;

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

// How the threads of such a block lie: `lanes` next to each other along the channels, each V of them.
struct Layout {
  int lanes = 8;
  dim3 blocks;
  size_t shared;

  Layout(const GatedDwconvForward& a, int V) {
    const int64_t groups = ceil_div(a.channels, V);
    while (lanes < 128 && lanes < groups) lanes *= 2;
    const int64_t events = kThreads / lanes * kRun;
    blocks = dim3(blocks_of(a.packing.events, events), blocks_of(groups, lanes));
    shared = static_cast<size_t>(events) * sizeof(int2);
  }
};

template <class T, int K>
void launch_near(const GatedDwconvForward& a, Launch& launch) {
  constexpr int64_t kWanted = 132 * kNearBlocks<T, K> * kNearThreads;  // threads: what a large card holds
  constexpr int64_t kMostSteps = 64;
  const int64_t pieces = ceil_div(a.channels, kNearBytes / sizeof(T));
  int lanes = 8;
  while (lanes < kNearThreads && lanes < pieces) lanes *= 2;
  const int64_t across = ceil_div(pieces, lanes);
  const int64_t steps = ceil_div(a.packing.events * across * lanes, kWanted * kStep);
  const int64_t run = (steps < kMostSteps ? steps : kMostSteps) * kStep;
  const dim3 blocks(blocks_of(a.packing.events, run * (kNearThreads / lanes)), static_cast<unsigned>(across));
  forward_near_kernel<T, K><<<blocks, kNearThreads, 0, launch.stream>>>(a, lanes, static_cast<int>(run));
}

template <int V>
void launch_far(const GatedDwconvForward& a, Launch& launch) {
  const Layout layout(a, V);
  forward_kernel<V><<<layout.blocks, kThreads, layout.shared, launch.stream>>>(a, layout.lanes);
}

}  // namespace

void gated_dwconv_forward(const GatedDwconvForward& a, Launch& launch) {
  constexpr int64_t kMostNarrow = 7;
  if (a.packing.events == 0 || a.channels == 0) return;
  if (a.width > kMostNarrow) return gated_dwconv_forward_wide(a, launch);
  const bool wide = is_wide(a.channels, a.x, a.weight, a.bias, a.gate_weight, a.gate_bias, a.out);
  const bool is_near =
      wide && a.dilation == 1 && (a.width == 3 || a.width == 5 || a.width == 7) && a.channels <= kMostColumns;
  if (!is_near) return wide ? launch_far<4>(a, launch) : launch_far<1>(a, launch);
  with_storage(a.stored, [&](auto element) {
    using T = Element<decltype(element)>;
    if (a.width == 3) return launch_near<T, 3>(a, launch);
    if (a.width == 5) return launch_near<T, 5>(a, launch);
    launch_near<T, 7>(a, launch);
  });
}

void gated_dwconv_backward(const GatedDwconvBackward& a, Launch& launch) {
  if (a.packing.events == 0 || a.channels == 0) return;
  if (!gated_dwconv_backward_near(a, launch)) gated_dwconv_backward_wide(a, launch);
}

}  // namespace cuda
}  // namespace seqrisk
