// Random numbers for learners, from Philox: the same bits on every processor and card.
#pragma once

#include <cmath>
#include <cstdint>

#include "ops/both.h"
#include "ops/philox.h"
#include "ops/same_math.h"

namespace seqrisk {
namespace {  // a copy for every source, as in both.h

// The numbers of one thing of a stream, such as a tree, in order.
class Draws {
 public:
  SEQRISK_BOTH_MEMBER Draws(uint64_t seed, uint32_t stream, int64_t thing)
      : seed_(seed), counter_{{0, static_cast<uint32_t>(thing), stream, 0}} {}

  // In [0, 1), of 53 bits.
  SEQRISK_BOTH_MEMBER double uniform() {
    if (at_ == 4) {
      block_ = philox4x32(counter_, seed_);
      ++counter_.word[0];
      at_ = 0;
    }
    // By name: an index known at run time alone would keep the block out of a card's registers.
    const uint64_t high = at_ == 0 ? block_.word[0] : block_.word[2];
    const uint64_t low = at_ == 0 ? block_.word[1] : block_.word[3];
    at_ += 2;
    return static_cast<double>((high << 32 | low) >> 11) * 0x1p-53;
  }
  SEQRISK_BOTH_MEMBER int64_t below(int64_t count) {
    return static_cast<int64_t>(uniform() * static_cast<double>(count));
  }
  // Marsaglia & Bray 1964: no sine, whose bits are the library's.
  SEQRISK_BOTH_MEMBER double normal() {
    double x, square;
    do {
      x = 2 * uniform() - 1;
      const double y = 2 * uniform() - 1;
      square = x * x + y * y;
    } while (square >= 1 || square == 0);
    return x * sqrt(-2 * same_log(square) / square);
  }

 private:
  uint64_t seed_;
  PhiloxBlock counter_;
  PhiloxBlock block_{};
  int at_ = 4;
};

}  // namespace
}  // namespace seqrisk
