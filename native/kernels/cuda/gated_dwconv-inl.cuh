// What the kernels of gated_dwconv that walk along events share.
#pragma once

#include <type_traits>

#include "kernels/cuda/matrix-inl.cuh"
#include "kernels/cuda/spans-inl.cuh"

namespace seqrisk {
namespace cuda {

// The bounds of an event's sequence; they move on with the event. Events count from `start`.
struct MovingSpan {
  int64_t sequence;
  int begin;
  int end;

  __device__ void take(const Packing& packing, int64_t start, int64_t which) {
    sequence = which;
    begin = static_cast<int>(packing.offsets[which] - start);
    end = static_cast<int>(packing.offsets[which + 1] - start);
  }
  __device__ void move_to(const Packing& packing, int64_t start, int event) {
    while (end <= event && sequence + 1 < packing.sequences) take(packing, start, sequence + 1);
  }
  __device__ bool holds(int event) const { return event >= begin && event < end; }
};

// Some channels of all events, counted from one of them; a row's bytes fit in an int. The product is hidden from the
// compiler, which else keeps a pointer for every row of a loop and runs out of registers.
constexpr int64_t kMostColumns = 1 << 28;
template <class T>
struct Columns {
  T* first;
  int row_bytes;

  __device__ T* at(int event) const {
    using Byte = std::conditional_t<std::is_const_v<T>, const char, char>;
    return reinterpret_cast<T*>(reinterpret_cast<Byte*>(first) + opaque_product(event, row_bytes));
  }
};

// A piece of a row into shared memory of the thread's own, while the thread goes on. Where registers are to be filled,
// the compiler asks late, and waits for all that is on its way together.
template <class T, int V>
__device__ inline void copy_own(Raw<T, V>* shared, const T* from) {
  copy_piece_async(shared, from);
}

// Events are worked on in groups, and those in twos, a step, after which all values are back in their registers. A ring
// holds the group in work and the next two, which are on their way; what the group before had is filled anew.
constexpr int kGroup = 4;
constexpr int kTurns = 2;
constexpr int kStep = kTurns * kGroup;
constexpr int kRing = 4;

struct Ring {
  int half = 0;  // where the step's first group is

  __device__ int filled(int turn) const { return half + turn; }
  __device__ int emptied(int turn) const { return turn == 0 ? (half ^ kTurns) + 1 : half; }
  __device__ void advance() { half ^= kTurns; }
};

// Both filters of some channels. No gate is one that is always open: its sigmoid is exactly 1 there.
constexpr float kOpenGate = 100.0f;
template <int V, int K>
struct Filters {
  Floats<V> weight[K];
  Floats<V> gate_weight[K];
  Floats<V> bias;
  Floats<V> gate_bias;

  template <class Arguments>
  __device__ Filters(const Arguments& a, int64_t channel) {
#pragma unroll
    for (int k = 0; k < K; ++k) weight[k] = load<V>(a.weight + k * a.channels + channel);
    bias = load<V>(a.bias + channel);
    if (a.gate_weight) {
#pragma unroll
      for (int k = 0; k < K; ++k) gate_weight[k] = load<V>(a.gate_weight + k * a.channels + channel);
      gate_bias = load<V>(a.gate_bias + channel);
    } else {
#pragma unroll
      for (int k = 0; k < K; ++k) gate_weight[k] = {};
      for (int v = 0; v < V; ++v) gate_bias.at[v] = kOpenGate;
    }
  }
};

// For bfloat16 in four instructions: |z| + 4 units in the last place of a float32 are far less than it rounds away.
template <class T>
__device__ inline float open_gate(float z) {
  if constexpr (sizeof(T) == sizeof(float)) return sigmoid(z);
  constexpr float kLog2E = 1.44269504f;
  return fast_reciprocal(1.0f + fast_exp2(-kLog2E * z));
}

}  // namespace cuda
}  // namespace seqrisk
