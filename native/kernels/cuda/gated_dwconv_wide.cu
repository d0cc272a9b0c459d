// The backward of gated_dwconv on CUDA for wide or far-reaching filters: the gradients of the gate's factors go through
// memory, then dx and the filters' gradients are read off them.
#include "kernels/cuda/columns-inl.cuh"
#include "kernels/cuda/device-inl.cuh"
#include "kernels/cuda/gated_dwconv_backward.h"

namespace seqrisk {
namespace cuda {
namespace {

constexpr int64_t kRange = 512;  // events of a partial sum

__device__ int64_t origin_of(const GatedDwconvBackward& a) {
  return a.causal ? a.width - 1 : a.width / 2;
}

// Gradients of the two factors of every element.
struct Factors {
  GatedDwconvBackward a;
  float* dvalues;
  float* dgates;

  template <int V>
  __device__ void run(int64_t event, int64_t channel) const {
    const int64_t i = event * a.channels + channel;
    const int64_t s = sequence_of(a.packing, event);
    const int64_t begin = a.packing.offsets[s];
    const int64_t end = a.packing.offsets[s + 1];
    const Floats<V> dout = load_stored<V>(a.dout, i, a.stored);
    if (!a.gate_weight) {
      store<V>(dvalues + i, dout);
      return;
    }
    Floats<V> value = load<V>(a.bias + channel);
    Floats<V> gate = load<V>(a.gate_bias + channel);
    for (int64_t k = 0; k < a.width; ++k) {
      const int64_t from = event + a.dilation * (k - origin_of(a));
      if (from < begin || from >= end) continue;
      const Floats<V> x = load_stored<V>(a.x, from * a.channels + channel, a.stored);
      const Floats<V> weight = load<V>(a.weight + k * a.channels + channel);
      const Floats<V> gate_weight = load<V>(a.gate_weight + k * a.channels + channel);
      for (int v = 0; v < V; ++v) {
        value.at[v] = fmaf(weight.at[v], x.at[v], value.at[v]);
        gate.at[v] = fmaf(gate_weight.at[v], x.at[v], gate.at[v]);
      }
    }
    for (int v = 0; v < V; ++v) {
      const float open = sigmoid(gate.at[v]);
      gate.at[v] = dout.at[v] * value.at[v] * (open * (1.0f - open));
      value.at[v] = dout.at[v] * open;
    }
    store<V>(dvalues + i, value);
    store<V>(dgates + i, gate);
  }
};

struct Inputs {
  GatedDwconvBackward a;
  const float* dvalues;
  const float* dgates;

  template <int V>
  __device__ void run(int64_t event, int64_t channel) const {
    const int64_t i = event * a.channels + channel;
    const int64_t s = sequence_of(a.packing, event);
    const int64_t begin = a.packing.offsets[s];
    const int64_t end = a.packing.offsets[s + 1];
    Floats<V> dx{};
    for (int64_t k = 0; k < a.width; ++k) {
      const int64_t to = event - a.dilation * (k - origin_of(a));
      if (to < begin || to >= end) continue;
      const Floats<V> dvalue = load<V>(dvalues + to * a.channels + channel);
      const Floats<V> weight = load<V>(a.weight + k * a.channels + channel);
      for (int v = 0; v < V; ++v) dx.at[v] = fmaf(weight.at[v], dvalue.at[v], dx.at[v]);
      if (!a.gate_weight) continue;
      const Floats<V> dgate = load<V>(dgates + to * a.channels + channel);
      const Floats<V> gate_weight = load<V>(a.gate_weight + k * a.channels + channel);
      for (int v = 0; v < V; ++v) dx.at[v] = fmaf(gate_weight.at[v], dgate.at[v], dx.at[v]);
    }
    if (a.accumulate_dx) {
      const Floats<V> before = load_stored<V>(a.dx, i, a.stored);
      for (int v = 0; v < V; ++v) dx.at[v] += before.at[v];
    }
    store_stored<V>(a.dx, i, a.stored, dx);
  }
};

// partials[range, tap, channel] of the filter, and of the bias behind the last tap. A thread takes a tap of a channel.
__global__ void filter_kernel(GatedDwconvBackward a, const float* dfactor, float* partials) {
  const int64_t i = static_cast<int64_t>(blockIdx.y) * blockDim.x + threadIdx.x;
  const int64_t tap = i / a.channels;
  const int64_t channel = i % a.channels;
  if (tap > a.width) return;
  const int64_t first = static_cast<int64_t>(blockIdx.x) * kRange;
  const int64_t last = first + kRange < a.packing.events ? first + kRange : a.packing.events;
  int64_t s = sequence_of(a.packing, first);
  float sum = 0.0f;
  for (int64_t event = first; event < last; ++event) {
    while (a.packing.offsets[s + 1] <= event) ++s;
    float x = 1.0f;
    if (tap < a.width) {
      const int64_t from = event + a.dilation * (tap - origin_of(a));
      if (from < a.packing.offsets[s] || from >= a.packing.offsets[s + 1]) continue;
      x = load_stored<1>(a.x, from * a.channels + channel, a.stored).at[0];
    }
    sum = fmaf(dfactor[event * a.channels + channel], x, sum);
  }
  partials[(blockIdx.x * (a.width + 1) + tap) * a.channels + channel] = sum;
}

}  // namespace

void gated_dwconv_backward_wide(const GatedDwconvBackward& a, Launch& launch) {
  constexpr int kThreads = 128;
  const int64_t count = a.packing.events * a.channels;
  const int64_t rounded = ceil_div(count, 4) * 4;
  const int64_t filter = (a.width + 1) * a.channels;
  const unsigned ranges = blocks_of(a.packing.events, kRange);
  float* dvalues = launch.workspace_of<float>(2 * rounded + ranges * filter);
  if (!dvalues) return;
  float* dgates = dvalues + rounded;
  float* partials = dgates + rounded;
  const bool wide = is_wide(a.channels, a.x, a.weight, a.bias, a.gate_weight, a.gate_bias, a.dout, a.dx);
  over_rows(a.packing.events, a.channels, wide, Factors{a, dvalues, dgates}, launch.stream);
  if (a.dx) over_rows(a.packing.events, a.channels, wide, Inputs{a, dvalues, dgates}, launch.stream);
  const dim3 blocks(ranges, blocks_of(filter, kThreads));
  const int64_t split = a.width * a.channels;
  filter_kernel<<<blocks, kThreads, 0, launch.stream>>>(a, dvalues, partials);
  add_partials(partials, ranges, filter, filter, split, a.dweight, a.dbias, launch.stream);
  if (!a.gate_weight) return;
  filter_kernel<<<blocks, kThreads, 0, launch.stream>>>(a, dgates, partials);
  add_partials(partials, ranges, filter, filter, split, a.dgate_weight, a.dgate_bias, launch.stream);
}

}  // namespace cuda
}  // namespace seqrisk
