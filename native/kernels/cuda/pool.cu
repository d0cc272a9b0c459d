// pool on CUDA. Forward: a block takes 32 columns of one sequence, and its rows of threads take every 16th event.
// Backward: a block takes some events, and looks up their sequences before it writes.
#include "ops/pool.h"

#include "kernels/cuda/device-inl.cuh"
#include "kernels/cuda/spans-inl.cuh"

namespace seqrisk {
namespace cuda {
namespace {

constexpr int kColumns = 32;
constexpr int kRows = 16;

template <int V>
__global__ void __launch_bounds__(kColumns / V * kRows) forward_kernel(PoolForward a) {
  constexpr int kAtOnce = 8;  // events on their way
  const int64_t s = blockIdx.x;
  const int64_t first_column = static_cast<int64_t>(blockIdx.y) * kColumns;
  const int64_t column = first_column + threadIdx.x * V;
  const int64_t begin = a.packing.offsets[s];
  const int64_t events = a.packing.offsets[s + 1] - begin;
  __shared__ float values[kRows][kColumns];
  __shared__ int32_t places[kRows][kColumns];
  const bool inside = column < a.width;
  const float* x = a.x + begin * a.width + column;
  Floats<V> value{};
  int32_t place[V];
  for (int v = 0; v < V; ++v) place[v] = -1;
  if (a.mode == PoolMode::last) {
    if (inside && threadIdx.y == 0 && events > 0) value = load<V>(x + (events - 1) * a.width);
  } else if (inside) {
    Floats<V> part{};
    for (int64_t first = threadIdx.y; first < events; first += kRows * kAtOnce) {
      Floats<V> rows[kAtOnce];
#pragma unroll
      for (int j = 0; j < kAtOnce; ++j) {
        const int64_t event = first + j * kRows;
        rows[j] = event < events ? load<V>(x + event * a.width) : Floats<V>{};
      }
      if (a.mode == PoolMode::mean) {
#pragma unroll
        for (int j = 0; j < kAtOnce; ++j) {
          for (int v = 0; v < V; ++v) part.at[v] += rows[j].at[v];
        }
        // Sums of 64 events each, then their sum: rounding grows with their numbers instead of the length.
        if (first / (kRows * kAtOnce) % (64 / kAtOnce) != 64 / kAtOnce - 1) continue;
        for (int v = 0; v < V; ++v) value.at[v] += part.at[v];
        part = {};
        continue;
      }
#pragma unroll
      for (int j = 0; j < kAtOnce; ++j) {
        const int64_t event = first + j * kRows;
        for (int v = 0; v < V; ++v) {
          const float now = rows[j].at[v];
          if (event >= events || (place[v] >= 0 && !(now > value.at[v]) && !isnan(now))) continue;
          value.at[v] = now;
          place[v] = static_cast<int32_t>(event);
        }
      }
    }
    if (a.mode == PoolMode::mean) {
      for (int v = 0; v < V; ++v) value.at[v] += part.at[v];
    }
  }
  for (int v = 0; v < V; ++v) {
    values[threadIdx.y][threadIdx.x * V + v] = value.at[v];
    places[threadIdx.y][threadIdx.x * V + v] = place[v];
  }
  __syncthreads();

  // A thread for each column, over the rows that had an event.
  const int own = static_cast<int>(threadIdx.y * blockDim.x + threadIdx.x);
  if (own >= kColumns || first_column + own >= a.width) return;
  const int64_t to = s * a.width + first_column + own;
  const int rows = static_cast<int>(events < kRows ? events : kRows);
  float best = values[0][own];
  if (a.mode == PoolMode::mean) {
#pragma unroll 8
    for (int y = 1; y < rows; ++y) best += values[y][own];
    if (events > 0) best *= 1.0f / static_cast<float>(events);
  } else if (a.mode == PoolMode::max) {
    int32_t best_place = places[0][own];
    for (int y = 1; y < rows; ++y) {
      const float other = values[y][own];
      const int32_t there = places[y][own];
      // The last NaN wins, as it does when events are looked at one after the other; of equal numbers the first.
      const bool later = there > best_place;
      const bool better =
          isnan(other) ? !isnan(best) || later : !isnan(best) && (other > best || (other == best && !later));
      if (!better) continue;
      best = other;
      best_place = there;
    }
    if (a.argmax) a.argmax[to] = best_place;
  }
  a.out[to] = best;
}

constexpr int kThreads = 256;
constexpr int kEventsPerThread = 8;

// Where an event is: the row of its sequence, its place there, and what share of a mean it has.
struct alignas(16) Seat {
  int32_t sequence;
  int32_t place;
  int32_t last;  // place of the sequence
  float share;
};

// Those of `count` events, at most as many as threads. `ends` is shared memory for two numbers.
__device__ void find_seats(const Packing& packing, int64_t first, int count, Seat* seats, int64_t* ends) {
  const int thread = static_cast<int>(threadIdx.x);
  if (thread < 2 * kWarp) {
    const int64_t found = warp_sequence_of(packing, thread < kWarp ? first : first + count - 1);
    if (thread % kWarp == 0) ends[thread / kWarp] = found;
  }
  __syncthreads();
  if (thread < count) {
    const int64_t event = first + thread;
    const Packing near{packing.offsets + ends[0], ends[1] - ends[0] + 1, packing.events, packing.max_length};
    const int64_t s = sequence_of(near, event);
    const int32_t begin = near.offsets[s];
    const int32_t events = near.offsets[s + 1] - begin;
    seats[thread] = {static_cast<int32_t>(ends[0] + s), static_cast<int32_t>(event) - begin, events - 1,
                     1.0f / static_cast<float>(events)};
  }
  __syncthreads();
}

template <int V>
struct alignas(V * sizeof(int32_t)) Places {
  int32_t at[V];
};

// `across` threads take a row of dx, a power of two.
template <PoolMode kMode, int V>
__global__ void __launch_bounds__(kThreads) backward_kernel(PoolBackward a, int across) {
  constexpr int kAtOnce = 4;
  __shared__ Seat seats[kThreads];
  __shared__ int64_t ends[2];
  const int down = kThreads / across;
  const int64_t first = static_cast<int64_t>(blockIdx.x) * down * kEventsPerThread;
  const int64_t left = a.packing.events - first;
  const int count = static_cast<int>(left < down * kEventsPerThread ? left : down * kEventsPerThread);
  find_seats(a.packing, first, count, seats, ends);
  const int x = static_cast<int>(threadIdx.x) % across;
  const int64_t column = (static_cast<int64_t>(blockIdx.y) * across + x) * V;
  if (column >= a.width) return;
  const int64_t to = first * a.width + column;
  for (int row = static_cast<int>(threadIdx.x) / across; row < count; row += kAtOnce * down) {
    Floats<V> dx[kAtOnce];
    Floats<V> dout[kAtOnce];
    Places<V> taken[kAtOnce];
    // Read all, then write: a read behind a write would wait for it.
#pragma unroll
    for (int j = 0; j < kAtOnce; ++j) {
      const bool inside = row + j * down < count;
      const int64_t from = seats[inside ? row + j * down : row].sequence * a.width + column;
      dx[j] = Floats<V>{};
      if (a.accumulate_dx && inside) dx[j] = load_stored<V>(a.dx, to + (row + j * down) * a.width, a.dx_stored);
      dout[j] = load<V>(a.dout + from);
      if (kMode == PoolMode::max) taken[j] = *reinterpret_cast<const Places<V>*>(a.argmax + from);
    }
#pragma unroll
    for (int j = 0; j < kAtOnce; ++j) {
      if (row + j * down >= count) break;
      const Seat seat = seats[row + j * down];
      const float share = kMode == PoolMode::mean ? seat.share : 1.0f;
      for (int v = 0; v < V; ++v) {
        const int32_t wanted = kMode == PoolMode::max ? taken[j].at[v] : seat.last;
        if (kMode == PoolMode::mean || seat.place == wanted) dx[j].at[v] = fmaf(dout[j].at[v], share, dx[j].at[v]);
      }
      store_stored<V>(a.dx, to + (row + j * down) * a.width, a.dx_stored, dx[j]);
    }
  }
}

template <PoolMode kMode>
void launch_backward(const PoolBackward& a, cudaStream_t stream) {
  const bool wide = is_wide(a.width, a.argmax, a.dout, a.dx);
  const int64_t pieces = wide ? a.width / 4 : a.width;
  int across = 8;
  while (across < kThreads && across < pieces) across *= 2;
  const dim3 blocks(blocks_of(a.packing.events, kThreads / across * kEventsPerThread), blocks_of(pieces, across));
  if (wide) {
    backward_kernel<kMode, 4><<<blocks, kThreads, 0, stream>>>(a, across);
  } else {
    backward_kernel<kMode, 1><<<blocks, kThreads, 0, stream>>>(a, across);
  }
}

}  // namespace

void pool_forward(const PoolForward& a, Launch& launch) {
  if (a.packing.sequences == 0 || a.width == 0) return;
  const dim3 blocks(static_cast<unsigned>(a.packing.sequences), blocks_of(a.width, kColumns));
  if (is_wide(a.width, a.x)) {
    forward_kernel<4><<<blocks, dim3(kColumns / 4, kRows), 0, launch.stream>>>(a);
  } else {
    forward_kernel<1><<<blocks, dim3(kColumns, kRows), 0, launch.stream>>>(a);
  }
}

void pool_backward(const PoolBackward& a, Launch& launch) {
  if (a.packing.events == 0 || a.width == 0) return;
  switch (a.mode) {
    case PoolMode::mean:
      return launch_backward<PoolMode::mean>(a, launch.stream);
    case PoolMode::max:
      return launch_backward<PoolMode::max>(a, launch.stream);
    case PoolMode::last:
      return launch_backward<PoolMode::last>(a, launch.stream);
  }
}

}  // namespace cuda
}  // namespace seqrisk
