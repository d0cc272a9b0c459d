// Stands in for CUDA's header: the words of device code that this project uses.
#pragma once

#include <cuda_runtime_api.h>
#include <math.h>
#include <string.h>

#include <bit>
#include <cstdint>
#include <type_traits>

#include "tests/emulator/emulator.h"

#define __CUDA_ARCH__ 900
#define __global__
#define __device__
#define __host__
#define __grid_constant__
#define __launch_bounds__(...)
#define __align__(bytes) __attribute__((aligned(bytes)))

// Of the thread that runs.
extern dim3 threadIdx;
extern dim3 blockIdx;
extern dim3 blockDim;
extern dim3 gridDim;

struct alignas(8) int2 {
  int x;
  int y;
};
struct alignas(16) uint4 {
  unsigned x;
  unsigned y;
  unsigned z;
  unsigned w;
};
struct alignas(16) float4 {
  float x;
  float y;
  float z;
  float w;
};
inline int2 make_int2(int x, int y) {
  return {x, y};
}
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) {
  return {x, y, z, w};
}

// Barriers.
inline void __syncthreads(emulator::Where where = emulator::Where::current()) {
  emulator::meet_block(nullptr, nullptr, where);
}
inline int __syncthreads_count(int wanted, emulator::Where where = emulator::Where::current()) {
  return emulator::in_block<int>(
      wanted != 0,
      [](auto** posts) {
        int count = 0;
        for (unsigned t = 0; t < emulator::threads_of_block(); ++t) count += posts[t] && posts[t]->in;
        for (unsigned t = 0; t < emulator::threads_of_block(); ++t) {
          if (posts[t]) posts[t]->out = count;
        }
      },
      where);
}
inline int __syncthreads_or(int wanted, emulator::Where where = emulator::Where::current()) {
  return __syncthreads_count(wanted, where) > 0;
}
inline void __syncwarp(unsigned mask = emulator::kAllLanes, emulator::Where where = emulator::Where::current()) {
  emulator::meet_warp(mask, nullptr, nullptr, where);
}
inline void __threadfence() {}
[[noreturn]] inline void __trap(emulator::Where where = emulator::Where::current()) {
  emulator::fail("a trap", where);
}

// Exchanges in a warp. What comes from a lane that is not there is anything: here the poison of shared memory.
namespace emulator {
template <class T>
struct Wish {
  T value;
  int lane;
};
template <class T>
T exchange(unsigned mask, T value, int lane, const Where& where) {
  return in_warp<T>(
      mask, Wish<T>{value, lane},
      [](auto** posts) {
        for (int l = 0; l < kLanes; ++l) {
          if (!posts[l]) continue;
          const auto* from = posts[posts[l]->in.lane];
          if (from) {
            posts[l]->out = from->in.value;
          } else {
            memset(&posts[l]->out, 0xff, sizeof(T));
          }
        }
      },
      where);
}
inline int lane() {
  return static_cast<int>(thread()) % kLanes;
}
}  // namespace emulator

template <class T>
T __shfl_sync(unsigned mask, T value, int lane, emulator::Where where = emulator::Where::current()) {
  return emulator::exchange(mask, value, lane & (emulator::kLanes - 1), where);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int bits, emulator::Where where = emulator::Where::current()) {
  return emulator::exchange(mask, value, emulator::lane() ^ bits, where);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned step, emulator::Where where = emulator::Where::current()) {
  const int from = emulator::lane() - static_cast<int>(step);
  return emulator::exchange(mask, value, from < 0 ? emulator::lane() : from, where);
}
template <class T>
unsigned __match_any_sync(unsigned mask, T value, emulator::Where where = emulator::Where::current()) {
  return emulator::in_warp<unsigned>(
      mask, value,
      [](auto** posts) {
        for (int l = 0; l < emulator::kLanes; ++l) {
          for (int other = 0; posts[l] && other < emulator::kLanes; ++other) {
            if (posts[other] && posts[other]->in == posts[l]->in) posts[l]->out |= 1u << other;
          }
        }
      },
      where);
}
inline unsigned __ballot_sync(unsigned mask, int wanted, emulator::Where where = emulator::Where::current()) {
  return emulator::in_warp<unsigned>(
      mask, wanted != 0,
      [](auto** posts) {
        unsigned votes = 0;
        for (int l = 0; l < emulator::kLanes; ++l) votes |= posts[l] && posts[l]->in ? 1u << l : 0;
        for (int l = 0; l < emulator::kLanes; ++l) {
          if (posts[l]) posts[l]->out = votes;
        }
      },
      where);
}
inline int __any_sync(unsigned mask, int wanted, emulator::Where where = emulator::Where::current()) {
  return __ballot_sync(mask, wanted, where) != 0;
}

// Atomics: no other thread goes on in between.
template <class T, class Change>
T change_at_once(T* at, const Change& change) {
  const T before = *at;
  *at = change(before);
  return before;
}
template <class T>
T atomicAdd(T* at, std::type_identity_t<T> more) {
  return change_at_once(at, [&](T before) { return static_cast<T>(before + more); });
}
template <class T>
T atomicMax(T* at, std::type_identity_t<T> other) {
  return change_at_once(at, [&](T before) { return before < other ? other : before; });
}
template <class T>
T atomicOr(T* at, std::type_identity_t<T> bits) {
  return change_at_once(at, [&](T before) { return before | bits; });
}
template <class T>
T atomicCAS(T* at, std::type_identity_t<T> expected, std::type_identity_t<T> wanted) {
  return change_at_once(at, [&](T before) { return before == expected ? wanted : before; });
}

// Loads that say which caches they pass.
template <class T>
T __ldg(const T* from) {
  return *from;
}
template <class T>
T __ldcg(const T* from) {
  return *from;
}

// Bits and numbers.
inline int __popc(unsigned bits) {
  return std::popcount(bits);
}
inline int __clz(int bits) {
  return std::countl_zero(static_cast<unsigned>(bits));
}
inline int __ffs(int bits) {
  return bits == 0 ? 0 : std::countr_zero(static_cast<unsigned>(bits)) + 1;
}
inline unsigned __float_as_uint(float value) {
  return std::bit_cast<unsigned>(value);
}
inline int __float_as_int(float value) {
  return std::bit_cast<int>(value);
}
inline float __uint_as_float(unsigned bits) {
  return std::bit_cast<float>(bits);
}
inline float __int_as_float(int bits) {
  return std::bit_cast<float>(bits);
}
inline long long __double_as_longlong(double value) {
  return std::bit_cast<long long>(value);
}
inline long long __float2ll_rn(float value) {
  return llrintf(value);
}
inline float __fmul_rn(float a, float b) {
  return a * b;
}
inline float __fsub_rn(float a, float b) {
  return a - b;
}
inline float __fdividef(float a, float b) {
  return a / b;
}
inline float rsqrtf(float value) {
  return 1.0f / sqrtf(value);
}
template <class T>
T min(T a, T b) {
  return b < a ? b : a;
}
template <class T>
T max(T a, T b) {
  return a < b ? b : a;
}
