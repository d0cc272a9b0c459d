// Hopper's own instructions (compute capability 9.0): the copy engine that brings tiles to shared memory and takes them
// away (TMA), barriers in shared memory that count its bytes, and products that a group of four warps issues out of
// shared memory (wgmma). Empty on other cards. A processor that runs the kernels has a header of the same name instead
// (tests/emulator).
#pragma once

#include <cuda.h>

#include "kernels/cuda/device-inl.cuh"

namespace seqrisk {
namespace cuda {

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define SEQRISK_HOPPER 1
#else
#define SEQRISK_HOPPER 0
#endif

// Kernels return where it is false.
constexpr bool kHasHopper = SEQRISK_HOPPER == 1;

__device__ inline uint32_t shared_address(const void* shared) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(shared));
}

// A barrier has phases. One ends when all arrivals that it was made for have come, and all bytes that were announced.
__device__ inline void make_barrier(uint64_t* barrier, int arrivals) {
#if SEQRISK_HOPPER
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(barrier)), "r"(arrivals) : "memory");
#endif
}
// After the barriers of a block are made: the copy engine sees them too.
__device__ inline void publish_barriers() {
#if SEQRISK_HOPPER
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
#endif
}
__device__ inline void arrive(uint64_t* barrier) {
#if SEQRISK_HOPPER
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(barrier)) : "memory");
#endif
}
__device__ inline void arrive_with_bytes(uint64_t* barrier, int bytes) {
#if SEQRISK_HOPPER
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(barrier)), "r"(bytes)
               : "memory");
#endif
}
// Until the phase of that parity has ended. The warp sleeps meanwhile, at most so long at a time: one that asks again
// and again takes turns from warps that work.
__device__ inline void wait_barrier(uint64_t* barrier, uint32_t parity) {
#if SEQRISK_HOPPER
  constexpr uint32_t kMostNanoseconds = 1000000;
  asm volatile(
      "{\n"
      ".reg .pred ended;\n"
      "again:\n"
      "mbarrier.try_wait.parity.shared::cta.b64 ended, [%0], %1, %2;\n"
      "@ended bra done;\n"
      "bra again;\n"
      "done:\n"
      "}" ::"r"(shared_address(barrier)),
      "r"(parity), "r"(kMostNanoseconds)
      : "memory");
#endif
}

// The box of the tensor map at (inner, outer), zeros where it lies outside of the matrix. The barrier counts its bytes.
__device__ inline void fetch_box(void* shared, const CUtensorMap& map, int inner, int outer, uint64_t* barrier) {
#if SEQRISK_HOPPER
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4}], [%2];" ::"r"(
          shared_address(shared)),
      "l"(&map), "r"(shared_address(barrier)), "r"(inner), "r"(outer)
      : "memory");
#endif
}

// The other way round. Threads write a box to shared memory, publish what they wrote, and meet; then one of them sends
// the box to (inner, outer) of the tensor map, but for what lies outside of the matrix.
__device__ inline void publish_box() {
#if SEQRISK_HOPPER
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
#endif
}
__device__ inline void send_box(const void* shared, const CUtensorMap& map, int inner, int outer) {
#if SEQRISK_HOPPER
  asm volatile(
      "cp.async.bulk.tensor.2d.global.shared::cta.bulk_group [%0, {%2, %3}], [%1];\n"
      "cp.async.bulk.commit_group;" ::"l"(&map),
      "r"(shared_address(shared)), "r"(inner), "r"(outer)
      : "memory");
#endif
}
// Until at most kLeft of the boxes that this thread sent are still read.
template <int kLeft>
__device__ inline void wait_boxes_read() {
#if SEQRISK_HOPPER
  asm volatile("cp.async.bulk.wait_group.read %0;" ::"n"(kLeft) : "memory");
#endif
}
// Until all of them are in memory.
__device__ inline void wait_boxes_written() {
#if SEQRISK_HOPPER
  asm volatile("cp.async.bulk.wait_group 0;" ::: "memory");
#endif
}

// Four 8 × 8 matrices of bfloat16, each lane giving the address of one row: the other way round than ldmatrix.
__device__ inline void store_matrices(uint32_t address, const uint32_t (&words)[4]) {
#if SEQRISK_HOPPER
  asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(address), "r"(words[0]),
               "r"(words[1]), "r"(words[2]), "r"(words[3])
               : "memory");
#endif
}

// Some warps of a block meet. They have a number of their own: 0 is __syncthreads().
template <int kNumber, int kThreads>
__device__ inline void meet() {
#if SEQRISK_HOPPER
  asm volatile("bar.sync %0, %1;" ::"n"(kNumber), "n"(kThreads) : "memory");
#endif
}

// Before the first product of a group: registers that were written are there.
__device__ inline void open_products() {
#if SEQRISK_HOPPER
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#endif
}
__device__ inline void close_products() {
#if SEQRISK_HOPPER
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
#endif
}
template <int kLeft>
__device__ inline void wait_products() {
#if SEQRISK_HOPPER
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kLeft) : "memory");
#endif
}

// What the program says of these registers before happens before, and what it says behind, behind: products work on
// them unseen by the compiler.
template <int kStrips, int kBlocks>
__device__ inline void hold(float (&sums)[kStrips][kBlocks][4]) {
#pragma unroll
  for (int i = 0; i < kStrips; ++i) {
#pragma unroll
    for (int j = 0; j < kBlocks; ++j) {
#pragma unroll
      for (int e = 0; e < 4; ++e) asm volatile("" : "+f"(sums[i][j][e])::"memory");
    }
  }
}

// Registers of a thread: what warps that only fetch give up, those that multiply get.
template <int kRegisters>
__device__ inline void give_registers() {
#if SEQRISK_HOPPER
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kRegisters));
#endif
}
template <int kRegisters>
__device__ inline void take_registers() {
#if SEQRISK_HOPPER
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kRegisters));
#endif
}

// sums += left · rightᵀ for 64 rows, N columns and 16 k, by four warps. sums[j][e] of a thread stands where
// mma.sync m16n8 has element e of columns 8·j …; see matrix-inl.cuh. kLeftAdjacent, kRightAdjacent: k runs along the
// lines.
#define SEQRISK_F4(j) "+f"(sums[j][0]), "+f"(sums[j][1]), "+f"(sums[j][2]), "+f"(sums[j][3])
#define SEQRISK_F16(j) SEQRISK_F4(j), SEQRISK_F4(j + 1), SEQRISK_F4(j + 2), SEQRISK_F4(j + 3)
#define SEQRISK_F64(j) SEQRISK_F16(j), SEQRISK_F16(j + 4), SEQRISK_F16(j + 8), SEQRISK_F16(j + 12)

template <bool kLeftAdjacent, bool kRightAdjacent>
__device__ inline void multiply_tile(float (&sums)[1][4], uint64_t left, uint64_t right) {
#if SEQRISK_HOPPER
  asm volatile(
      "{\n.reg .pred adds;\nsetp.ne.b32 adds, 1, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 {%0, %1, %2, %3}, %4, %5, adds, 1, 1, %6, %7;\n}"
      : SEQRISK_F4(0)
      : "l"(left), "l"(right), "n"(kLeftAdjacent ? 0 : 1), "n"(kRightAdjacent ? 0 : 1));
#endif
}

template <bool kLeftAdjacent, bool kRightAdjacent>
__device__ inline void multiply_tile(float (&sums)[16][4], uint64_t left, uint64_t right) {
#if SEQRISK_HOPPER
  asm volatile(
      "{\n.reg .pred adds;\nsetp.ne.b32 adds, 1, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {"
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
      "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
      "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
      "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63}, "
      "%64, %65, adds, 1, 1, %66, %67;\n}"
      : SEQRISK_F64(0)
      : "l"(left), "l"(right), "n"(kLeftAdjacent ? 0 : 1), "n"(kRightAdjacent ? 0 : 1));
#endif
}

template <bool kLeftAdjacent, bool kRightAdjacent>
__device__ inline void multiply_tile(float (&sums)[32][4], uint64_t left, uint64_t right) {
#if SEQRISK_HOPPER
  asm volatile(
      "{\n.reg .pred adds;\nsetp.ne.b32 adds, 1, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n256k16.f32.bf16.bf16 {"
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
      "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
      "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
      "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63, "
      "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, "
      "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95, "
      "%96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111, "
      "%112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127}, "
      "%128, %129, adds, 1, 1, %130, %131;\n}"
      : SEQRISK_F64(0), SEQRISK_F64(16)
      : "l"(left), "l"(right), "n"(kLeftAdjacent ? 0 : 1), "n"(kRightAdjacent ? 0 : 1));
#endif
}

#undef SEQRISK_F4
#undef SEQRISK_F16
#undef SEQRISK_F64

}  // namespace cuda
}  // namespace seqrisk
