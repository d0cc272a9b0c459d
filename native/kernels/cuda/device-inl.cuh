// What CUDA kernels share: sizes, wide loads of float32 and bfloat16, sums over a warp, faults.
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <cstdint>

#include "kernels/cuda/launch.h"
#include "ops/packing.h"
#include "ops/storage.h"

namespace seqrisk {
namespace cuda {

constexpr int kWarp = 32;
constexpr unsigned kAllLanes = 0xffffffffu;

__host__ __device__ constexpr int64_t ceil_div(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}

// Blocks of a grid's first axis; none of our problems has more.
inline unsigned blocks_of(int64_t items, int64_t per_block) {
  return static_cast<unsigned>(ceil_div(items, per_block));
}

// V floats that are read and written at once.
template <int V>
struct alignas(V * sizeof(float)) Floats {
  float at[V];
};

template <int V>
__device__ inline Floats<V> load(const float* from) {
  return *reinterpret_cast<const Floats<V>*>(from);
}
template <int V>
__device__ inline void store(float* to, const Floats<V>& values) {
  *reinterpret_cast<Floats<V>*>(to) = values;
}

// bfloat16 in memory, float32 in registers.
using Bfloat16 = __nv_bfloat16;
template <int V>
struct alignas(V * sizeof(Bfloat16)) Halves {
  uint32_t pairs[V / 2];  // whole registers: taking them apart would wait for them
};
template <>
struct Halves<1> {
  uint16_t only;
};
template <int V>
__device__ inline Floats<V> widen(const Floats<V>& values) {
  return values;
}
template <int V>
__device__ inline Floats<V> widen(const Halves<V>& halves) {
  Floats<V> values;
  for (int p = 0; p < V / 2; ++p) {
    values.at[2 * p] = __uint_as_float(halves.pairs[p] << 16);
    values.at[2 * p + 1] = __uint_as_float(halves.pairs[p] & 0xffff0000u);
  }
  return values;
}
__device__ inline Floats<1> widen(const Halves<1>& half) {
  return {{__uint_as_float(static_cast<uint32_t>(half.only) << 16)}};
}
template <int V>
__device__ inline Floats<V> load(const Bfloat16* from) {
  return widen(*reinterpret_cast<const Halves<V>*>(from));
}
__device__ inline uint32_t pack_bfloat16(float low, float high) {
  const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
  return *reinterpret_cast<const uint32_t*>(&pair);
}
template <int V>
__device__ inline void store(Bfloat16* to, const Floats<V>& values) {
  Halves<V> halves;
  if constexpr (V == 1) {
    halves.only = __bfloat16_as_ushort(__float2bfloat16_rn(values.at[0]));
  } else {
    for (int p = 0; p < V / 2; ++p) halves.pairs[p] = pack_bfloat16(values.at[2 * p], values.at[2 * p + 1]);
  }
  *reinterpret_cast<Halves<V>*>(to) = halves;
}

// As they are read, for what is to be on its way: widen() them where they are needed.
template <class T, int V>
struct RawOf {
  using Type = Floats<V>;
};
template <int V>
struct RawOf<Bfloat16, V> {
  using Type = Halves<V>;
};
template <class T, int V>
using Raw = typename RawOf<T, V>::Type;
template <class T, int V>
__device__ inline Raw<T, V> load_raw(const T* from) {
  return *reinterpret_cast<const Raw<T, V>*>(from);
}

// What a contract's pointer to float really points to.
template <class T>
__host__ __device__ T* stored_as(float* values) {
  return reinterpret_cast<T*>(values);
}
template <class T>
__host__ __device__ const T* stored_as(const float* values) {
  return reinterpret_cast<const T*>(values);
}

// The same where the storage is looked at for every piece: in kernels that wait for memory it costs nothing, and one
// kernel serves both.
template <int V>
__device__ inline Floats<V> load_stored(const float* values, int64_t at, Storage stored) {
  if (stored == Storage::bfloat16) return load<V>(stored_as<Bfloat16>(values) + at);
  return load<V>(values + at);
}
template <int V>
__device__ inline void store_stored(float* values, int64_t at, Storage stored, const Floats<V>& piece) {
  if (stored == Storage::bfloat16) {
    store<V>(stored_as<Bfloat16>(values) + at, piece);
  } else {
    store<V>(values + at, piece);
  }
}

// Calls f with an element's type: with_storage(a.stored, [&](auto element) { using T = Element<decltype(element)>; …
// }).
template <class T>
struct ElementOf {
  using Type = T;
};
template <class T>
using Element = typename T::Type;
template <class F>
void with_storage(Storage stored, F f) {
  stored == Storage::bfloat16 ? f(ElementOf<Bfloat16>()) : f(ElementOf<float>());
}

// Cards without bfloat16 need no code for it: kernels return where this is false.
template <class... Elements>
__device__ constexpr bool has_code() {
#if __CUDA_ARCH__ >= 800
  return true;
#else
  return !(... || (sizeof(Elements) == sizeof(Bfloat16)));
#endif
}

// Whether rows of that width from there can be read four elements at a time.
inline bool is_wide(int64_t width) {
  return width % 4 == 0;
}
template <class... More>
bool is_wide(int64_t width, const void* pointer, More... more) {
  return reinterpret_cast<uintptr_t>(pointer) % 16 == 0 && is_wide(width, more...);
}

// All lanes get the sum: pairs are added in one order, whatever the lane.
__device__ inline float warp_sum(float value) {
  for (int step = kWarp / 2; step > 0; step /= 2) value += __shfl_xor_sync(kAllLanes, value, step);
  return value;
}
__device__ inline double warp_sum(double value) {
  for (int step = kWarp / 2; step > 0; step /= 2) value += __shfl_xor_sync(kAllLanes, value, step);
  return value;
}
// NaN is passed over, as fmaxf does.
__device__ inline float warp_max(float value) {
  for (int step = kWarp / 2; step > 0; step /= 2) value = fmaxf(value, __shfl_xor_sync(kAllLanes, value, step));
  return value;
}

// The same for a whole block of threads; `shared` holds a value for each warp. Every thread gets the result.
template <class T>
__device__ inline T block_sum(T value, T* shared) {
  value = warp_sum(value);
  if (threadIdx.x % kWarp == 0) shared[threadIdx.x / kWarp] = value;
  __syncthreads();
  T sum = 0;
  for (unsigned warp = 0; warp < blockDim.x / kWarp; ++warp) sum += shared[warp];
  __syncthreads();
  return sum;
}
__device__ inline float block_max(float value, float* shared) {
  value = warp_max(value);
  if (threadIdx.x % kWarp == 0) shared[threadIdx.x / kWarp] = value;
  __syncthreads();
  float top = shared[0];
  for (unsigned warp = 1; warp < blockDim.x / kWarp; ++warp) top = fmaxf(top, shared[warp]);
  __syncthreads();
  return top;
}

// A fast division: two units in the last place at most, and 0 for what e^−z exceeds.
__device__ inline float sigmoid(float z) {
  return __fdividef(1.0f, 1.0f + expf(-z));
}

// For kernels whose blocks ask for more shared memory than they get unasked, and fill a multiprocessor with it.
template <class Kernel>
void allow_shared(Kernel kernel, size_t bytes) {
  cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes));
  cudaFuncSetAttribute(kernel, cudaFuncAttributePreferredSharedMemoryCarveout, cudaSharedmemCarveoutMaxShared);
}

// Where a kernel records values that it cannot use. The pointers are the host's: the card carries them back.
struct FaultSite {
  FaultRecord* record;
  const char* kernel;
  const char* expected;

  FaultSite(const Launch& launch, const char* what) : record(launch.faults), kernel(launch.kernel), expected(what) {}

  __device__ void report(int64_t index, int64_t value) const {
    if (atomicCAS(&record->claimed, 0, 1) != 0) return;
    record->kernel = kernel;
    record->expected = expected;
    record->index = index;
    record->value = value;
  }
};

// Calls op.run<V>(i) for elements i … i + V − 1 of `count`, four at a time where V is 4.
template <int V, class Op>
__global__ void over_elements_kernel(int64_t count, Op op) {
  const int64_t i = (static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) * V;
  if (i + V <= count) {
    op.template run<V>(i);
  } else {
    for (int64_t j = i; j < count; ++j) op.template run<1>(j);
  }
}

template <class Op>
void over_elements(int64_t count, bool wide, const Op& op, cudaStream_t stream) {
  constexpr int kThreads = 256;
  if (count == 0) return;
  if (wide) {
    over_elements_kernel<4><<<blocks_of(count, kThreads * 4), kThreads, 0, stream>>>(count, op);
  } else {
    over_elements_kernel<1><<<blocks_of(count, kThreads), kThreads, 0, stream>>>(count, op);
  }
}

// Calls op.run<V>(row, column) for V columns of a row at a time. No thread divides: rows lie along the grid.
template <int V, class Op>
__global__ void over_rows_kernel(int64_t rows, int64_t width, Op op) {
  const int64_t row = static_cast<int64_t>(blockIdx.x) * blockDim.y + threadIdx.y;
  const int64_t column = (static_cast<int64_t>(blockIdx.y) * blockDim.x + threadIdx.x) * V;
  if (row >= rows || column >= width) return;
  op.template run<V>(row, column);
}

template <class Op>
void over_rows(int64_t rows, int64_t width, bool wide, const Op& op, cudaStream_t stream) {
  constexpr unsigned kThreads = 256;
  if (rows == 0 || width == 0) return;
  const int64_t pieces = wide ? width / 4 : width;
  unsigned across = 8;
  while (across < kThreads && across < pieces) across *= 2;
  const dim3 threads(across, kThreads / across);
  const dim3 blocks(blocks_of(rows, threads.y), blocks_of(pieces, across));
  if (wide) {
    over_rows_kernel<4><<<blocks, threads, 0, stream>>>(rows, width, op);
  } else {
    over_rows_kernel<1><<<blocks, threads, 0, stream>>>(rows, width, op);
  }
}

}  // namespace cuda
}  // namespace seqrisk
