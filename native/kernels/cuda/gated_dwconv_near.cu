// The backward of gated_dwconv on CUDA for narrow filters. A warp walks along a run of events with two channels a lane:
// neighbours' inputs, and the gradients of the gate's factors that dx needs, move through its registers. Events of a
// run are a dilation apart, so that every filter is one without. Memory is read and written once.
#include "kernels/cuda/columns-inl.cuh"
#include "kernels/cuda/gated_dwconv_ways.h"
#include "kernels/cuda/spans-inl.cuh"

namespace seqrisk {
namespace cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kWarps = kThreads / kWarp;
constexpr int V = 2;

// The bounds of an event's sequence, from the run's first event on; they move on with the event.
struct Span {
  int64_t sequence;
  int begin;
  int end;

  __device__ void find(const Packing& packing, int64_t start, int64_t event) {
    sequence = warp_sequence_of(packing, event < 0 ? 0 : event);
    take(packing, start);
  }
  __device__ void move_to(const Packing& packing, int64_t start, int event) {
    while (end <= event && sequence + 1 < packing.sequences) {
      ++sequence;
      take(packing, start);
    }
  }
  __device__ bool holds(int event) const { return event >= begin && event < end; }

 private:
  __device__ void take(const Packing& packing, int64_t start) {
    begin = static_cast<int>(packing.offsets[sequence] - start);
    end = static_cast<int>(packing.offsets[sequence + 1] - start);
  }
};

// Whether a group of steps looks at bounds.
template <bool kIs>
struct Checked {
  static constexpr bool value = kIs;
};

// kGroup steps are worked on together, while what the next ones read is on its way.
template <class T, int K>
struct Steps {
  static constexpr int kGroup = 4;

  Floats<V> weight[K];
  Floats<V> gate_weight[K];
  Floats<V> bias;
  Floats<V> gate_bias;
  Floats<V> dweight[K];
  Floats<V> dgate_weight[K];
  Floats<V> dbias;
  Floats<V> dgate_bias;
  Floats<V> x[K - 1 + kGroup];  // from the first step's first tap on
  Floats<V> dx[K];              // of the events of a step's taps: complete once the step has left them
  Raw<T, V> next_x[kGroup];
  Raw<T, V> next_dout[kGroup];
};

// Blocks on a multiprocessor: as many as registers allow without spilling.
template <int K>
constexpr int kBlocksAtOnce = K < 5   ? 4
                              : K < 7 ? 3
                                      : 2;

template <class T, int K>
__global__ void __launch_bounds__(kThreads, kBlocksAtOnce<K>)
    backward_kernel(GatedDwconvBackward a, int run, float* partials) {
  if constexpr (!has_code<T>()) return;
  constexpr int kGroup = Steps<T, K>::kGroup;
  __shared__ Floats<V> sums[2 * (K + 1)][kWarp];
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const int64_t channel = (static_cast<int64_t>(blockIdx.y) * kWarp + lane) * V;
  const bool inside = channel < a.channels;
  const bool gated = a.gate_weight != nullptr;
  const int dilation = static_cast<int>(a.dilation);
  const int origin = a.causal ? K - 1 : K / 2;
  const int back = K - 1 - origin;
  const int64_t index = static_cast<int64_t>(blockIdx.x) * kWarps + warp;
  const int64_t start = index / dilation * run * dilation + index % dilation;

  Steps<T, K> s{};
  if (inside) {
#pragma unroll
    for (int k = 0; k < K; ++k) {
      s.weight[k] = load<V>(a.weight + k * a.channels + channel);
      if (gated) s.gate_weight[k] = load<V>(a.gate_weight + k * a.channels + channel);
    }
    s.bias = load<V>(a.bias + channel);
    if (gated) s.gate_bias = load<V>(a.gate_bias + channel);
  }
  // Events count from `start`, steps in dilations. A step finds an event's factors and adds to dx of what its taps
  // read; the first of those, `origin` steps back, then has all.
  const int64_t own_channel = inside ? channel : 0;
  const T* xs = stored_as<T>(a.x) + start * a.channels + own_channel;
  const T* douts = stored_as<T>(a.dout) + start * a.channels + own_channel;
  T* dxs = a.dx ? stored_as<T>(a.dx) + start * a.channels + own_channel : nullptr;
  const int first = -static_cast<int>(start);
  const int last = static_cast<int>(a.packing.events - start);
  const auto is_event = [&](int event) { return event >= first && event < last; };
  // Some event of the batch in place of one outside, which nothing counts: a read that may be left out would wait.
  const auto read = [&](const T* from, int step) {
    int event = step * dilation;
    event = event < first ? first : event >= last ? last - 1 : event;
    return load_raw<T, V>(from + static_cast<int64_t>(event) * a.channels);
  };
  const auto fetch = [&](int step) {
#pragma unroll
    for (int j = 0; j < kGroup; ++j) {
      s.next_x[j] = read(xs, step + j + back);
      s.next_dout[j] = read(douts, step + j);
    }
  };

  const auto work = [&](int step, Span& span, auto checked) {
    constexpr bool kChecks = decltype(checked)::value;
    Raw<T, V> before[kGroup] = {};
    Floats<V> dout[kGroup];
#pragma unroll
    for (int j = 0; j < kGroup; ++j) {
      s.x[K - 1 + j] = widen(s.next_x[j]);
      dout[j] = widen(s.next_dout[j]);
      if (a.accumulate_dx && dxs) before[j] = read(dxs, step + j - origin);
    }
    fetch(step + kGroup);
#pragma unroll
    for (int j = 0; j < kGroup; ++j) {
      const int event = (step + j) * dilation;
      const bool counts = !kChecks || is_event(event);
      const bool is_own = !kChecks || (counts && step + j >= 0 && step + j < run);
      if (kChecks && counts) span.move_to(a.packing, start, event);
      bool there[K];
#pragma unroll
      for (int k = 0; k < K; ++k) there[k] = !kChecks || (counts && span.holds(event + (k - origin) * dilation));
#pragma unroll
      for (int v = 0; v < V; ++v) {
        float x[K];
        float value = s.bias.at[v];
        float gate = s.gate_bias.at[v];
#pragma unroll
        for (int k = 0; k < K; ++k) {
          x[k] = there[k] ? s.x[j + k].at[v] : 0.0f;
          value = fmaf(s.weight[k].at[v], x[k], value);
          gate = fmaf(s.gate_weight[k].at[v], x[k], gate);
        }
        const float open = gated ? sigmoid(gate) : 1.0f;
        const float dvalue = dout[j].at[v] * open;
        const float dgate = gated ? dout[j].at[v] * value * (open * (1.0f - open)) : 0.0f;
        const float own_value = is_own ? dvalue : 0.0f;
        const float own_gate = is_own ? dgate : 0.0f;
        s.dbias.at[v] += own_value;
        s.dgate_bias.at[v] += own_gate;
#pragma unroll
        for (int k = 0; k < K; ++k) {
          s.dweight[k].at[v] = fmaf(own_value, x[k], s.dweight[k].at[v]);
          s.dgate_weight[k].at[v] = fmaf(own_gate, x[k], s.dgate_weight[k].at[v]);
          float dx = fmaf(s.weight[k].at[v], dvalue, s.dx[k].at[v]);
          dx = fmaf(s.gate_weight[k].at[v], dgate, dx);
          s.dx[k].at[v] = there[k] ? dx : s.dx[k].at[v];
        }
      }
      const int to = step + j - origin;
      if (dxs && inside && (!kChecks || (to >= 0 && to < run && is_event(to * dilation)))) {
        Floats<V> dx = widen(before[j]);
        for (int v = 0; v < V; ++v) dx.at[v] += s.dx[0].at[v];
        store<V>(dxs + static_cast<int64_t>(to) * dilation * a.channels, dx);
      }
#pragma unroll
      for (int k = 0; k < K; ++k) s.dx[k] = k + 1 < K ? s.dx[k + 1] : Floats<V>{};
    }
#pragma unroll
    for (int k = 0; k < K - 1; ++k) s.x[k] = s.x[kGroup + k];
  };

  if (start < a.packing.events) {
#pragma unroll
    for (int k = 0; k < K - 1; ++k) s.x[k] = widen(read(xs, k - back - origin));
    fetch(-back);
    Span span;
    span.find(a.packing, start, start - back * dilation);
    for (int step = -back; step < run + origin; step += kGroup) {
      // Whether all that the group touches is its run's, and of one sequence.
      const int oldest = (step - origin) * dilation;
      const int newest = (step + kGroup - 1 + back) * dilation;
      if (oldest >= first) span.move_to(a.packing, start, oldest);
      if (step >= origin && step + kGroup <= run && span.holds(oldest) && newest < span.end) {
        work(step, span, Checked<false>());
      } else {
        work(step, span, Checked<true>());
      }
    }
  }

  // The block's sums, warp after warp: dweight, dbias, dgate_weight, dgate_bias.
  for (int w = 0; w < kWarps; ++w) {
    if (warp == w) {
      const auto add = [&](int at, const Floats<V>& more) {
        for (int v = 0; v < V; ++v) sums[at][lane].at[v] = w == 0 ? more.at[v] : sums[at][lane].at[v] + more.at[v];
      };
#pragma unroll
      for (int k = 0; k < K; ++k) {
        add(k, s.dweight[k]);
        add(K + 1 + k, s.dgate_weight[k]);
      }
      add(K, s.dbias);
      add(2 * K + 1, s.dgate_bias);
    }
    __syncthreads();
  }
  const int64_t stride = 2 * (K + 1) * a.channels;
  for (int at = warp; inside && at < 2 * (K + 1); at += kWarps) {
    store<V>(partials + blockIdx.x * stride + at * a.channels + channel, sums[at][lane]);
  }
}

template <class T, int K>
void launch_kernel(const GatedDwconvBackward& a, Launch& launch) {
  constexpr int64_t kGroup = Steps<T, K>::kGroup;
  constexpr int64_t kRuns = 3168;  // wanted, of all channels: what a large card holds at a time, twice
  const int64_t groups = ceil_div(a.channels, kWarp * V);
  // Whole groups of steps, the halo's among them; long enough for that to be few, short enough to occupy a card.
  int64_t steps = ceil_div(ceil_div(a.packing.events * groups, kRuns) + K - 1, kGroup);
  steps = (steps < 8 ? 8 : steps > 32 ? 32 : steps) * kGroup;
  const int64_t run = steps - (K - 1);
  const int64_t runs = ceil_div(a.packing.events, run * a.dilation) * a.dilation;
  const unsigned blocks = blocks_of(runs, kWarps);
  const int64_t half = (K + 1) * a.channels;
  float* partials = launch.workspace_of<float>(blocks * 2 * half);
  if (!partials) return;
  const dim3 grid(blocks, static_cast<unsigned>(groups));
  backward_kernel<T, K><<<grid, kThreads, 0, launch.stream>>>(a, static_cast<int>(run), partials);
  const int64_t filter = K * a.channels;
  add_partials(partials, blocks, 2 * half, half, filter, a.dweight, a.dbias, launch.stream);
  if (!a.gate_weight) return;
  add_partials(partials + half, blocks, 2 * half, half, filter, a.dgate_weight, a.dgate_bias, launch.stream);
}

}  // namespace

bool gated_dwconv_backward_near(const GatedDwconvBackward& a, Launch& launch) {
  constexpr int64_t kMostReach = 32;  // of events between the first tap and the last
  const bool wide = is_wide(a.channels, a.x, a.weight, a.bias, a.gate_weight, a.gate_bias, a.dout, a.dx);
  const bool near = a.width == 3 || a.width == 5 || a.width == 7;
  if (!wide || !near || a.dilation * (a.width - 1) > kMostReach) return false;
  with_storage(a.stored, [&](auto element) {
    using T = Element<decltype(element)>;
    if (a.width == 3) return launch_kernel<T, 3>(a, launch);
    if (a.width == 5) return launch_kernel<T, 5>(a, launch);
    launch_kernel<T, 7>(a, launch);
  });
  return true;
}

}  // namespace cuda
}  // namespace seqrisk
