// Random numbers for learners, from Philox.
#pragma once

#include <cmath>
#include <cstdint>

#include "ops/philox.h"

namespace seqrisk {

// The numbers of one thing of a stream, such as a tree, in order.
class Draws {
 public:
  Draws(uint64_t seed, uint32_t stream, int64_t thing)
      : seed_(seed), counter_{{0, static_cast<uint32_t>(thing), stream, 0}} {}

  // In [0, 1), of 53 bits.
  double uniform() {
    if (at_ == 4) {
      block_ = philox4x32(counter_, seed_);
      ++counter_.word[0];
      at_ = 0;
    }
    const uint64_t high = block_.word[at_];
    const uint64_t low = block_.word[at_ + 1];
    at_ += 2;
    return static_cast<double>((high << 32 | low) >> 11) * 0x1p-53;
  }
  int64_t below(int64_t count) { return static_cast<int64_t>(uniform() * static_cast<double>(count)); }
  double normal() {
    // Box & Muller 1958
    const double radius = std::sqrt(-2 * std::log(1 - uniform()));
    return radius * std::cos(6.283185307179586 * uniform());
  }

 private:
  uint64_t seed_;
  PhiloxBlock counter_;
  PhiloxBlock block_{};
  int at_ = 4;
};

}  // namespace seqrisk
