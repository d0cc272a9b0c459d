// The twin of kernels/cuda/hopper-inl.cuh for a processor.
#pragma once

#include <cuda.h>

#include "kernels/cuda/device-inl.cuh"
#include "tests/emulator/hopper.h"

namespace seqrisk {
namespace cuda {

constexpr bool kHasHopper = true;

inline uint32_t shared_address(const void* shared, emulator::Where where = emulator::Where::current()) {
  return emulator::shared_address(shared, where);
}

inline void make_barrier(uint64_t* barrier, int arrivals, emulator::Where where = emulator::Where::current()) {
  emulator::make_barrier(barrier, arrivals, where);
}
inline void publish_barriers() {
  emulator::publish_barriers();
  emulator::publish_stored();
}
inline void arrive(uint64_t* barrier, emulator::Where where = emulator::Where::current()) {
  emulator::arrive_at_barrier(barrier, 0, where);
}
inline void arrive_with_bytes(uint64_t* barrier, int bytes, emulator::Where where = emulator::Where::current()) {
  emulator::arrive_at_barrier(barrier, bytes, where);
}
inline void wait_barrier(uint64_t* barrier, uint32_t parity, emulator::Where where = emulator::Where::current()) {
  emulator::wait_for_barrier(barrier, parity, where);
}

inline void fetch_box(void* shared, const CUtensorMap& map, int inner, int outer, uint64_t* barrier,
                      emulator::Where where = emulator::Where::current()) {
  emulator::fetch_box(shared, map, inner, outer, barrier, where);
}
inline void publish_box() {
  emulator::publish_stored();
}
inline void send_box(const void* shared, const CUtensorMap& map, int inner, int outer,
                     emulator::Where where = emulator::Where::current()) {
  emulator::send_box(shared, map, inner, outer, where);
}
template <int kLeft>
void wait_boxes_read() {
  emulator::wait_for_boxes(kLeft);
}
inline void wait_boxes_written() {
  emulator::wait_for_boxes(0);
}
inline void store_matrices(uint32_t address, const uint32_t (&words)[4],
                           emulator::Where where = emulator::Where::current()) {
  emulator::store_matrices(address, words, where);
}

template <int kNumber, int kThreads>
void meet(emulator::Where where = emulator::Where::current()) {
  static_assert(0 < kNumber && kNumber < 16 && kThreads % kWarp == 0);
  emulator::meet_number(kNumber, kThreads, where);
}

inline void open_products(emulator::Where where = emulator::Where::current()) {
  emulator::open_products(where);
}
inline void close_products(emulator::Where where = emulator::Where::current()) {
  emulator::close_products(where);
}
template <int kLeft>
void wait_products(emulator::Where where = emulator::Where::current()) {
  emulator::wait_for_products(kLeft, where);
}
template <bool kLeftAdjacent, bool kRightAdjacent, int kBlocks>
void multiply_tile(float (&sums)[kBlocks][4], uint64_t left, uint64_t right,
                   emulator::Where where = emulator::Where::current()) {
  static_assert(0 < kBlocks && kBlocks <= 32);
  emulator::multiply({&sums[0][0], kBlocks * 8, left, right, kLeftAdjacent, kRightAdjacent}, where);
}
template <int kStrips, int kBlocks>
void hold(float (&)[kStrips][kBlocks][4]) {}

template <int kRegisters>
void give_registers(emulator::Where where = emulator::Where::current()) {
  static_assert(24 <= kRegisters && kRegisters <= 256 && kRegisters % 8 == 0);
  emulator::give_registers(kRegisters, where);
}
template <int kRegisters>
void take_registers(emulator::Where where = emulator::Where::current()) {
  static_assert(24 <= kRegisters && kRegisters <= 256 && kRegisters % 8 == 0);
  emulator::take_registers(kRegisters, where);
}

}  // namespace cuda
}  // namespace seqrisk
