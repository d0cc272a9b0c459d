// pool on CUDA: a block takes 32 columns of one sequence, its eight warps every eighth event.
#include "ops/pool.h"

#include "kernels/cuda/device-inl.cuh"

namespace seqrisk {
namespace cuda {
namespace {

constexpr int kRows = 8;

__global__ void forward_kernel(PoolForward a) {
  const int64_t s = blockIdx.x;
  const int64_t column = static_cast<int64_t>(blockIdx.y) * kWarp + threadIdx.x;
  const int64_t begin = a.packing.offsets[s];
  const int64_t events = a.packing.offsets[s + 1] - begin;
  __shared__ float values[kRows][kWarp];
  __shared__ int32_t places[kRows][kWarp];
  const bool inside = column < a.width;
  const float* x = a.x + begin * a.width + column;
  float value = 0.0f;
  int32_t place = -1;
  if (inside && a.mode == PoolMode::mean) {
    // Sums of 64 events each, then their sum: rounding grows with their numbers instead of the length.
    for (int64_t first = threadIdx.y; first < events; first += kRows * 64) {
      float part = 0.0f;
#pragma unroll 8
      for (int64_t event = first; event < events && event < first + kRows * 64; event += kRows) {
        part += x[event * a.width];
      }
      value += part;
    }
  } else if (inside && a.mode == PoolMode::max) {
    for (int64_t event = threadIdx.y; event < events; event += kRows) {
      const float now = x[event * a.width];
      if (place >= 0 && !(now > value) && !isnan(now)) continue;
      value = now;
      place = static_cast<int32_t>(event);
    }
  } else if (inside && threadIdx.y == 0 && events > 0) {
    value = x[(events - 1) * a.width];
  }
  values[threadIdx.y][threadIdx.x] = value;
  places[threadIdx.y][threadIdx.x] = place;
  __syncthreads();
  if (threadIdx.y != 0 || !inside) return;
  for (int y = 1; y < kRows; ++y) {
    const float other = values[y][threadIdx.x];
    if (a.mode == PoolMode::mean) value += other;
    if (a.mode != PoolMode::max) continue;
    const int32_t there = places[y][threadIdx.x];
    if (there < 0) continue;
    // The last NaN wins, as it does when events are looked at one after the other; of equal numbers the first.
    const bool later = there > place;
    const bool better =
        isnan(other) ? !isnan(value) || later : !isnan(value) && (other > value || (other == value && !later));
    if (!better) continue;
    value = other;
    place = there;
  }
  if (a.mode == PoolMode::mean && events > 0) value *= 1.0f / static_cast<float>(events);
  a.out[s * a.width + column] = value;
  if (a.argmax && a.mode == PoolMode::max) a.argmax[s * a.width + column] = place;
}

struct Backward {
  PoolBackward a;

  template <int V>
  __device__ void run(int64_t event, int64_t column) const {
    const int64_t i = event * a.width + column;
    const int64_t s = sequence_of(a.packing, event);
    const int64_t begin = a.packing.offsets[s];
    const int64_t events = a.packing.offsets[s + 1] - begin;
    Floats<V> dx{};
    if (a.accumulate_dx) dx = load<V>(a.dx + i);
    const bool last = event - begin == events - 1;
    if (a.mode != PoolMode::last || last) {
      const Floats<V> dout = load<V>(a.dout + s * a.width + column);
      const float share = 1.0f / static_cast<float>(events);
      for (int v = 0; v < V; ++v) {
        if (a.mode == PoolMode::mean) {
          dx.at[v] += dout.at[v] * share;
        } else if (a.mode == PoolMode::last || a.argmax[s * a.width + column + v] == event - begin) {
          dx.at[v] += dout.at[v];
        }
      }
    }
    store<V>(a.dx + i, dx);
  }
};

}  // namespace

void pool_forward(const PoolForward& a, Launch& launch) {
  if (a.packing.sequences == 0 || a.width == 0) return;
  const dim3 blocks(static_cast<unsigned>(a.packing.sequences), blocks_of(a.width, kWarp));
  forward_kernel<<<blocks, dim3(kWarp, kRows), 0, launch.stream>>>(a);
}

void pool_backward(const PoolBackward& a, Launch& launch) {
  over_rows(a.packing.events, a.width, is_wide(a.width, a.dout, a.dx), Backward{a}, launch.stream);
}

}  // namespace cuda
}  // namespace seqrisk
