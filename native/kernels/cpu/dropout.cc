// dropout on the CPU: a vector of Philox blocks at a time, one block per lane. Their four vectors of words,
// interleaved, are the random words of 4·lanes neighbouring elements.
#include "ops/dropout.h"

#include "kernels/cpu/elements-inl.h"

namespace seqrisk::SEQRISK_VARIANT {
namespace {

using WordVector = hn::ScalableTag<uint32_t>;

// Random words of the elements 4·n … 4·(n + lanes) − 1; n is a multiple of the lanes, so that its low word never wraps.
#if HWY_TARGET == HWY_SCALAR
HWY_INLINE void random_words(uint64_t seed, uint64_t n, uint32_t* words) {
  const PhiloxBlock block = philox4x32(seed, kDropoutStream, n);
  for (int i = 0; i < 4; ++i) words[i] = block.word[i];
}
#else
// Blocks n, n + 2, … or n + 1, n + 3, …: one per 64-bit lane, in its low half. What stands in the high half does not
// matter: multiplications ignore it.
struct HalfBlocks {
  using Words = hn::Vec<WordVector>;
  Words c0, c1, c2, c3;

  HWY_INLINE void start(uint64_t n) {
    const WordVector d;
    const hn::Repartition<uint64_t, WordVector> wide;
    c0 = hn::BitCast(d, hn::Add(hn::Set(wide, n), hn::ShiftLeft<1>(hn::Iota(wide, 0))));
    c1 = hn::Set(d, static_cast<uint32_t>(n >> 32));
    c2 = hn::Set(d, kDropoutStream);
    c3 = hn::Zero(d);
  }

  HWY_INLINE void round(Words k0, Words k1) {
    const WordVector d;
    const auto product0 = hn::MulEven(c0, hn::Set(d, kPhiloxM0));
    const auto product1 = hn::MulEven(c2, hn::Set(d, kPhiloxM1));
    c0 = hn::Xor(hn::Xor(hn::BitCast(d, hn::ShiftRight<32>(product1)), c1), k0);
    c1 = hn::BitCast(d, product1);
    c2 = hn::Xor(hn::Xor(hn::BitCast(d, hn::ShiftRight<32>(product0)), c3), k1);
    c3 = hn::BitCast(d, product0);
  }
};

HWY_INLINE hn::Vec<WordVector> join(hn::Vec<WordVector> even, hn::Vec<WordVector> odd) {
  const WordVector d;
  const hn::Repartition<uint64_t, WordVector> wide;
  return hn::OddEven(hn::BitCast(d, hn::ShiftLeft<32>(hn::BitCast(wide, odd))), even);
}

HWY_INLINE void random_words(uint64_t seed, uint64_t n, uint32_t* words) {
  const WordVector d;
  HalfBlocks even, odd;
  even.start(n);
  odd.start(n + 1);
  uint32_t k0 = static_cast<uint32_t>(seed);
  uint32_t k1 = static_cast<uint32_t>(seed >> 32);
  for (int round = 0; round < kPhiloxRounds; ++round) {
    even.round(hn::Set(d, k0), hn::Set(d, k1));
    odd.round(hn::Set(d, k0), hn::Set(d, k1));
    k0 += kPhiloxW0;
    k1 += kPhiloxW1;
  }
  hn::StoreInterleaved4(join(even.c0, odd.c0), join(even.c1, odd.c1), join(even.c2, odd.c2), join(even.c3, odd.c3), d,
                        words);
}
#endif

}  // namespace

void dropout_forward(const DropoutForward& a, Workers& workers) {
  const float scale = 1.0f / (1.0f - a.rate);
  const uint32_t threshold = static_cast<uint32_t>(static_cast<double>(a.rate) * 4294967296.0);
  const auto apply = [&](auto d, int64_t i, const uint32_t* words) {
    const hn::RebindToUnsigned<decltype(d)> du;
    const auto dropped = hn::RebindMask(d, hn::Lt(hn::LoadU(du, words), hn::Set(du, threshold)));
    auto value = hn::IfThenZeroElse(dropped, hn::Mul(hn::LoadU(d, a.x + i), hn::Set(d, scale)));
    if (a.accumulate) value = hn::Add(hn::LoadU(d, a.out + i), value);
    hn::StoreU(value, d, a.out + i);
  };
  workers.run((a.count + kElementsPerTask - 1) / kElementsPerTask, [&](int64_t task, int) {
    const WholeVector d;
    const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
    HWY_ALIGN uint32_t words[4 * hn::MaxLanes(WordVector())];
    const int64_t last = (task + 1) * kElementsPerTask;
    const int64_t end = last < a.count ? last : a.count;
    for (int64_t i = task * kElementsPerTask; i < end;) {
      const uint64_t element = a.offset + static_cast<uint64_t>(i);
      const int64_t skip = static_cast<int64_t>(element % static_cast<uint64_t>(4 * lanes));
      random_words(a.seed, (element - static_cast<uint64_t>(skip)) / 4, words);
      if (skip == 0 && i + 4 * lanes <= end) {
        for (int v = 0; v < 4; ++v) apply(d, i + v * lanes, words + v * lanes);
        i += 4 * lanes;
      } else {
        for (int64_t j = skip; j < 4 * lanes && i < end; ++j, ++i) apply(OneLane(), i, words + j);
      }
    }
  });
}

}  // namespace seqrisk::SEQRISK_VARIANT
