// gbrt_bin on the CPU: a tile of values of one column at a time, eight steps of bisection for a vector of values at
// once.
#include "ops/gbrt_bin.h"

#include "kernels/cpu/variant.h"
#include "ops/workers.h"

namespace seqrisk::SEQRISK_VARIANT {
namespace {

constexpr int64_t kTile = 512;

// Of each value, the number of bounds below it.
template <class T, class TI>
void bisect(const T* HWY_RESTRICT values, const T* HWY_RESTRICT bounds, TI* HWY_RESTRICT out) {
  const hn::ScalableTag<T> d;
  const hn::RebindToSigned<decltype(d)> di;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t i = 0; i < kTile; i += lanes) {
    const auto value = hn::Load(d, values + i);
    auto at = hn::Zero(di);
    for (TI step = kGbrtBounds / 2; step > 0; step /= 2) {
      const auto bound = hn::GatherIndex(d, bounds + step - 1, at);
      const auto below = hn::RebindMask(di, hn::Lt(bound, value));
      at = hn::Add(at, hn::IfThenElseZero(below, hn::Set(di, step)));
    }
    hn::Store(at, di, out + i);
  }
}

template <class T, class TI>
void bin_tile(const GbrtBinColumn& column, int64_t row, int64_t count) {
  HWY_ALIGN T values[kTile];
  HWY_ALIGN TI at[kTile];
  uint8_t* out = column.out + row * column.out_stride;
  const T* from = static_cast<const T*>(column.values) + row * column.stride;
  for (int64_t i = 0; i < kTile; ++i) values[i] = i < count ? from[i * column.stride] : T{0};
  if (column.bin_of) {
    // Categories are whole numbers from 0; −1 is in no table.
    for (int64_t i = 0; i < kTile; ++i) {
      const bool is_category = values[i] >= 0 && values[i] < T{2147483648.0};
      values[i] = is_category ? static_cast<T>(static_cast<int64_t>(values[i])) : T{-1};
    }
  }
  const T* bounds = static_cast<const T*>(column.bounds);
  bisect<T, TI>(values, bounds, at);
  for (int64_t i = 0; i < count; ++i) {
    const T value = values[i];
    int64_t bin = at[i];
    if (column.bin_of) {
      bin = value == bounds[bin] ? column.bin_of[bin] : 0;
    } else {
      bin = value != value ? column.nan : bin < column.last ? bin : column.last;
    }
    out[i * column.out_stride] = static_cast<uint8_t>(bin);
  }
}

}  // namespace

void gbrt_bin(const GbrtBin& a, Workers& workers) {
  workers.run((a.rows + kTile - 1) / kTile, [&](int64_t tile, int) {
    const int64_t row = tile * kTile;
    const int64_t count = a.rows - row < kTile ? a.rows - row : kTile;
    for (int64_t f = 0; f < a.features; ++f) {
      if (a.columns[f].is_double) {
        bin_tile<double, int64_t>(a.columns[f], row, count);
      } else {
        bin_tile<float, int32_t>(a.columns[f], row, count);
      }
    }
  });
}

}  // namespace seqrisk::SEQRISK_VARIANT
