// Walks the taps of a filter along the events of a packed batch, some events at a time (a tile), so that their sums
// stay in registers. Taps that leave an event's own sequence count as zero: such taps of a tile read zeros for the
// events that lack them, and taps that no event of the tile has are skipped. Every sum runs over ascending taps, so its
// bits depend on the event's own sequence alone; zeros change no sum but −0, which the callers' last addition
// makes +0.
#pragma once

#include <algorithm>
#include <type_traits>
#include <utility>

#include "kernels/cpu/lanes-inl.h"
#include "kernels/cpu/variant.h"
#include "ops/packing.h"

namespace seqrisk::SEQRISK_VARIANT {

// Events of a tile: two sums for each, a vector of the input and two of the filters fit into the registers, and there
// are enough independent sums (8) to hide the latency of a multiply-add.
#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_NEON
constexpr int kTileRows = 8;
#else
constexpr int kTileRows = 4;
#endif

using Floats = hn::ScalableTag<float>;
using FloatVec = hn::Vec<Floats>;
constexpr int64_t kFloatLanes = static_cast<int64_t>(hn::MaxLanes(Floats()));

// Calls f with 0 … kCount − 1 as compile-time constants: an array that a loop indexes would live in memory.
template <int kCount, class F>
HWY_INLINE void unroll(F&& f) {
  [&]<int... kIndex>(std::integer_sequence<int, kIndex...>) __attribute__((always_inline)) {
    (f(std::integral_constant<int, kIndex>()), ...);
  }(std::make_integer_sequence<int, kCount>());
}

struct Taps {
  int64_t width;
  int64_t dilation;
  int64_t origin;  // tap k of event t reads event t + dilation·(k − origin)
};

inline Taps taps_of(int64_t width, int64_t dilation, bool causal) {
  return {width, dilation, causal ? width - 1 : width / 2};
}

// The sequence around an event, for events in ascending order.
class SequenceCursor {
 public:
  SequenceCursor(const Packing& packing, int64_t t) : offsets_(packing.offsets), sequence_(sequence_of(packing, t)) {}

  HWY_INLINE void seek(int64_t t) {
    while (offsets_[sequence_ + 1] <= t) ++sequence_;
  }
  HWY_INLINE int64_t begin() const { return offsets_[sequence_]; }
  HWY_INLINE int64_t end() const { return offsets_[sequence_ + 1]; }

 private:
  const int32_t* offsets_;
  int64_t sequence_;
};

// Up to kTileRows consecutive events, and which of them has which taps.
struct Tile {
  int64_t first;
  int64_t rows;
  // Taps in [begin, end) exist for some row, those in [whole_begin, whole_end) for all kTileRows.
  int64_t begin;
  int64_t whole_begin;
  int64_t whole_end;
  int64_t end;
  uint8_t inside[256];  // rows that have tap k, as bits, for the taps that not all have
};

// kMirrored: tap k reads event t − dilation·(k − origin), as gradients flow back.
template <bool kMirrored>
HWY_INLINE void describe_tile(Tile& tile, int64_t first, int64_t rows, const Taps& taps, SequenceCursor& cursor) {
  tile.first = first;
  tile.rows = rows;
  cursor.seek(first);
  const int64_t low_reach = kMirrored ? taps.width - 1 - taps.origin : taps.origin;
  const int64_t high_reach = taps.width - 1 - low_reach;
  const int64_t last = first + kTileRows - 1;
  if (rows == kTileRows && first - low_reach * taps.dilation >= cursor.begin() &&
      last + high_reach * taps.dilation < cursor.end()) {
    tile.begin = tile.whole_begin = 0;
    tile.end = tile.whole_end = taps.width;
    return;
  }
  const auto dilation = static_cast<uint32_t>(std::min<int64_t>(taps.dilation, INT32_MAX));
  int64_t low[kTileRows];  // row j has the taps low[j] … high[j]
  int64_t high[kTileRows];
  for (int j = 0; j < kTileRows; ++j) {
    low[j] = taps.width;
    high[j] = -1;
    if (j >= rows) continue;
    const int64_t t = first + j;
    cursor.seek(t);
    const int64_t before = static_cast<uint32_t>(t - cursor.begin()) / dilation;
    const int64_t after = static_cast<uint32_t>(cursor.end() - 1 - t) / dilation;
    low[j] = std::max<int64_t>(taps.origin - (kMirrored ? after : before), 0);
    high[j] = std::min(taps.origin + (kMirrored ? before : after), taps.width - 1);
  }
  tile.begin = tile.whole_begin = low[0];
  tile.end = tile.whole_end = high[0] + 1;
  for (int j = 1; j < kTileRows; ++j) {
    tile.begin = std::min(tile.begin, low[j]);
    tile.whole_begin = std::max(tile.whole_begin, low[j]);
    tile.end = std::max(tile.end, high[j] + 1);
    tile.whole_end = std::min(tile.whole_end, high[j] + 1);
  }
  if (tile.whole_begin >= tile.whole_end) tile.whole_begin = tile.whole_end = tile.end;
  const auto mark = [&](int64_t from, int64_t to) {
    for (int64_t k = from; k < to; ++k) {
      unsigned inside = 0;
      for (int j = 0; j < kTileRows; ++j) inside |= static_cast<unsigned>(low[j] <= k && k <= high[j]) << j;
      tile.inside[k] = static_cast<uint8_t>(inside);
    }
  };
  mark(tile.begin, tile.whole_begin);
  mark(tile.whole_end, tile.end);
}

// What a row without a tap reads: zeros for up to two vectors.
alignas(64) constexpr float kZeroLanes[32] = {};

struct AllRows {
  const float* base;
  int64_t stride;
  HWY_INLINE const float* at(int64_t j) const { return base + j * stride; }
};

struct SomeRows {
  const float* base;
  int64_t stride;
  int64_t offset;  // may lie outside the batch, where no row has the tap
  unsigned inside;
  HWY_INLINE const float* at(int64_t j) const { return inside >> j & 1 ? base + (offset + j * stride) : kZeroLanes; }
};

// Neighbouring taps that are taken together where all rows have them: each row of the input is loaded once for all of
// them. Their weights, the sums and a vector of the input fill the registers.
#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_NEON
constexpr int kTapGroup = 5;
#else
constexpr int kTapGroup = 3;
#endif

// g++ would load a vector again for each of its uses.
template <class V>
HWY_INLINE V in_register(V v) {
#if HWY_TARGET == HWY_AVX3 && (defined(__GNUC__) || defined(__clang__))
  asm("" : "+v"(v.raw));
#elif HWY_TARGET == HWY_AVX2 && (defined(__GNUC__) || defined(__clang__))
  asm("" : "+x"(v.raw));
#endif
  return v;
}

// For kTaps neighbouring taps of all rows: calls load(i) for each row i that they read, counted from what the first tap
// reads for row 0, then add(tap, row, loaded) for each tap and row that read it. Every row sees its taps ascending.
template <bool kMirrored, int kTaps, class Load, class Add>
HWY_INLINE void over_tap_group(Load&& load, Add&& add) {
  constexpr int kInputs = kTileRows + kTaps - 1;
  unroll<kInputs>([&](auto step) __attribute__((always_inline)) {
    constexpr int kInput = kMirrored ? kTileRows - 1 - decltype(step)::value : decltype(step)::value;
    const auto loaded = load(std::integral_constant<int, kInput>());
    unroll<kTaps>([&](auto tap) __attribute__((always_inline)) {
      constexpr int kRow = kMirrored ? kInput + decltype(tap)::value : kInput - decltype(tap)::value;
      if constexpr (kRow >= 0 && kRow < kTileRows) add(tap, std::integral_constant<int, kRow>(), loaded);
    });
  });
}

// Walks the tile's taps, ascending: step.some(k, rows) takes tap k, which reads rows.at(j) for row j;
// step.group<n>(k, rows) takes taps k … k + n − 1 as over_tap_group() describes. `base` points to event `origin_event`,
// the next one lies `stride` floats further.
template <bool kMirrored, class Step>
HWY_INLINE void for_each_tap(const Tile& tile, const Taps& taps, const float* base, int64_t origin_event,
                             int64_t stride, Step&& step) {
  const int64_t along = (kMirrored ? -taps.dilation : taps.dilation) * stride;
  int64_t offset = (tile.first - origin_event) * stride + along * (tile.begin - taps.origin);
  int64_t k = tile.begin;
  for (; k < tile.whole_begin; ++k, offset += along) step.some(k, SomeRows{base, stride, offset, tile.inside[k]});
  if (taps.dilation == 1) {
    for (; k + kTapGroup <= tile.whole_end; k += kTapGroup, offset += kTapGroup * along) {
      step.template group<kTapGroup>(k, AllRows{base + offset, stride});
    }
  }
  for (; k < tile.whole_end; ++k, offset += along) step.template group<1>(k, AllRows{base + offset, stride});
  for (; k < tile.end; ++k, offset += along) step.some(k, SomeRows{base, stride, offset, tile.inside[k]});
}

}  // namespace seqrisk::SEQRISK_VARIANT
