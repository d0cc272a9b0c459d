// gated_dwconv: depthwise convolution with a gate of its own, per channel and inside each sequence of a packed batch,
//   out[t] = (Σ_k weight[k] ⊙ x[t + r(k − o)] + bias) ⊙ σ(Σ_k gate_weight[k] ⊙ x[t + r(k − o)] + gate_bias),
// or, without a gate, the first factor alone; r = dilation, o = ⌊width/2⌋, or width − 1 when causal; x is 0 outside its
// own sequence (Dauphin et al. 2017). Bytes: forward 2·events·channels·4, backward 3·events·channels·4. Multiply-adds:
// 2·width and 6·width an element, and about 15 vector operations for the gate. Finite weights assumed: an infinite one
// may turn edges into NaN.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "ops/packing.h"
#include "ops/storage.h"

namespace seqrisk {

constexpr int64_t kGatedDwconvMaxWidth = 255;

struct GatedDwconvForward {
  const float* x;            // (events, channels) [stored]
  const float* weight;       // (width, channels)
  const float* bias;         // (channels)
  const float* gate_weight;  // (width, channels), or null with gate_bias: no gate
  const float* gate_bias;    // (channels)
  float* out;                // (events, channels) [stored]
  float* scratch;            // gated_dwconv_forward_scratch() bytes
  Packing packing;
  int64_t channels;
  int64_t width;  // odd
  int64_t dilation;
  bool causal;
  Storage stored;
};

// Nothing but the inputs is kept for it: the gate is computed again.
struct GatedDwconvBackward {
  const float* x;  // [stored]
  const float* weight;
  const float* bias;
  const float* gate_weight;
  const float* gate_bias;
  const float* dout;    // (events, channels) [stored]
  float* dx;            // (events, channels) [stored] assigned, or added to when accumulate_dx; null skips it
  float* dweight;       // (width, channels) added to
  float* dbias;         // (channels) added to
  float* dgate_weight;  // (width, channels) added to; null without a gate
  float* dgate_bias;    // (channels) added to; null without a gate
  float* scratch;       // gated_dwconv_backward_scratch() bytes
  Packing packing;
  int64_t channels;
  int64_t width;
  int64_t dilation;
  bool causal;
  bool accumulate_dx;
  Storage stored;
};

// How the backward is cut. A task is a range of events times a group of channels; it needs the gradients of the gate's
// two factors some events beyond its own, in which its sequences bound it. At most kGatedDwconvRanges ranges keep the
// partial sums of the parameters' gradients few, and long ones keep the events computed twice few. Wide groups read
// memory in order; narrow ones give a batch of few ranges to more threads.
constexpr int64_t kGatedDwconvWideGroup = 512;
constexpr int64_t kGatedDwconvNarrowGroup = 64;
constexpr int64_t kGatedDwconvFewRanges = 8;
constexpr int64_t kGatedDwconvRanges = 64;
constexpr int64_t kGatedDwconvChunk = 32;

struct GatedDwconvCut {
  int64_t back;   // events before a range whose factors it needs
  int64_t ahead;  // events after it
  int64_t range;  // events of one range
  int64_t ranges;
  int64_t group;  // channels of a group
  int64_t groups;
};

inline GatedDwconvCut gated_dwconv_cut(const Packing& packing, int64_t channels, int64_t width, int64_t dilation,
                                       bool causal) {
  const int64_t origin = causal ? width - 1 : width / 2;
  const int64_t farthest = std::max<int64_t>(packing.max_length - 1, 0);
  GatedDwconvCut cut;
  cut.back = std::min((width - 1 - origin) * dilation, farthest);
  cut.ahead = std::min(origin * dilation, farthest);
  const int64_t least = std::max<int64_t>(128, 4 * (cut.back + cut.ahead));
  const int64_t range = std::max(least, (packing.events + kGatedDwconvRanges - 1) / kGatedDwconvRanges);
  cut.range = (range + kGatedDwconvChunk - 1) / kGatedDwconvChunk * kGatedDwconvChunk;
  cut.ranges = (packing.events + cut.range - 1) / cut.range;
  cut.group = cut.ranges < kGatedDwconvFewRanges ? kGatedDwconvNarrowGroup : kGatedDwconvWideGroup;
  cut.groups = (channels + cut.group - 1) / cut.group;
  return cut;
}

// Both filters and both biases in the order in which the kernel reads them, channels rounded up to whole vectors.
inline int64_t gated_dwconv_filter_elems(int64_t channels, int64_t width) {
  constexpr int64_t kMostLanes = 16;
  return (channels + kMostLanes - 1) / kMostLanes * kMostLanes * 2 * (width + 1);
}

inline size_t gated_dwconv_forward_scratch(int64_t channels, int64_t width) {
  return static_cast<size_t>(gated_dwconv_filter_elems(channels, width)) * sizeof(float);
}

// Events whose two factors one worker keeps at a time, for a group of channels; 8 round up to whole tiles.
inline int64_t gated_dwconv_strip_events(const GatedDwconvCut& cut) {
  return cut.back + kGatedDwconvChunk + cut.ahead + 8;
}

// Filters, partial sums per range, one strip per worker: at most 65 filters plus, per worker, 4 KB for each event that
// a filter spans.
inline size_t gated_dwconv_backward_scratch(const GatedDwconvCut& cut, int64_t channels, int64_t width, int workers) {
  const int64_t strip = gated_dwconv_strip_events(cut) * 2 * cut.group;
  return static_cast<size_t>((cut.ranges + 1) * gated_dwconv_filter_elems(channels, width) + workers * strip) *
         sizeof(float);
}

}  // namespace seqrisk
