// The twin of kernels/cuda/instructions-inl.cuh for a processor.
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <cstdint>

namespace seqrisk {
namespace cuda {

inline void copy_async(void* shared, const void* from, bool is_there) {
  emulator::copy_async(shared, from, 16, is_there);
}
template <class Piece>
void copy_piece_async(Piece* shared, const void* from) {
  emulator::copy_async(shared, from, sizeof(Piece), true);
}
inline void close_async_group() {
  emulator::close_async_group();
}
template <int kLeft>
void wait_async_groups() {
  emulator::wait_async_groups(kLeft);
}

// Lane l gives the address of row l mod 8 of matrix l / 8, and gets of each matrix the elements 2·(l mod 4) + 0, 1 of
// row l / 4, or of that column.
template <bool kTransposed>
void load_matrices(uint32_t (&to)[4], const void* from, emulator::Where where = emulator::Where::current()) {
  if (reinterpret_cast<uintptr_t>(from) % 16 != 0) emulator::fail("a row of a matrix that is at no boundary", where);
  struct Words {
    uint32_t at[4];
  };
  const auto words = emulator::in_warp<Words>(
      emulator::kAllLanes, static_cast<const uint16_t*>(from),
      [](auto** posts) {
        for (int l = 0; l < emulator::kLanes; ++l) {
          for (int m = 0; m < 4; ++m) {
            const auto element = [&](int row, int column) -> uint32_t { return posts[m * 8 + row]->in[column]; };
            const int line = l / 4;
            const int pair = l % 4 * 2;
            posts[l]->out.at[m] = kTransposed ? element(pair, line) | element(pair + 1, line) << 16
                                              : element(line, pair) | element(line, pair + 1) << 16;
          }
        }
      },
      where);
  for (int m = 0; m < 4; ++m) to[m] = words.at[m];
}

// Fragments as mma.sync has them: a lane's words are two elements each, of rows l / 4 and those eight below, and of k
// and those eight behind.
inline void multiply_add(float (&sums)[4], const uint32_t (&left)[4], uint32_t right0, uint32_t right1,
                         emulator::Where where = emulator::Where::current()) {
  struct Fragment {
    float sums[4];
    uint32_t left[4];
    uint32_t right[2];
  };
  struct Sums {
    float at[4];
  };
  const Fragment own{{sums[0], sums[1], sums[2], sums[3]}, {left[0], left[1], left[2], left[3]}, {right0, right1}};
  const auto result = emulator::in_warp<Sums>(
      emulator::kAllLanes, own,
      [](auto** posts) {
        const auto half = [](uint32_t word, int which) {
          return __uint_as_float(which == 0 ? word << 16 : word & 0xffff0000u);
        };
        float a[16][16];  // [k][row]
        float b[16][8];   // [k][column]
        float sum[8][16];
        for (int l = 0; l < emulator::kLanes; ++l) {
          const Fragment& in = posts[l]->in;
          for (int e = 0; e < 2; ++e) {
            for (int w = 0; w < 4; ++w) a[l % 4 * 2 + e + w / 2 * 8][l / 4 + w % 2 * 8] = half(in.left[w], e);
            for (int w = 0; w < 2; ++w) b[l % 4 * 2 + e + w * 8][l / 4] = half(in.right[w], e);
            for (int w = 0; w < 2; ++w) sum[l % 4 * 2 + e][l / 4 + w * 8] = in.sums[2 * w + e];
          }
        }
        for (int column = 0; column < 8; ++column) {
          for (int k = 0; k < 16; ++k) {
            for (int row = 0; row < 16; ++row) sum[column][row] += a[k][row] * b[k][column];
          }
        }
        for (int l = 0; l < emulator::kLanes; ++l) {
          for (int e = 0; e < 4; ++e) posts[l]->out.at[e] = sum[l % 4 * 2 + e % 2][l / 4 + e / 2 * 8];
        }
      },
      where);
  for (int e = 0; e < 4; ++e) sums[e] = result.at[e];
}

inline float fast_exp2(float x) {
  const float power = exp2f(x);
  return power < 0x1p-126f ? 0.0f : power;
}
inline float fast_reciprocal(float x) {
  return 1.0f / x;
}
inline int64_t opaque_product(int a, int b) {
  return static_cast<int64_t>(a) * b;
}
inline void make_opaque(int64_t&) {}

template <class T>
void load_pair(const T* from, bool both, bool left_alone, bool right_alone, float& left, float& right) {
  uint32_t first_bits = 0;
  uint32_t second_bits = 0;
  if (both) {
    if (reinterpret_cast<uintptr_t>(from) % (2 * sizeof(T)) != 0) {
      emulator::fail("a pair that is at no boundary", emulator::Where::current());
    }
    memcpy(&first_bits, from, sizeof(T) == 2 ? 4 : sizeof(T));
    if (sizeof(T) == 4) memcpy(&second_bits, from + 1, sizeof(T));
  }
  if (left_alone) memcpy(&first_bits, from, sizeof(T));
  if (right_alone) memcpy(&second_bits, from + 1, sizeof(T));
  left = __uint_as_float(first_bits);
  right = __uint_as_float(second_bits);
}

}  // namespace cuda
}  // namespace seqrisk
