// What cards of compute capability 9.0 have besides: barriers in shared memory, a copy engine, and products of four
// warps. The engine and the products work while threads go on. The seed says when: at once, or as late as can be.
// That is, a box lands when no thread can go on without one, and a box that leaves, or an operand, is read when a
// thread waits for that. Registers that a product works on are poison until then.
#pragma once

#include <cuda.h>

#include "tests/emulator/emulator.h"

namespace emulator {

// Barriers. A phase ends when all arrivals and all bytes have come.
void make_barrier(const void* barrier, int arrivals, const Where& where);
// The engine sees the barriers that the thread made.
void publish_barriers();
void arrive_at_barrier(const void* barrier, int64_t bytes, const Where& where);
void wait_for_barrier(const void* barrier, uint32_t parity, const Where& where);

// Boxes come from memory, and go there. The engine sees what the thread stored in shared memory once it is published.
void fetch_box(void* shared, const CUtensorMap& map, int inner, int outer, const void* barrier, const Where& where);
void send_box(const void* shared, const CUtensorMap& map, int inner, int outer, const Where& where);
void wait_for_boxes(size_t left);
void store_matrices(uint32_t address, const uint32_t (&words)[4], const Where& where);
void publish_stored();

// Some threads of the block meet.
void meet_number(int number, unsigned threads, const Where& where);

// Of the thread's warp, until it has `count` for each thread: more have to be there.
void give_registers(int count, const Where& where);
void take_registers(int count, const Where& where);

// sums += left · rightᵀ for 64 rows, of which a warp has 16, and `columns` columns.
struct Product {
  float* sums;  // the thread's: four for eight columns
  int columns;
  uint64_t left;
  uint64_t right;
  bool left_adjacent;
  bool right_adjacent;
};
void open_products(const Where& where);
void multiply(const Product& product, const Where& where);
void close_products(const Where& where);
void wait_for_products(size_t left, const Where& where);

// For the emulator. All is new in a block.
void start_hopper();
// Lets a box land that was fetched; false where none is on its way.
bool land_box();
// What the thread may not leave behind, or null.
const char* unfinished();
// What is wrong at the end of a block, or null.
const char* wrong_at_end();

}  // namespace emulator
