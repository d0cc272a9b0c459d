// Tiles in shared memory as Hopper's instructions want them, and rings of them.
#pragma once

#include "kernels/cuda/hopper-inl.cuh"

namespace seqrisk {
namespace cuda {

// A tile in shared memory: lines of 64 elements of bfloat16, which are next to each other in memory, one line every 128
// bytes. Pieces of 16 bytes change places inside eight lines, so that none of them waits for another one's bank.
constexpr int kLineElements = 64;
constexpr int kLineBytes = 128;
constexpr int kSwizzleBytes = 1024;  // where tiles start

// Of a ring of places in shared memory: which comes next, and the parity of its phase.
struct RingPosition {
  int places;
  int place = 0;
  uint32_t parity = 0;

  __device__ void advance() {
    if (++place < places) return;
    place = 0;
    parity ^= 1;
  }
};

// How a product reads an operand: from the address on, in lines. Where k runs along the lines, eight of them are 1024
// bytes. Where rows do, 64 rows have a line for each k, and `next_rows` bytes lie between them and the next 64.
__device__ inline uint64_t describe_operand(const void* shared, int next_rows) {
  constexpr uint64_t kSwizzle128 = uint64_t{1} << 62;
  const auto in_pieces = [](uint32_t bytes) { return static_cast<uint64_t>((bytes & 0x3ffff) >> 4); };
  return in_pieces(shared_address(shared)) | in_pieces(static_cast<uint32_t>(next_rows)) << 16 |
         in_pieces(kSwizzleBytes) << 32 | kSwizzle128;
}
// The same `bytes` further on.
__device__ inline uint64_t moved(uint64_t operand, int bytes) {
  return operand + static_cast<uint64_t>(bytes >> 4);
}

}  // namespace cuda
}  // namespace seqrisk
