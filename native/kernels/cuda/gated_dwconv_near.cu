// The backward of gated_dwconv on CUDA for narrow filters. A warp walks along a run of events with two channels a lane:
// neighbours' inputs, and what dx has so far of its sums, move through its registers. Events of a run are a dilation
// apart, so that every filter is one without. Memory is read and written once.
#include "kernels/cuda/gated_dwconv-inl.cuh"
#include "kernels/cuda/gated_dwconv_ways.h"
#include "kernels/cuda/partial_sums.h"

namespace seqrisk {
namespace cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kWarps = kThreads / kWarp;
constexpr int V = 2;

template <int K>
struct FilterSums {
  Floats<V> weight[K];
  Floats<V> gate_weight[K];
  Floats<V> bias;
  Floats<V> gate_bias;
};

template <class T>
using Rows = Raw<T, V>[kRing][kGroup][kThreads];

// Blocks on a multiprocessor: as many as registers allow, if steps that look at bounds may spill some.
template <int K>
constexpr int kBlocksAtOnce = K < 7 ? 4 : 3;

template <class T, int K>
__global__ void __launch_bounds__(kThreads, kBlocksAtOnce<K>)
    backward_kernel(GatedDwconvBackward a, int run, float* partials) {
  if constexpr (!has_code<T>()) return;
  extern __shared__ float4 memory[];
  auto* rows = reinterpret_cast<Rows<T>*>(memory);  // on their way: x, dout, and what dx is added to
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const int64_t channel = (static_cast<int64_t>(blockIdx.y) * kWarp + lane) * V;
  const bool inside = channel < a.channels;
  const int64_t column = inside ? channel : 0;
  const int dilation = static_cast<int>(a.dilation);
  const int origin = (a.causal ? K - 1 : K / 2) * dilation;  // events from the first tap to the middle one
  const int back = (K - 1) * dilation - origin;              // and from there to the last
  const int reach = run * dilation;
  const unsigned index = blockIdx.x * kWarps + warp;
  const int64_t start = static_cast<int64_t>(index / dilation) * reach + index % dilation;
  FilterSums<K> sums{};

  // Events count from `start`. At each its factors are found, and added to dx of what its taps read; the first of
  // those, `origin` back, then has all.
  if (start < a.packing.events) {
    const int left = static_cast<int>(a.packing.events - start);
    const int row_bytes = static_cast<int>(a.channels * sizeof(T));
    const int64_t own = start * a.channels + column;
    const Columns<const T> xs{stored_as<T>(a.x) + own, row_bytes};
    const Columns<const T> douts{stored_as<T>(a.dout) + own, row_bytes};
    const Columns<T> dxs{stored_as<T>(a.dx) + own, row_bytes};
    const bool writes = a.dx && inside;
    const bool adds = a.dx && a.accumulate_dx;
    // Some event of the batch stands for one outside of it, which nobody counts: a read that may be left out would
    // wait.
    const int begin = -static_cast<int>(start);
    const int first = begin > -origin - back ? begin : -origin - back;
    const int last = (left - reach < origin + back ? left : reach + origin + back) - 1;
    const auto fetch = [&](int group, int event, auto is_first) {
      const auto place = [&](int at) {
        if (decltype(is_first)::value && at < first) at = first;
        return at < last ? at : last;
      };
#pragma unroll
      for (int j = 0; j < kGroup; ++j) {
        const int at = event + j * dilation;
        copy_own<T, V>(&rows[0][group][j][threadIdx.x], xs.at(place(at + back)));
        copy_own<T, V>(&rows[1][group][j][threadIdx.x], douts.at(place(at)));
        if (adds) copy_own<T, V>(&rows[2][group][j][threadIdx.x], dxs.at(place(at - origin)));
      }
      close_async_group();
    };
#pragma unroll
    for (int group = 0; group < kRing - 1; ++group) {
      fetch(group, group * kGroup * dilation - back, std::true_type());
    }
    Floats<V> x[K - 1 + kGroup];  // from the group's first event's first tap on
#pragma unroll
    for (int k = 0; k < K - 1; ++k) {
      const int event = k * dilation - back - origin;
      x[k] = load<V>(xs.at(event < first ? first : event < last ? event : last));
    }
    Floats<V> dx[K]{};  // of the events of a step's taps: complete once the step has left them
    const Filters<V, K> filters(a, column);
    MovingSpan span;
    span.take(a.packing, start, warp_sequence_of(a.packing, start < back ? 0 : start - back));

    Ring ring;
    // `checked`: whether the step looks at bounds; `added`: whether dx is added to.
    const auto work = [&](int event, auto checked, auto added) {
      constexpr bool kChecks = decltype(checked)::value;
#pragma unroll
      for (int turn = 0; turn < kTurns; ++turn) {
        wait_async_groups<kRing - 2>();
        Floats<V> dout[kGroup];
#pragma unroll
        for (int j = 0; j < kGroup; ++j) {
          x[K - 1 + j] = widen(rows[0][ring.filled(turn)][j][threadIdx.x]);
          dout[j] = widen(rows[1][ring.filled(turn)][j][threadIdx.x]);
        }
        fetch(ring.emptied(turn), event + (kRing - 1) * kGroup * dilation, std::false_type());
#pragma unroll
        for (int j = 0; j < kGroup; ++j, event += dilation) {
          const bool counts = !kChecks || (event >= begin && event < left);
          const bool is_own = !kChecks || (counts && event >= 0 && event < reach);
          if (kChecks && counts) span.move_to(a.packing, start, event);
          bool there[K];
#pragma unroll
          for (int k = 0; k < K; ++k) there[k] = !kChecks || (counts && span.holds(event + k * dilation - origin));
#pragma unroll
          for (int v = 0; v < V; ++v) {
            float taps[K];
            float value = filters.bias.at[v];
            float gate = filters.gate_bias.at[v];
#pragma unroll
            for (int k = 0; k < K; ++k) {
              taps[k] = there[k] ? x[j + k].at[v] : 0.0f;
              value = fmaf(filters.weight[k].at[v], taps[k], value);
              gate = fmaf(filters.gate_weight[k].at[v], taps[k], gate);
            }
            const float open = open_gate<T>(gate);
            const float dvalue = dout[j].at[v] * open;
            const float whole = dvalue * value;
            const float dgate = fmaf(-whole, open, whole);
            const float own_value = is_own ? dvalue : 0.0f;
            const float own_gate = is_own ? dgate : 0.0f;
            sums.bias.at[v] += own_value;
            sums.gate_bias.at[v] += own_gate;
#pragma unroll
            for (int k = 0; k < K; ++k) {
              sums.weight[k].at[v] = fmaf(own_value, taps[k], sums.weight[k].at[v]);
              sums.gate_weight[k].at[v] = fmaf(own_gate, taps[k], sums.gate_weight[k].at[v]);
              float more = fmaf(filters.weight[k].at[v], dvalue, dx[k].at[v]);
              more = fmaf(filters.gate_weight[k].at[v], dgate, more);
              dx[k].at[v] = there[k] ? more : dx[k].at[v];
            }
          }
          if (added) {
            const Floats<V> before = widen(rows[2][ring.filled(turn)][j][threadIdx.x]);
            for (int v = 0; v < V; ++v) dx[0].at[v] += before.at[v];
          }
          const int to = event - origin;
          if (writes && (!kChecks || (to >= 0 && to < reach && to < left))) store<V>(dxs.at(to), dx[0]);
#pragma unroll
          for (int k = 0; k < K; ++k) dx[k] = k + 1 < K ? dx[k + 1] : Floats<V>{};
        }
#pragma unroll
        for (int k = 0; k < K - 1; ++k) x[k] = x[kGroup + k];
      }
      ring.advance();
    };
    const int step = kStep * dilation;
    for (int event = -back; event < reach + origin;) {
      if (event - origin >= begin) span.move_to(a.packing, start, event - origin);
      // Where the last step may start all of whose events are the run's, and read one sequence.
      const int until = (span.end - back + dilation - 1 < reach ? span.end - back + dilation - 1 : reach) - step;
      if (event >= origin && event - origin >= span.begin && event <= until) {
        if (adds) {
          for (; event <= until; event += step) work(event, std::false_type(), std::true_type());
        } else {
          for (; event <= until; event += step) work(event, std::false_type(), std::false_type());
        }
      } else {
        work(event, std::true_type(), adds);
        event += step;
      }
    }
  }
  wait_async_groups<0>();
  __syncthreads();

  // The block's sums, warp after warp: dweight, dbias, dgate_weight, dgate_bias.
  auto* all = reinterpret_cast<Floats<V>(*)[kWarp]>(memory);
  static_assert(2 * sizeof(Rows<T>) >= 2 * (K + 1) * sizeof(all[0]));
  for (int w = 0; w < kWarps; ++w) {
    if (warp == w) {
      const auto add = [&](int at, const Floats<V>& more) {
        for (int v = 0; v < V; ++v) all[at][lane].at[v] = w == 0 ? more.at[v] : all[at][lane].at[v] + more.at[v];
      };
#pragma unroll
      for (int k = 0; k < K; ++k) {
        add(k, sums.weight[k]);
        add(K + 1 + k, sums.gate_weight[k]);
      }
      add(K, sums.bias);
      add(2 * K + 1, sums.gate_bias);
    }
    __syncthreads();
  }
  const int64_t stride = 2 * (K + 1) * a.channels;
  for (int at = warp; inside && at < 2 * (K + 1); at += kWarps) {
    store<V>(partials + blockIdx.x * stride + at * a.channels + channel, all[at][lane]);
  }
}

template <class T, int K>
void launch_kernel(const GatedDwconvBackward& a, Launch& launch) {
  constexpr int64_t kRuns = 132 * kBlocksAtOnce<K> * kWarps;  // wanted, of all channels: what a large card holds
  const int64_t groups = ceil_div(a.channels, kWarp * V);
  // Whole steps, the halo's among them; long enough for that to be few, short enough to occupy a card.
  int64_t steps = ceil_div(ceil_div(a.packing.events * groups, kRuns) + K - 1, kStep);
  steps = (steps < 4 ? 4 : steps > 128 ? 128 : steps) * kStep;
  const int64_t run = steps - (K - 1);
  const int64_t runs = ceil_div(a.packing.events, run * a.dilation) * a.dilation;
  const unsigned blocks = blocks_of(runs, kWarps);
  const int64_t half = (K + 1) * a.channels;
  float* partials = launch.workspace_of<float>(blocks * 2 * half);
  if (!partials) return;
  const dim3 grid(blocks, static_cast<unsigned>(groups));
  const size_t shared = (a.dx && a.accumulate_dx ? 3 : 2) * sizeof(Rows<T>);
  backward_kernel<T, K><<<grid, kThreads, shared, launch.stream>>>(a, static_cast<int>(run), partials);
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
  if (!wide || !near || a.dilation * (a.width - 1) > kMostReach || a.channels > kMostColumns) return false;
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
