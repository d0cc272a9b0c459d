// unfold on CUDA: a thread takes up to four channels of one tap of one event.
#include "ops/unfold.h"

#include "kernels/cuda/device-inl.cuh"

namespace seqrisk {
namespace cuda {
namespace {

__host__ __device__ int64_t origin_of(int64_t width, bool causal) {
  return causal ? width - 1 : width / 2;
}

struct Forward {
  UnfoldForward a;

  template <int V>
  __device__ void run(int64_t row, int64_t channel) const {
    const int64_t event = row / a.width;
    const int64_t tap = row % a.width;
    const int64_t s = sequence_of(a.packing, event);
    const int64_t from = event + a.dilation * (tap - origin_of(a.width, a.causal));
    Floats<V> value{};
    if (from >= a.packing.offsets[s] && from < a.packing.offsets[s + 1]) {
      value = load_stored<V>(a.x, from * a.channels + channel, a.stored);
    }
    store_stored<V>(a.out, row * a.channels + channel, a.stored, value);
  }
};

struct Backward {
  UnfoldBackward a;

  template <int V>
  __device__ void run(int64_t event, int64_t channel) const {
    const int64_t i = event * a.channels + channel;
    const int64_t s = sequence_of(a.packing, event);
    Floats<V> sum{};
    if (a.accumulate_dx) sum = load_stored<V>(a.dx, i, a.stored);
    for (int64_t tap = 0; tap < a.width; ++tap) {
      const int64_t to = event - a.dilation * (tap - origin_of(a.width, a.causal));
      if (to < a.packing.offsets[s] || to >= a.packing.offsets[s + 1]) continue;
      const Floats<V> dout = load_stored<V>(a.dout, (to * a.width + tap) * a.channels + channel, a.stored);
      for (int v = 0; v < V; ++v) sum.at[v] += dout.at[v];
    }
    store_stored<V>(a.dx, i, a.stored, sum);
  }
};

}  // namespace

void unfold_forward(const UnfoldForward& a, Launch& launch) {
  over_rows(a.packing.events * a.width, a.channels, is_wide(a.channels, a.x, a.out), Forward{a}, launch.stream);
}

void unfold_backward(const UnfoldBackward& a, Launch& launch) {
  over_rows(a.packing.events, a.channels, is_wide(a.channels, a.dout, a.dx), Backward{a}, launch.stream);
}

}  // namespace cuda
}  // namespace seqrisk
