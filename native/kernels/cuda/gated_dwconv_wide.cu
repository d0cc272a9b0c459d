// gated_dwconv on CUDA for wide or far-reaching filters, forward and backward. A block stages the rows that some taps
// of its events read, 32 channels of them, in shared memory. A thread keeps the sums of a run of events of one channel
// in registers, so that it reads a weight once for all of them, and a row once for many taps.
//
// The backward goes through memory: first the gradients of the factors, which the forward's sums lead to; dx is their
// convolution with the filters turned round; and the filters' gradients are sums over events that a thread has some
// taps of.
//
// Events of a run are a dilation apart, so that every filter is one without. They are worked on a sequence at a time:
// rows outside of it read as 0, and whose sums are of another sequence is left out.
#include "kernels/cuda/gated_dwconv_ways.h"
#include "kernels/cuda/instructions-inl.cuh"
#include "kernels/cuda/partial_sums.h"
#include "kernels/cuda/spans-inl.cuh"

namespace seqrisk {
namespace cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kWarps = kThreads / kWarp;
constexpr int kRun = 32;                 // events of a thread
constexpr int kTile = kWarps * kRun;     // of a block
constexpr int kStagedTaps = 32;          // taps whose rows are staged together
constexpr int kChunk = 8;                // taps that share the rows in registers
constexpr int kFilterTaps = 16;          // taps of a thread that sums over events
constexpr int kPiece = 64;               // events that it has staged at a time
constexpr int64_t kFilterBlocks = 1584;  // of such threads, wanted: what a large card holds at a time, twice

// (events, channels)
struct Rows {
  const float* values;
  Storage stored;
};

struct Shape {
  Packing packing;
  int64_t channels;
  int64_t width;
  int64_t dilation;
  int64_t origin;  // the tap that reads the event itself
  bool wide;       // rows are read four channels at a time

  template <class Arguments>
  explicit Shape(const Arguments& a, bool is_wide)
      : packing(a.packing),
        channels(a.channels),
        width(a.width),
        dilation(a.dilation),
        origin(a.causal ? a.width - 1 : a.width / 2),
        wide(is_wide) {
    // Farther than any sequence is long is all the same.
    const int64_t longest = a.packing.max_length < 1 ? 1 : a.packing.max_length;
    if (dilation > longest) dilation = longest;
  }

  // Stretches of `count` events that are a dilation apart, and where they start. Some of the last start behind the
  // batch.
  int64_t stretches(int64_t count) const { return ceil_div(packing.events, count * dilation) * dilation; }
  __device__ int64_t start_of(int64_t stretch, int64_t count) const {
    return dilation == 1 ? stretch * count : stretch / dilation * count * dilation + stretch % dilation;
  }
  // How many steps of a dilation it takes to be `events` further or more; what is far is cut.
  __device__ int steps(int64_t events) const {
    constexpr int kFar = 1024;  // beyond all rows of a block
    if (events >= kFar * dilation) return kFar;
    if (events <= -kFar * dilation) return -kFar;
    if (dilation == 1) return static_cast<int>(events);
    return static_cast<int>(events / dilation) + (events % dilation > 0 ? 1 : 0);
  }
};

// The sequence around an event, for all lanes of a warp. Most events that they ask for are in the same or in the next.
struct Span {
  int64_t sequence = -1;
  int64_t begin = 0;
  int64_t end = 0;

  __device__ void move_to(const Packing& packing, int64_t event) {
    if (holds(event)) return;
    if (event >= end && sequence + 1 < packing.sequences) take(packing, sequence + 1);
    if (!holds(event)) take(packing, warp_sequence_of(packing, event));
  }

 private:
  __device__ bool holds(int64_t event) const { return event >= begin && event < end; }
  __device__ void take(const Packing& packing, int64_t which) {
    sequence = which;
    begin = packing.offsets[which];
    end = packing.offsets[which + 1];
  }
};

// 32 channels of `count` events from `first` on, widened. Some event of the batch stands for one outside of it, which
// nobody counts: a read that may be left out would wait.
template <class T, int V>
__device__ void stage_pieces(float* to, const T* from, int count, int64_t first, const Shape& s, int64_t channel) {
  constexpr int kPieces = kWarp / V;  // of a row
  constexpr int kStep = kThreads / kPieces;
  constexpr int kAtOnce = 5;
  const int piece = static_cast<int>(threadIdx.x) % kPieces * V;
  const int64_t column = channel + piece < s.channels ? channel + piece : 0;
  for (int row = static_cast<int>(threadIdx.x) / kPieces; row < count; row += kStep * kAtOnce) {
    Raw<T, V> raw[kAtOnce];
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) {
      int64_t event = first + (row + i * kStep) * s.dilation;
      event = event < 0 ? 0 : event >= s.packing.events ? s.packing.events - 1 : event;
      raw[i] = load_raw<T, V>(from + event * s.channels + column);
    }
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) {
      if (row + i * kStep < count) store<V>(to + (row + i * kStep) * kWarp + piece, widen(raw[i]));
    }
  }
}

__device__ inline void stage(float* to, const Rows& from, int count, int64_t first, const Shape& s, int64_t channel) {
  if (from.stored == Storage::bfloat16) {
    const auto* halves = stored_as<Bfloat16>(from.values);
    s.wide ? stage_pieces<Bfloat16, 4>(to, halves, count, first, s, channel)
           : stage_pieces<Bfloat16, 1>(to, halves, count, first, s, channel);
  } else {
    s.wide ? stage_pieces<float, 4>(to, from.values, count, first, s, channel)
           : stage_pieces<float, 1>(to, from.values, count, first, s, channel);
  }
}

// The taps [first, last) of each filter added to the sums of a run. Rows count from the run's first at tap 0; with
// kChecks those outside of [low, high) are 0.
template <bool kChecks, int kSums>
__device__ inline void add_taps(float (&sums)[kSums][kRun], const float* rows, int first, int last, int low, int high,
                                const float* const (&weights)[kSums], int64_t stride) {
  for (int k = first; k < last; k += kChunk) {
    float window[kRun + kChunk - 1];
#pragma unroll
    for (int i = 0; i < kRun + kChunk - 1; ++i) {
      const float value = rows[(k + i) * kWarp];
      window[i] = !kChecks || (k + i >= low && k + i < high) ? value : 0.0f;
    }
#pragma unroll
    for (int j = 0; j < kChunk; ++j) {
      if (k + j >= last) break;
#pragma unroll
      for (int f = 0; f < kSums; ++f) {
        const float weight = weights[f][(k + j) * stride];
#pragma unroll
        for (int r = 0; r < kRun; ++r) sums[f][r] = fmaf(weight, window[r + j], sums[f][r]);
      }
    }
  }
}

// What becomes of the sums of the run's events [from, until); what they meet in memory is read before anything is
// written.
template <class T, class Op>
__device__ void finish(const Op& op, const float (&sums)[Op::kSums][kRun], int64_t run, int from, int until,
                       const Shape& s, int64_t channel) {
  constexpr int kAtOnce = 8;
  const T* meets = stored_as<T>(op.meets());
  const int64_t step = s.dilation * s.channels;
  const int64_t some_place = (run + from * s.dilation) * s.channels + channel;
  int64_t i = run * s.channels + channel;
  // Else the places of all 32 events are found before the taps, and wait in memory.
  make_opaque(i);
#pragma unroll
  for (int some = 0; some < kRun; some += kAtOnce) {
    const bool any = some + kAtOnce > from && some < until;
    float met[kAtOnce] = {};
    if (any && meets) {
      int64_t at = i;
#pragma unroll
      for (int r = 0; r < kAtOnce; ++r, at += step) {
        met[r] = load<1>(meets + (some + r >= from && some + r < until ? at : some_place)).at[0];
      }
    }
#pragma unroll
    for (int r = 0; r < kAtOnce; ++r, i += step) {
      if (some + r < from || some + r >= until) continue;
      op.template put<T>(i, sums[0][some + r], sums[Op::kSums - 1][some + r], met[r]);
    }
  }
}

// Filters over each of an operation's inputs, all taps in one chain. Tiles are the first axis of the grid, groups of 32
// channels the second.
template <class Op>
__global__ void __launch_bounds__(kThreads, 4) tile_kernel(Shape s, Op op) {
  constexpr int kSums = Op::kSums;
  // Chunks read behind the last tap's rows what they do not use.
  __shared__ alignas(16) float rows[(kTile + kStagedTaps + kChunk - 1) * kWarp];
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const int64_t first = s.start_of(blockIdx.x, kTile);
  if (first >= s.packing.events) return;
  const int64_t group = static_cast<int64_t>(blockIdx.y) * kWarp;
  const bool inside = group + lane < s.channels;
  const int64_t channel = inside ? group + lane : 0;
  const int64_t run = first + warp * kRun * s.dilation;
  const int stages = static_cast<int>(ceil_div(s.width, kStagedTaps));
  const int inputs = op.inputs();
  Span span;
  int done = 0;  // events of the run
  bool is_staged = false;
  do {
    // The events up to `until` that are of the next one's sequence.
    const bool works = done < kRun && run + done * s.dilation < s.packing.events;
    int until = kRun;
    if (works) {
      span.move_to(s.packing, run + done * s.dilation);
      const int steps = s.steps(span.end - run);
      until = steps < kRun ? steps : kRun;
    }
    float sums[kSums][kRun];
#pragma unroll
    for (int f = 0; f < kSums; ++f) {
      const float start = op.start(f, channel);
#pragma unroll
      for (int r = 0; r < kRun; ++r) sums[f][r] = start;
    }
    for (int turn = 0; turn < inputs * stages; ++turn) {
      const int input = turn / stages;
      const int begin = turn % stages * kStagedTaps;
      const int left = static_cast<int>(s.width) - begin;
      const int taps = left < kStagedTaps ? left : kStagedTaps;
      const int64_t base = first + (begin - s.origin) * s.dilation;
      if (!is_staged) {
        if (turn > 0) __syncthreads();
        stage(rows, op.input(input), kTile + taps - 1, base, s, group);
        __syncthreads();
        is_staged = inputs * stages == 1;
      }
      if (!works) continue;
      const float* weights[kSums];
#pragma unroll
      for (int f = 0; f < kSums; ++f) weights[f] = op.filter(input, f) + begin * op.stride() + channel;
      const int64_t own = base + warp * kRun * s.dilation;
      const int low = s.steps(span.begin - own);
      const int high = s.steps(span.end - own);
      const int from = low - until + 1 > 0 ? low - until + 1 : 0;
      const int to = high - done < taps ? high - done : taps;
      const float* own_rows = rows + warp * kRun * kWarp + lane;
      if (low <= done + from && until + to - 1 <= high) {
        add_taps<false>(sums, own_rows, from, to, low, high, weights, op.stride());
      } else {
        add_taps<true>(sums, own_rows, from, to, low, high, weights, op.stride());
      }
    }
    if (works && inside) {
      if (op.stored() == Storage::bfloat16) {
        finish<Bfloat16>(op, sums, run, done, until, s, channel);
      } else {
        finish<float>(op, sums, run, done, until, s, channel);
      }
    }
    done = until;
  } while (__syncthreads_or(done < kRun && run + done * s.dilation < s.packing.events));
}

// out, of one factor or two.
template <bool kGated>
struct Out {
  static constexpr int kSums = kGated ? 2 : 1;
  GatedDwconvForward a;

  __device__ int inputs() const { return 1; }
  __device__ Rows input(int) const { return {a.x, a.stored}; }
  __device__ const float* filter(int, int f) const { return f == 0 ? a.weight : a.gate_weight; }
  __device__ int64_t stride() const { return a.channels; }
  __device__ float start(int f, int64_t channel) const { return (f == 0 ? a.bias : a.gate_bias)[channel]; }
  __device__ Storage stored() const { return a.stored; }
  __device__ const float* meets() const { return nullptr; }
  template <class T>
  __device__ void put(int64_t i, float value, float gate, float) const {
    store<1>(stored_as<T>(a.out) + i, Floats<1>{{kGated ? value * sigmoid(gate) : value}});
  }
};

// The gradients of both factors.
struct Factors {
  static constexpr int kSums = 2;
  GatedDwconvBackward a;
  float* dvalues;
  float* dgates;

  __device__ int inputs() const { return 1; }
  __device__ Rows input(int) const { return {a.x, a.stored}; }
  __device__ const float* filter(int, int f) const { return f == 0 ? a.weight : a.gate_weight; }
  __device__ int64_t stride() const { return a.channels; }
  __device__ float start(int f, int64_t channel) const { return (f == 0 ? a.bias : a.gate_bias)[channel]; }
  __device__ Storage stored() const { return a.stored; }
  __device__ const float* meets() const { return a.dout; }
  template <class T>
  __device__ void put(int64_t i, float value, float gate, float dout) const {
    const float open = sigmoid(gate);
    dvalues[i] = dout * open;
    dgates[i] = dout * value * (open * (1.0f - open));
  }
};

// dx. The filters are turned round: their first tap is the last.
struct Inputs {
  static constexpr int kSums = 1;
  GatedDwconvBackward a;
  Rows dvalues;
  Rows dgates;

  __device__ int inputs() const { return a.gate_weight ? 2 : 1; }
  __device__ Rows input(int i) const { return i == 0 ? dvalues : dgates; }
  __device__ const float* filter(int i, int) const {
    return (i == 0 ? a.weight : a.gate_weight) + (a.width - 1) * a.channels;
  }
  __device__ int64_t stride() const { return -a.channels; }
  __device__ float start(int, int64_t) const { return 0.0f; }
  __device__ Storage stored() const { return a.stored; }
  __device__ const float* meets() const { return a.accumulate_dx ? a.dx : nullptr; }
  template <class T>
  __device__ void put(int64_t i, float dx, float, float before) const {
    store<1>(stored_as<T>(a.dx) + i, Floats<1>{{before + dx}});
  }
};

// Sums over events, for kFilterTaps taps of each filter from the tap of the first row on.
template <int kFactors>
struct FilterSums {
  float taps[kFactors][kFilterTaps];
  float bias[kFactors];
  float x[kFilterTaps];  // a ring: what the taps of an event read

  // kFilterTaps events, the ring in the place that it started from. `row(i)` is x at the last tap of the i-th of them,
  // `factor(f, i)` the gradient of its factor f. With kPart only the first `count`.
  template <bool kPart, class Row, class Factor>
  __device__ void add(int count, Row row, Factor factor) {
#pragma unroll
    for (int i = 0; i < kFilterTaps; ++i) {
      if (kPart && i >= count) break;
      x[(i + kFilterTaps - 1) % kFilterTaps] = row(i);
#pragma unroll
      for (int f = 0; f < kFactors; ++f) {
        const float d = factor(f, i);
        bias[f] += d;
#pragma unroll
        for (int t = 0; t < kFilterTaps; ++t) taps[f][t] = fmaf(d, x[(i + t) % kFilterTaps], taps[f][t]);
      }
    }
  }
};

// How a block's warps share taps and events: up to two groups of taps, and as many parts of the events as that leaves.
struct FilterCut {
  int groups;
  int parts;

  __host__ __device__ explicit FilterCut(int64_t width) : groups(width > kFilterTaps ? 2 : 1), parts(kWarps / groups) {}
};

// partials[block, part, factor, tap, channel] of the filters, and of the bias behind the last tap. A block takes
// `pieces` pieces of the events one after the other: the first axis of the grid; channels and taps are the others.
template <int kFactors>
__global__ void __launch_bounds__(kThreads, 5)
    filter_kernel(Shape s, Rows x, Rows dvalues, Rows dgates, int64_t pieces, int64_t all_pieces, float* partials) {
  __shared__ alignas(16) float rows[(kPiece + 2 * kFilterTaps - 1) * kWarp];
  __shared__ alignas(16) float factors[kFactors][kPiece * kWarp];
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const int64_t group = static_cast<int64_t>(blockIdx.y) * kWarp;
  const FilterCut cut(s.width);
  const int own_taps = warp % cut.groups * kFilterTaps;
  const int part = warp / cut.groups;
  const int64_t first_tap = static_cast<int64_t>(blockIdx.z) * cut.groups * kFilterTaps;
  const int64_t last_piece = (blockIdx.x + 1) * pieces < all_pieces ? (blockIdx.x + 1) * pieces : all_pieces;
  FilterSums<kFactors> sums{};
  Span span;
  for (int64_t piece = blockIdx.x * pieces; piece < last_piece; ++piece) {
    const int64_t first = s.start_of(piece, kPiece);
    if (first >= s.packing.events) continue;
    const int64_t base = first + (first_tap - s.origin) * s.dilation;
    __syncthreads();
    stage(rows, x, kPiece + cut.groups * kFilterTaps - 1, base, s, group);
    stage(factors[0], dvalues, kPiece, first, s, group);
    if (kFactors > 1) stage(factors[kFactors - 1], dgates, kPiece, first, s, group);
    __syncthreads();
    int event = part * kPiece / cut.parts;
    const int last = event + kPiece / cut.parts;
    while (event < last && first + event * s.dilation < s.packing.events) {
      span.move_to(s.packing, first + event * s.dilation);
      const int steps = s.steps(span.end - first);
      const int until = steps < last ? steps : last;
      const int low = s.steps(span.begin - base);
      const auto length = static_cast<unsigned>(s.steps(span.end - base) - low);
      const auto x_at = [&](int row) {
        const float value = rows[row * kWarp + lane];
        return static_cast<unsigned>(row - low) < length ? value : 0.0f;
      };
      const auto row = [&](int i) { return x_at(event + own_taps + i + kFilterTaps - 1); };
      const auto factor = [&](int f, int i) { return factors[f][(event + i) * kWarp + lane]; };
#pragma unroll
      for (int t = 0; t < kFilterTaps - 1; ++t) sums.x[t] = x_at(event + own_taps + t);
      for (; until - event >= kFilterTaps; event += kFilterTaps) sums.template add<false>(0, row, factor);
      sums.template add<true>(until - event, row, factor);
      event = until;
    }
  }
  if (group + lane >= s.channels) return;
  float* to = partials + (blockIdx.x * cut.parts + part) * kFactors * (s.width + 1) * s.channels + group + lane;
#pragma unroll
  for (int f = 0; f < kFactors; ++f) {
#pragma unroll
    for (int t = 0; t < kFilterTaps; ++t) {
      const int64_t tap = first_tap + own_taps + t;
      if (tap < s.width) to[tap * s.channels] = sums.taps[f][t];
    }
    if (first_tap + own_taps == 0) to[s.width * s.channels] = sums.bias[f];
    to += (s.width + 1) * s.channels;
  }
}

template <class Op>
void launch_tiles(const Shape& s, const Op& op, Launch& launch) {
  const dim3 blocks(static_cast<unsigned>(s.stretches(kTile)), blocks_of(s.channels, kWarp));
  tile_kernel<<<blocks, kThreads, 0, launch.stream>>>(s, op);
}

}  // namespace

void gated_dwconv_forward_wide(const GatedDwconvForward& a, Launch& launch) {
  const Shape s(a, is_wide(a.channels, a.x));
  a.gate_weight ? launch_tiles(s, Out<true>{a}, launch) : launch_tiles(s, Out<false>{a}, launch);
}

void gated_dwconv_backward_wide(const GatedDwconvBackward& a, Launch& launch) {
  const bool gated = a.gate_weight != nullptr;
  const Shape s(a, is_wide(a.channels, a.x, a.dout));
  const FilterCut cut(a.width);
  const int factors = gated ? 2 : 1;
  const int64_t half = (a.width + 1) * a.channels;
  const int64_t pieces = s.stretches(kPiece);
  const unsigned channel_blocks = blocks_of(a.channels, kWarp);
  const unsigned tap_blocks = blocks_of(a.width, cut.groups * kFilterTaps);
  const int64_t wanted = ceil_div(kFilterBlocks, static_cast<int64_t>(channel_blocks) * tap_blocks);
  const int64_t pieces_per_block = ceil_div(pieces, wanted);
  const unsigned blocks = blocks_of(pieces, pieces_per_block);
  const int64_t count = ceil_div(a.packing.events * a.channels, 4) * 4;  // what follows starts at a boundary
  float* memory = launch.workspace_of<float>((gated ? 2 * count : 0) + blocks * cut.parts * factors * half);
  if (!memory) return;
  // Without a gate the factor's gradient is dout.
  Rows dvalues{a.dout, a.stored};
  Rows dgates{nullptr, Storage::float32};
  float* partials = memory;
  if (gated) {
    dvalues = {memory, Storage::float32};
    dgates.values = memory + count;
    partials = memory + 2 * count;
    launch_tiles(s, Factors{a, memory, memory + count}, launch);
  }
  if (a.dx) {
    Shape turned = s;
    turned.origin = a.width - 1 - s.origin;
    launch_tiles(turned, Inputs{a, dvalues, dgates}, launch);
  }
  const dim3 grid(blocks, channel_blocks, tap_blocks);
  const auto kernel = gated ? filter_kernel<2> : filter_kernel<1>;
  kernel<<<grid, kThreads, 0, launch.stream>>>(s, Rows{a.x, a.stored}, dvalues, dgates, pieces_per_block, pieces,
                                               partials);
  const int64_t split = a.width * a.channels;
  const int64_t sums = static_cast<int64_t>(blocks) * cut.parts;
  add_partials(partials, sums, factors * half, half, split, a.dweight, a.dbias, launch.stream);
  if (!gated) return;
  add_partials(partials + half, sums, factors * half, half, split, a.dgate_weight, a.dgate_bias, launch.stream);
}

}  // namespace cuda
}  // namespace seqrisk
