// gated_dwconv on the CPU: one pass over memory each way; see taps-inl.h for how a tile of events is summed.
#include "ops/gated_dwconv.h"

#include <algorithm>
#include <cstring>

#include "kernels/cpu/ahead-inl.h"
#include "kernels/cpu/math-inl.h"
#include "kernels/cpu/taps-inl.h"
#include "kernels/cpu/variant.h"
#include "ops/workers.h"

namespace seqrisk::SEQRISK_VARIANT {
namespace {

constexpr int64_t kMaxEventsPerTask = 256;
constexpr int64_t kMinEventsPerTask = 32;
constexpr int64_t kTasks = 64;  // that smaller batches are cut into
constexpr int64_t kVectorsPerPackingTask = 4096;

// Filters as the tiles read them: per block of kFloatLanes channels the two biases, then per tap the two weights. The
// partial sums of their gradients have the same layout.
int64_t filter_block(int64_t width) {
  return 2 * (width + 1) * kFloatLanes;
}
int64_t blocks_of(int64_t channels) {
  return (channels + kFloatLanes - 1) / kFloatLanes;
}

// Without a gate it is packed as one that is always open: its sigmoid is exactly 1 there.
constexpr float kOpenGate = 100.0f;

template <class Arguments>
void pack_filters(const Arguments& a, Workers& workers) {
  const Floats d;
  const int64_t blocks = blocks_of(a.channels);
  const int64_t per_task = kVectorsPerPackingTask / (2 * (a.width + 1));
  workers.run((blocks + per_task - 1) / per_task, [&](int64_t task, int) {
    const int64_t end = std::min((task + 1) * per_task, blocks);
    for (int64_t block = task * per_task; block < end; ++block) {
      const int64_t c = block * kFloatLanes;
      const int64_t count = std::min(kFloatLanes, a.channels - c);
      float* to = a.scratch + block * filter_block(a.width);
      hn::Store(load_first(d, a.bias + c, count), d, to);
      const FloatVec gate_bias = a.gate_bias ? load_first(d, a.gate_bias + c, count) : hn::Set(d, kOpenGate);
      hn::Store(gate_bias, d, to + kFloatLanes);
      for (int64_t k = 0; k < a.width; ++k) {
        to += 2 * kFloatLanes;
        hn::Store(load_first(d, a.weight + k * a.channels + c, count), d, to);
        const FloatVec gate_weight =
            a.gate_weight ? load_first(d, a.gate_weight + k * a.channels + c, count) : hn::Zero(d);
        hn::Store(gate_weight, d, to + kFloatLanes);
      }
    }
  });
}

// One vector's width of channels, from channel `first` on. kWhole: none of its lanes lies beyond the last channel.
template <bool kWhole>
struct Lanes {
  int64_t first;
  int64_t count;

  HWY_INLINE FloatVec load(const float* from) const {
    const Floats d;
    if constexpr (kWhole) {
      return hn::LoadU(d, from);
    } else {
      return load_first(d, from, count);
    }
  }
  HWY_INLINE void store(FloatVec v, float* to) const {
    const Floats d;
    if constexpr (kWhole) {
      hn::StoreU(v, d, to);
    } else {
      store_first(v, d, to, count);
    }
  }
};

// Calls f(block, lanes) for the blocks of channels in [begin, end).
template <class F>
HWY_INLINE void for_each_block(int64_t channels, int64_t begin, int64_t end, F&& f) {
  const int64_t whole = std::min(end, channels / kFloatLanes);
  for (int64_t block = begin; block < whole; ++block) f(block, Lanes<true>{block * kFloatLanes, kFloatLanes});
  if (whole < end) f(whole, Lanes<false>{whole * kFloatLanes, channels - whole * kFloatLanes});
}

// The two factors of the output at the rows of a tile, or their gradients.
struct Factors {
  FloatVec value[kTileRows];
  FloatVec gate[kTileRows];  // before the sigmoid
};

// Both weights of taps k … k + kTaps − 1; `filter` starts with tap 0.
template <int kTaps>
struct TapWeights {
  FloatVec value[kTaps];
  FloatVec gate[kTaps];

  HWY_INLINE TapWeights(const float* filter, int64_t k) {
    const Floats d;
    unroll<kTaps>([&](auto tap) __attribute__((always_inline)) {
      value[tap] = in_register(hn::Load(d, filter + (k + tap) * 2 * kFloatLanes));
      gate[tap] = in_register(hn::Load(d, filter + (k + tap) * 2 * kFloatLanes + kFloatLanes));
    });
  }

  HWY_INLINE void store(float* filter, int64_t k) const {
    const Floats d;
    unroll<kTaps>([&](auto tap) __attribute__((always_inline)) {
      hn::Store(value[tap], d, filter + (k + tap) * 2 * kFloatLanes);
      hn::Store(gate[tap], d, filter + (k + tap) * 2 * kFloatLanes + kFloatLanes);
    });
  }
};

template <bool kWhole>
struct SumFactors {
  Factors& sums;
  const float* filter;  // of tap 0
  const Lanes<kWhole>& lanes;

  HWY_INLINE void some(int64_t k, const SomeRows& rows) const {
    const TapWeights<1> weights(filter, k);
    unroll<kTileRows>([&](auto j) __attribute__((always_inline)) { add(weights, 0, j, lanes.load(rows.at(j))); });
  }

  template <int kTaps>
  HWY_INLINE void group(int64_t k, const AllRows& rows) const {
    const TapWeights<kTaps> weights(filter, k);
    over_tap_group<false, kTaps>(
        [&](auto i) __attribute__((always_inline)) { return in_register(lanes.load(rows.at(i))); },
        [&](auto tap, auto j, FloatVec x) __attribute__((always_inline)) { add(weights, tap, j, x); });
  }

  template <class Weights>
  HWY_INLINE void add(const Weights& weights, int tap, int j, FloatVec x) const {
    sums.value[j] = hn::MulAdd(weights.value[tap], x, sums.value[j]);
    sums.gate[j] = hn::MulAdd(weights.gate[tap], x, sums.gate[j]);
  }
};

template <bool kWhole, class Arguments>
HWY_INLINE void sum_factors(const Arguments& a, const Tile& tile, const Taps& taps, int64_t block,
                            const Lanes<kWhole>& lanes, Factors& sums) {
  const Floats d;
  const float* filter = a.scratch + block * filter_block(a.width);
  const FloatVec bias = hn::Load(d, filter);
  const FloatVec gate_bias = hn::Load(d, filter + kFloatLanes);
  unroll<kTileRows>([&](auto j) {
    sums.value[j] = bias;
    sums.gate[j] = gate_bias;
  });
  for_each_tap<false>(tile, taps, a.x + lanes.first, 0, a.channels,
                      SumFactors<kWhole>{sums, filter + 2 * kFloatLanes, lanes});
}

template <bool kWhole>
void forward_tile(const GatedDwconvForward& a, const Tile& tile, const Taps& taps, int64_t block,
                  const Lanes<kWhole>& lanes, bool streamed) {
  const Floats d;
  Factors sums;
  sum_factors(a, tile, taps, block, lanes, sums);
  float* out = a.out + tile.first * a.channels + lanes.first;
  unroll<kTileRows>([&](auto j) __attribute__((always_inline)) {
    // −0 becomes +0, whichever zeros the tile added.
    const FloatVec product = hn::MulAdd(sums.value[j], sigmoid(sums.gate[j]), hn::Zero(d));
    if (j >= tile.rows) return;
    if (kWhole && streamed) {
      hn::Stream(product, d, out + j * a.channels);
    } else {
      lanes.store(product, out + j * a.channels);
    }
  });
}

// Gradients of the factors as the backward keeps them: per event a vector for the value, then one for the gate.
constexpr int64_t kFactorStride = 2 * kFloatLanes;

template <bool kWhole>
struct SumFilterGradients {
  const Factors& gradients;
  float* partial;  // of tap 0
  const Lanes<kWhole>& lanes;

  HWY_INLINE void some(int64_t k, const SomeRows& rows) const {
    TapWeights<1> sums(partial, k);
    unroll<kTileRows>([&](auto j) __attribute__((always_inline)) { add(sums, 0, j, lanes.load(rows.at(j))); });
    sums.store(partial, k);
  }

  template <int kTaps>
  HWY_INLINE void group(int64_t k, const AllRows& rows) const {
    TapWeights<kTaps> sums(partial, k);
    over_tap_group<false, kTaps>(
        [&](auto i) __attribute__((always_inline)) { return in_register(lanes.load(rows.at(i))); },
        [&](auto tap, auto j, FloatVec x) __attribute__((always_inline)) { add(sums, tap, j, x); });
    sums.store(partial, k);
  }

  template <class Sums>
  HWY_INLINE void add(Sums& sums, int tap, int j, FloatVec x) const {
    sums.value[tap] = hn::MulAdd(gradients.value[j], x, sums.value[tap]);
    sums.gate[tap] = hn::MulAdd(gradients.gate[j], x, sums.gate[tap]);
  }
};

// Gradients of the factors at the tile's rows, from x and dout: into `factors`, and, when `partial` is given, what they
// add to the gradients of the filters.
template <bool kWhole>
void factor_tile(const GatedDwconvBackward& a, const Tile& tile, const Taps& taps, int64_t block,
                 const Lanes<kWhole>& lanes, float* factors, float* partial) {
  const Floats d;
  Factors sums;
  sum_factors(a, tile, taps, block, lanes, sums);
  const float* dout = a.dout + tile.first * a.channels + lanes.first;
  unroll<kTileRows>([&](auto j) {
    // Rows beyond the tile get a gradient of zero.
    const FloatVec gradient = lanes.load(j < tile.rows ? dout + j * a.channels : kZeroLanes);
    const FloatVec gate = sigmoid(sums.gate[j]);
    const FloatVec dvalue = hn::Mul(gradient, gate);
    sums.gate[j] = hn::Mul(hn::Mul(dvalue, sums.value[j]), hn::Sub(hn::Set(d, 1.0f), gate));
    sums.value[j] = dvalue;
    if (j < tile.rows) {
      hn::Store(sums.value[j], d, factors + j * kFactorStride);
      hn::Store(sums.gate[j], d, factors + j * kFactorStride + kFloatLanes);
    }
  });
  if (!partial) return;
  FloatVec dbias = hn::Load(d, partial);
  FloatVec dgate_bias = hn::Load(d, partial + kFloatLanes);
  unroll<kTileRows>([&](auto j) {
    dbias = hn::Add(dbias, sums.value[j]);
    dgate_bias = hn::Add(dgate_bias, sums.gate[j]);
  });
  hn::Store(dbias, d, partial);
  hn::Store(dgate_bias, d, partial + kFloatLanes);
  for_each_tap<false>(tile, taps, a.x + lanes.first, 0, a.channels,
                      SumFilterGradients<kWhole>{sums, partial + 2 * kFloatLanes, lanes});
}

struct SumInputGradients {
  FloatVec (&sums)[kTileRows];
  const float* filter;  // of tap 0

  struct Gradients {
    FloatVec value;
    FloatVec gate;
  };

  HWY_INLINE void some(int64_t k, const SomeRows& rows) const {
    const TapWeights<1> weights(filter, k);
    unroll<kTileRows>([&](auto j) __attribute__((always_inline)) { add(weights, 0, j, load(rows.at(j))); });
  }

  template <int kTaps>
  HWY_INLINE void group(int64_t k, const AllRows& rows) const {
    const TapWeights<kTaps> weights(filter, k);
    over_tap_group<true, kTaps>([&](auto i) __attribute__((always_inline)) { return load(rows.at(i)); },
                                [&](auto tap, auto j, const Gradients& g)
                                    __attribute__((always_inline)) { add(weights, tap, j, g); });
  }

  HWY_INLINE static Gradients load(const float* factors) {
    const Floats d;
    return {in_register(hn::Load(d, factors)), in_register(hn::Load(d, factors + kFloatLanes))};
  }

  template <class Weights>
  HWY_INLINE void add(const Weights& weights, int tap, int j, const Gradients& g) const {
    sums[j] = hn::MulAdd(weights.value[tap], g.value, sums[j]);
    sums[j] = hn::MulAdd(weights.gate[tap], g.gate, sums[j]);
  }
};

// dx at the rows of a (mirrored) tile; `factors` holds the events from `first_event` on.
template <bool kWhole>
void input_tile(const GatedDwconvBackward& a, const Tile& tile, const Taps& taps, int64_t block,
                const Lanes<kWhole>& lanes, const float* factors, int64_t first_event, bool streamed) {
  const Floats d;
  const float* filter = a.scratch + (block * filter_block(a.width) + 2 * kFloatLanes);
  FloatVec sums[kTileRows];
  unroll<kTileRows>([&](auto j) { sums[j] = hn::Zero(d); });
  for_each_tap<true>(tile, taps, factors, first_event, kFactorStride, SumInputGradients{sums, filter});
  float* dx = a.dx + tile.first * a.channels + lanes.first;
  unroll<kTileRows>([&](auto j) {
    if (j < tile.rows) {
      // −0 becomes +0 by the last addition, whichever zeros the tile added.
      const FloatVec before = a.accumulate_dx ? lanes.load(dx + j * a.channels) : hn::Zero(d);
      const FloatVec sum = hn::Add(sums[j], before);
      if (kWhole && streamed) {
        hn::Stream(sum, d, dx + j * a.channels);
      } else {
        lanes.store(sum, dx + j * a.channels);
      }
    }
  });
}

// One task of the backward: a range of events, a group of channels. It walks along the events in chunks; the strip
// holds the gradients of the factors of `back` events before the chunk, the chunk itself, and `ahead` events after it.
class BackwardTask {
 public:
  BackwardTask(const GatedDwconvBackward& a, const GatedDwconvCut& cut, int64_t task, float* partial, float* strip)
      : a_(a),
        cut_(cut),
        taps_(taps_of(a.width, a.dilation, a.causal)),
        begin_(task / cut.groups * cut.range),
        end_(std::min(begin_ + cut.range, a.packing.events)),
        first_block_(task % cut.groups * (cut.group / kFloatLanes)),
        end_block_(std::min(first_block_ + cut.group / kFloatLanes, blocks_of(a.channels))),
        streamed_(a.dx && !a.accumulate_dx && is_streamed(a.dx, a.packing.events, a.channels)),
        partial_(partial),
        strip_(strip),
        strip_block_(gated_dwconv_strip_events(cut) * kFactorStride) {}

  void run() {
    const int64_t block_elems = filter_block(a_.width);
    std::memset(partial_ + first_block_ * block_elems, 0,
                static_cast<size_t>((end_block_ - first_block_) * block_elems) * sizeof(float));
    // Events whose factors are needed; all of them inside sequences that this range touches.
    int64_t from = begin_;
    int64_t to = end_;
    if (a_.dx) {
      from = std::max(begin_ - cut_.back, SequenceCursor(a_.packing, begin_).begin());
      to = std::min(end_ + cut_.ahead, SequenceCursor(a_.packing, end_ - 1).end());
    }
    SequenceCursor factor_cursor(a_.packing, from);
    SequenceCursor input_cursor(a_.packing, begin_);
    int64_t done = from;
    for (int64_t chunk = begin_; chunk < end_; chunk += kGatedDwconvChunk) {
      const int64_t chunk_end = std::min(chunk + kGatedDwconvChunk, end_);
      if (chunk > begin_) shift(done);
      strip_begin_ = chunk - cut_.back;
      // Whole tiles from the range's begin on, so that sums over its events do not depend on the chunks.
      const int64_t tiles = (chunk_end + cut_.ahead - begin_ + kTileRows - 1) / kTileRows;
      const int64_t target = std::min(begin_ + tiles * kTileRows, to);
      sum_factors_until(std::min(target, begin_), false, done, factor_cursor);
      sum_factors_until(std::min(target, end_), true, done, factor_cursor);
      sum_factors_until(target, false, done, factor_cursor);
      if (a_.dx) sum_inputs(chunk, chunk_end, input_cursor);
    }
    if (streamed_) hwy::FlushStream();
  }

 private:
  void sum_factors_until(int64_t end, bool counts, int64_t& done, SequenceCursor& cursor) {
    const int64_t reach = (taps_.width - 1 - taps_.origin) * taps_.dilation + kTileRows;
    while (done < end) {
      const int64_t rows = std::min<int64_t>(kTileRows, end - done);
      describe_tile<false>(tile_, done, rows, taps_, cursor);
      for_each_block(a_.channels, first_block_, end_block_, [&](int64_t block, const auto& lanes) {
        fetch_next(a_.x, done + reach, block);
        fetch_next(a_.dout, done + kTileRows, block);
        float* factors = strip(block) + (done - strip_begin_) * kFactorStride;
        float* partial = counts ? partial_ + block * filter_block(a_.width) : nullptr;
        factor_tile(a_, tile_, taps_, block, lanes, factors, partial);
      });
      done += rows;
    }
  }

  void sum_inputs(int64_t begin, int64_t end, SequenceCursor& cursor) {
    for (int64_t t = begin; t < end; t += kTileRows) {
      describe_tile<true>(tile_, t, std::min<int64_t>(kTileRows, end - t), taps_, cursor);
      for_each_block(a_.channels, first_block_, end_block_, [&](int64_t block, const auto& lanes) {
        if (!streamed_) fetch_next(a_.dx, t + kTileRows, block);
        input_tile(a_, tile_, taps_, block, lanes, strip(block), strip_begin_, streamed_);
      });
    }
  }

  // One block's share of the lines of the tile from event t on, in the order in which they lie.
  HWY_INLINE void fetch_next(const float* from, int64_t t, int64_t block) const {
    if (t + kTileRows > a_.packing.events) return;
    const int64_t begin = first_block_ * kFloatLanes;
    const int64_t columns = std::min(end_block_ * kFloatLanes, a_.channels) - begin;
    const int64_t at = (block - first_block_) * kTileRows * kFloatLanes;
    int64_t row = at / columns;
    int64_t column = at % columns;
    for (int64_t i = 0; i < kTileRows * kFloatLanes && row < kTileRows; i += kLineFloats) {
      hwy::Prefetch(from + (t + row) * a_.channels + begin + column);
      column += kLineFloats;
      if (column >= columns) {
        column = 0;
        ++row;
      }
    }
  }

  // Moves what the next chunk needs to the strip's begin.
  void shift(int64_t done) {
    const int64_t next = strip_begin_ + kGatedDwconvChunk;
    if (done <= next) return;
    for (int64_t block = first_block_; block < end_block_; ++block) {
      std::memmove(strip(block), strip(block) + kGatedDwconvChunk * kFactorStride,
                   static_cast<size_t>((done - next) * kFactorStride) * sizeof(float));
    }
  }

  float* strip(int64_t block) const { return strip_ + (block - first_block_) * strip_block_; }

  const GatedDwconvBackward& a_;
  const GatedDwconvCut& cut_;
  const Taps taps_;
  const int64_t begin_;
  const int64_t end_;
  const int64_t first_block_;
  const int64_t end_block_;
  const bool streamed_;
  float* partial_;
  float* strip_;
  const int64_t strip_block_;
  int64_t strip_begin_ = 0;  // the event at the strip's begin; may lie before the batch
  Tile tile_;
};

}  // namespace

void gated_dwconv_forward(const GatedDwconvForward& a, Workers& workers) {
  pack_filters(a, workers);
  const Taps taps = taps_of(a.width, a.dilation, a.causal);
  const int64_t events = a.packing.events;
  const int64_t floats = events * a.channels;
  const int64_t share = (events / kTasks + kTileRows - 1) / kTileRows * kTileRows;
  const int64_t per_task = std::clamp(share, kMinEventsPerTask, kMaxEventsPerTask);
  const bool streamed = is_streamed(a.out, events, a.channels);
  // What the next tile reads first, counted from the first event of a tile.
  const int64_t reach = (a.width - 1 - taps.origin) * a.dilation + kTileRows;
  constexpr int64_t kBlockFloats = kTileRows * kFloatLanes;
  workers.run((events + per_task - 1) / per_task, [&](int64_t task, int) {
    const int64_t begin = task * per_task;
    const int64_t end = std::min(begin + per_task, events);
    SequenceCursor cursor(a.packing, begin);
    Tile tile;
    for (int64_t t = begin; t < end; t += kTileRows) {
      describe_tile<false>(tile, t, std::min<int64_t>(kTileRows, end - t), taps, cursor);
      int64_t next_x = (t + reach) * a.channels;
      int64_t next_out = (t + kTileRows) * a.channels;
      for_each_block(a.channels, 0, blocks_of(a.channels), [&](int64_t block, const auto& lanes) {
        fetch_ahead(a.x, floats, next_x, next_x + kBlockFloats);
        if (!streamed) fetch_ahead(a.out, floats, next_out, next_out + kBlockFloats);
        next_x += kBlockFloats;
        next_out += kBlockFloats;
        forward_tile(a, tile, taps, block, lanes, streamed);
      });
    }
    if (streamed) hwy::FlushStream();
  });
}

void gated_dwconv_backward(const GatedDwconvBackward& a, Workers& workers) {
  pack_filters(a, workers);
  const GatedDwconvCut cut = gated_dwconv_cut(a.packing, a.channels, a.width, a.dilation, a.causal);
  const int64_t filters = gated_dwconv_filter_elems(a.channels, a.width);
  float* partials = a.scratch + filters;
  float* strips = partials + cut.ranges * filters;
  const int64_t strip = gated_dwconv_strip_events(cut) * 2 * cut.group;
  workers.run(cut.ranges * cut.groups, [&](int64_t task, int worker) {
    BackwardTask(a, cut, task, partials + task / cut.groups * filters, strips + worker * strip).run();
  });
  // Partial sums are added in the order of their ranges: the same bits for any number of workers.
  workers.run(blocks_of(a.channels), [&](int64_t block, int) {
    const Floats d;
    const int64_t c = block * kFloatLanes;
    const int64_t count = std::min(kFloatLanes, a.channels - c);
    const auto add = [&](int64_t vector, float* first) {
      if (!first) return;
      float* to = first + c;
      FloatVec sum = hn::Zero(d);
      for (int64_t range = 0; range < cut.ranges; ++range) {
        const float* from = partials + range * filters + block * filter_block(a.width) + vector * kFloatLanes;
        sum = hn::Add(sum, hn::Load(d, from));
      }
      store_first(hn::Add(load_first(d, to, count), sum), d, to, count);
    };
    add(0, a.dbias);
    add(1, a.dgate_bias);
    for (int64_t k = 0; k < a.width; ++k) {
      add(2 * k + 2, a.dweight + k * a.channels);
      add(2 * k + 3, a.dgate_weight ? a.dgate_weight + k * a.channels : nullptr);
    }
  });
}

}  // namespace seqrisk::SEQRISK_VARIANT
