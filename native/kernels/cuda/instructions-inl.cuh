// Instructions that C++ has no words for, by name: everything in PTX but Hopper's (hopper-inl.cuh). A processor that
// runs the kernels has a header of the same name instead (tests/emulator).
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace seqrisk {
namespace cuda {

// Copies 16 bytes from memory to shared memory, or zeros, while the thread goes on. Copies are counted in groups.
__device__ inline void copy_async(void* shared, const void* from, bool is_there) {
#if __CUDA_ARCH__ >= 800
  const unsigned address = static_cast<unsigned>(__cvta_generic_to_shared(shared));
  asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;" ::"r"(address), "l"(from),
               "r"(is_there ? 16 : 0)
               : "memory");
#endif
}
// A piece of 4, 8 or 16 bytes; cards without such copies wait for it.
template <class Piece>
__device__ inline void copy_piece_async(Piece* shared, const void* from) {
#if __CUDA_ARCH__ >= 800
  const unsigned address = static_cast<unsigned>(__cvta_generic_to_shared(shared));
  asm volatile("cp.async.ca.shared.global [%0], [%1], %2;" ::"r"(address), "l"(from), "n"(sizeof(*shared)) : "memory");
#else
  *shared = *static_cast<const Piece*>(from);
#endif
}
__device__ inline void close_async_group() {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}
// Until at most kLeft of the thread's own groups are on their way.
template <int kLeft>
__device__ inline void wait_async_groups() {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.wait_group %0;" ::"n"(kLeft) : "memory");
#endif
}

// Four 8 × 8 matrices of 16-bit elements, each lane giving the address of one row; transposed where k runs down the
// rows.
template <bool kTransposed>
__device__ inline void load_matrices(uint32_t (&to)[4], const void* from) {
#if __CUDA_ARCH__ >= 800
  const unsigned address = static_cast<unsigned>(__cvta_generic_to_shared(from));
  if constexpr (kTransposed) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(address)
                 : "memory");
  } else {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(address)
                 : "memory");
  }
#endif
}

// The product of a 16 × 16 and a 16 × 8 matrix of bfloat16, added to float32.
__device__ inline void multiply_add(float (&sums)[4], const uint32_t (&left)[4], uint32_t right0, uint32_t right1) {
#if __CUDA_ARCH__ >= 800
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
      : "r"(left[0]), "r"(left[1]), "r"(left[2]), "r"(left[3]), "r"(right0), "r"(right1));
#endif
}

// Within 2 units in the last place and 1; what is below float32's normal numbers is 0.
__device__ inline float fast_exp2(float x) {
  float power;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(power) : "f"(x));
  return power;
}
__device__ inline float fast_reciprocal(float x) {
  float reciprocal;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(reciprocal) : "f"(x));
  return reciprocal;
}

// A product that the compiler cannot look into.
__device__ inline int64_t opaque_product(int a, int b) {
  int64_t product;
  asm("mul.wide.s32 %0, %1, %2;" : "=l"(product) : "r"(a), "r"(b));
  return product;
}
// A value that the compiler finds here, and not where it could have known it before.
__device__ inline void make_opaque(int64_t& value) {
  asm volatile("" : "+l"(value));
}

// Two neighbours as they are in memory, those of which are asked for, and zeros. Predicates and no branches: registers
// that products are summed in may come from one place alone. float32 is two numbers, bfloat16 two halves of one
// register or, one by one, of two.
#define SEQRISK_LOAD_PAIR(pair, one, second)                                   \
  asm volatile(                                                                \
      "{\n"                                                                    \
      ".reg .pred both, left, right;\n"                                        \
      "setp.ne.b32 both, %3, 0;\n"                                             \
      "setp.ne.b32 left, %4, 0;\n"                                             \
      "setp.ne.b32 right, %5, 0;\n"                                            \
      "mov.b32 %0, 0;\n"                                                       \
      "mov.b32 %1, 0;\n"                                                       \
      "@both ld.global." pair                                                  \
      ", [%2];\n"                                                              \
      "@left ld.global." one                                                   \
      " %0, [%2];\n"                                                           \
      "@right ld.global." one " %1, [%2 + " second                             \
      "];\n"                                                                   \
      "}"                                                                      \
      : "=&r"(first_bits), "=&r"(second_bits)                                  \
      : "l"(from), "r"(int{both}), "r"(int{left_alone}), "r"(int{right_alone}) \
      : "memory")
template <class T>
__device__ inline void load_pair(const T* from, bool both, bool left_alone, bool right_alone, float& left,
                                 float& right) {
  uint32_t first_bits;
  uint32_t second_bits;
  if constexpr (sizeof(T) == 2) {
    SEQRISK_LOAD_PAIR("b32 %0", "u16", "2");
  } else {
    SEQRISK_LOAD_PAIR("v2.b32 {%0, %1}", "b32", "4");
  }
  left = __uint_as_float(first_bits);
  right = __uint_as_float(second_bits);
}
#undef SEQRISK_LOAD_PAIR

}  // namespace cuda
}  // namespace seqrisk
