// machine: what this machine can do at most, for benches: multiply-adds in registers, and copying memory.
#pragma once

#include <cstddef>
#include <cstdint>

namespace seqrisk {

constexpr int64_t kMachineFloatsMax = 16;  // floats of the widest vector

// Multiply-adds without memory. Operations: 2 · tasks · rounds · multiply_adds.
struct MachinePeak {
  float* sums;           // (tasks · kMachineFloatsMax) written so that the work cannot be left out
  float* multiply_adds;  // (1) receives how many one round of a task does
  int64_t tasks;
  int64_t rounds;
};

// Additions of 64-bit integers to places in L1 that no one foresees, as a histogram makes them: eight tables of
// kMachineCells in turn. Operations: tasks · rounds · kMachineIndices.
struct MachineUpdate {
  int32_t* sums;  // (tasks) written so that the work cannot be left out
  int64_t tasks;
  int64_t rounds;
};

constexpr int64_t kMachineCells = 256;
constexpr int64_t kMachineIndices = 4096;

// out = x. Bytes: 2·count·4.
struct MachineCopy {
  const float* x;  // (count)
  float* out;      // (count)
  int64_t count;
};

}  // namespace seqrisk
