// Sums of rows that meet in places: places[row] += Σ of the terms whose place it is. Terms are sorted by their place,
// so that each is read once and nobody waits for another one's sum. The order of additions follows from the places
// alone.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/cuda/launch.h"

namespace seqrisk {
namespace cuda {

struct SortedSums {
  const int32_t* place;  // (count), of each term
  int64_t count;         // below 2^31
  int64_t places;        // rows of `to`; below 2^31 − 1
  int64_t otherwise;     // what a place outside of [0, places) stands for; `places` leaves its terms out
  const float* from;     // (count, stride)
  int64_t stride;
  float* to;  // (places, width)
  int64_t width;
  bool adds;  // to what stands in `to`; else rows that have terms are assigned
};

// Bytes of memory that the sums take, which starts at a multiple of 16.
size_t sorted_sums_bytes(int64_t count, int64_t width);
void add_sorted_sums(const SortedSums& sums, void* memory, Launch& launch);

}  // namespace cuda
}  // namespace seqrisk
