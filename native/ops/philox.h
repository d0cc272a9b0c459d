// Philox4x32-10, a counter-based generator (Salmon et al. 2011): block n of a key is a pure function of (key, n). The
// key is the seed, low word first; the counter is (n low, n high, stream, 0). lib/util/philox.ts is its twin.
#pragma once

#include <cstdint>

namespace seqrisk {

constexpr uint32_t kPhiloxM0 = 0xd2511f53;
constexpr uint32_t kPhiloxM1 = 0xcd9e8d57;
constexpr uint32_t kPhiloxW0 = 0x9e3779b9;
constexpr uint32_t kPhiloxW1 = 0xbb67ae85;
constexpr int kPhiloxRounds = 10;

struct PhiloxBlock {
  uint32_t word[4];
};

// static: kernels compile this header once per instruction set, and the linker must not share the copies.
static constexpr PhiloxBlock philox4x32(PhiloxBlock counter, uint64_t seed) {
  uint32_t k0 = static_cast<uint32_t>(seed);
  uint32_t k1 = static_cast<uint32_t>(seed >> 32);
  for (int round = 0; round < kPhiloxRounds; ++round) {
    const uint64_t product0 = static_cast<uint64_t>(kPhiloxM0) * counter.word[0];
    const uint64_t product1 = static_cast<uint64_t>(kPhiloxM1) * counter.word[2];
    counter = {{static_cast<uint32_t>(product1 >> 32) ^ counter.word[1] ^ k0, static_cast<uint32_t>(product1),
                static_cast<uint32_t>(product0 >> 32) ^ counter.word[3] ^ k1, static_cast<uint32_t>(product0)}};
    k0 += kPhiloxW0;
    k1 += kPhiloxW1;
  }
  return counter;
}

static constexpr PhiloxBlock philox4x32(uint64_t seed, uint32_t stream, uint64_t n) {
  return philox4x32({{static_cast<uint32_t>(n), static_cast<uint32_t>(n >> 32), stream, 0}}, seed);
}

// Known answers of Random123 (kat_vectors, philox4x32 10).
static_assert(philox4x32(0, 0, 0).word[0] == 0x6627e8d5 && philox4x32(0, 0, 0).word[3] == 0x9b00dbd8);
static_assert(philox4x32({{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}}, 0x299f31d0a4093822).word[1] == 0x94fdcceb);

}  // namespace seqrisk
