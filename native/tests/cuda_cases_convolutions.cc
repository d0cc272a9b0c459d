// Cases of the ops that look at neighbouring events.
#include "tests/cuda_cases.h"

namespace seqrisk::parity {
namespace {

struct Shape {
  Batch batch;
  int64_t channels;
  int64_t width;
  int64_t dilation;
  bool causal;
  bool gate;
};

std::string label_of(const Shape& s) {
  return std::string(s.batch.name) + ", " +
         label({"channels", "width", "dilation", "causal", "gate"}, s.channels, s.width, s.dilation, s.causal, s.gate);
}

template <class Arguments>
void set_problem(Side& side, const Shape& s, Arguments& a) {
  const int64_t filter = s.width * s.channels;
  a.packing = side.packing(s.batch.lengths);
  a.stored = side.stored();
  a.x = side.activations(a.packing.events * s.channels);
  a.weight = side.normals(filter);
  a.bias = side.normals(s.channels);
  a.gate_weight = s.gate ? side.normals(filter, 0.5) : nullptr;
  a.gate_bias = s.gate ? side.normals(s.channels) : nullptr;
  a.channels = s.channels;
  a.width = s.width;
  a.dilation = s.dilation;
  a.causal = s.causal;
}

GatedDwconvForward forward_of(Side& side, const Shape& s) {
  GatedDwconvForward a{};
  set_problem(side, s, a);
  a.out = side.output("out", a.packing.events * s.channels, kSums, a.stored);
  a.scratch = side.scratch(gated_dwconv_forward_scratch(s.channels, s.width));
  return a;
}

// Channels to as many: what stands between is kept in every other case, and gone in the others.
GatedSeparableConvForward separable_of(Side& side, const Shape& s, int64_t out_features, bool keeps) {
  GatedSeparableConvForward a{};
  set_problem(side, s, a.convolution);
  const int64_t rows = a.convolution.packing.events;
  const Storage stored = a.convolution.stored;
  a.keeps_between = keeps;
  a.convolution.out = side.output("between", rows * s.channels, keeps ? kSums : kAny, stored);
  a.convolution.scratch = side.scratch(gated_dwconv_forward_scratch(s.channels, s.width));
  a.product.x = a.convolution.out;
  a.product.weight = side.operands(s.channels * out_features, 0.1);
  a.product.bias = side.normals(out_features);
  a.product.residual = side.normals(rows * out_features);
  // On a card of that precision what stands between is rounded, and here it is not.
  a.product.out = side.output("out", rows * out_features, side.products());
  a.product.scratch = side.scratch(linear_packed_bytes(s.channels, out_features));
  a.product.rows = rows;
  a.product.in_features = s.channels;
  a.product.out_features = out_features;
  a.product.x_stride = s.channels;
  a.product.out_stride = out_features;
  a.product.residual_stride = out_features;
  a.product.x_stored = stored;
  return a;
}

// Variant: 0 assigns dx, 1 accumulates it, 2 leaves it out.
GatedDwconvBackward backward_of(Side& side, const Shape& s, int variant) {
  GatedDwconvBackward a{};
  set_problem(side, s, a);
  const int64_t filter = s.width * s.channels;
  const int64_t elements = a.packing.events * s.channels;
  a.dout = side.activations(elements);
  a.accumulate_dx = variant == 1;
  a.dx = variant == 2 ? nullptr : side.result("dx", elements, a.accumulate_dx, kSums, a.stored);
  const Judge judge = sums_of(a.packing.events, 0.25);
  a.dweight = side.added("dweight", filter, judge);
  a.dbias = side.added("dbias", s.channels, judge);
  a.dgate_weight = s.gate ? side.added("dgate_weight", filter, judge) : nullptr;
  a.dgate_bias = s.gate ? side.added("dgate_bias", s.channels, judge) : nullptr;
  const GatedDwconvCut cut = gated_dwconv_cut(a.packing, s.channels, s.width, s.dilation, s.causal);
  a.scratch = side.scratch(gated_dwconv_backward_scratch(cut, s.channels, s.width, side.workers()));
  return a;
}

void add_dwconv(CaseTable& table, const Shape& s) {
  table.gated_dwconv_forward.push_back({label_of(s), [=](Side& side) { return forward_of(side, s); }});
  for (int variant = 0; variant < 3; ++variant) {
    table.gated_dwconv_backward.push_back(
        {label_of(s) + ", " + label({"variant"}, variant), [=](Side& side) { return backward_of(side, s, variant); }});
  }
}

void add_separable(CaseTable& table, const Shape& s, int64_t out_features, bool always = false) {
  for (const bool keeps : {false, true}) {
    table.gated_separable_conv_forward.push_back(
        {label_of(s) + ", " + label({"out", "keeps"}, out_features, keeps),
         [=](Side& side) { return separable_of(side, s, out_features, keeps); }, always});
  }
}

void add_unfold(CaseTable& table, const Shape& s) {
  table.unfold_forward.push_back({label_of(s), [=](Side& side) {
                                    UnfoldForward a{};
                                    a.packing = side.packing(s.batch.lengths);
                                    const int64_t elements = a.packing.events * s.channels;
                                    a.stored = side.stored();
                                    a.x = side.activations(elements);
                                    a.out = side.output("out", elements * s.width, kSame, a.stored);
                                    a.channels = s.channels;
                                    a.width = s.width;
                                    a.dilation = s.dilation;
                                    a.causal = s.causal;
                                    return a;
                                  }});
  for (const bool accumulate : {false, true}) {
    table.unfold_backward.push_back({label_of(s) + ", " + label({"accumulate"}, accumulate), [=](Side& side) {
                                       UnfoldBackward a{};
                                       a.packing = side.packing(s.batch.lengths);
                                       const int64_t elements = a.packing.events * s.channels;
                                       a.stored = side.stored();
                                       a.dout = side.activations(elements * s.width);
                                       a.dx = side.result("dx", elements, accumulate, kSums, a.stored);
                                       a.channels = s.channels;
                                       a.width = s.width;
                                       a.dilation = s.dilation;
                                       a.causal = s.causal;
                                       a.accumulate_dx = accumulate;
                                       return a;
                                     }});
  }
}

}  // namespace

void add_convolution_cases(CaseTable& table) {
  // The largest dilation that the bindings let through: no index may overflow.
  constexpr int64_t kDilations[] = {1, 2, 5, 64, INT32_MAX};
  int turn = 0;
  for (const int64_t width : {1, 3, 5, 7, 9, 31, 33, 255}) {
    for (const int64_t dilation : kDilations) {
      for (const bool causal : {false, true}) {
        const int64_t channels = std::initializer_list<int64_t>{1, 20, 7, 64}.begin()[turn++ % 4];
        const Shape s{{"mixed", {5, 0, 3, 1, 70, 331, 0, 2}}, channels, width, dilation, causal, turn % 3 != 0};
        add_dwconv(table, s);
        add_unfold(table, s);
      }
    }
  }
  for (const Batch& batch : batches(3000)) {
    for (const int64_t channels : {1, 5, 96}) {
      for (const bool gate : {false, true}) add_dwconv(table, {batch, channels, 5, 2, channels == 5, gate});
      add_unfold(table, {batch, channels, 3, 2, channels == 5, false});
    }
  }
  // Runs of every length, and sequences that end inside of them.
  for (const int64_t channels : {64, 256}) {
    for (const int64_t width : {3, 5, 7}) {
      for (const bool causal : {false, true}) {
        add_dwconv(table, {{"long and short", {2600, 3, 0, 1, 44, 900, 7}}, channels, width, 1, causal, width != 5});
      }
      add_dwconv(table, {{"long and short", {2600, 3, 0, 1, 44, 900, 7}}, channels, width, 4, false, true});
    }
  }
  add_dwconv(table, {{"long and wide", {1500, 600}}, 600, 7, 1, false, true});
  // Wide filters: taps that fill a chunk, a thread or a stage, and one more; runs that lie in one sequence, that some
  // end in, that hold many. Channels that are read in fours, one by one, and that leave lanes idle.
  const Batch uneven{"long, short and none", {700, 3, 0, 1, 44, 0, 261, 31, 32, 33}};
  for (const int64_t width : {9, 15, 17, 31, 33, 65, 129}) {
    for (const int64_t channels : {36, 33}) {
      add_dwconv(table, {uneven, channels, width, 1, width == 15, width != 17});
      add_dwconv(table, {{"many short", short_lengths(150)}, channels, width, width == 31 ? 2 : 1, width == 9, true});
    }
  }
  add_dwconv(table, {{"long, wide filter", {2500}}, 36, 101, 3, true, true});
  add_dwconv(table, {{"long, widest filter", {1300, 1}}, 64, kGatedDwconvMaxWidth, 1, false, true});
  add_dwconv(table, {{"long, far-reaching filter", {1100, 700}}, 40, 31, 40, false, true});
  // One kernel where a card has it: its widths and filters, tiles that end in a sequence, with one, and in none;
  // batches of fewer events than a tile, and of several tiles a block. Others take two kernels.
  for (const Batch& batch : batches(1500)) add_separable(table, {batch, 64, 3, 1, false, true}, 64, true);
  for (const int64_t channels : {64, 128, 256}) {
    for (const int64_t width : {3, 5, 7}) {
      for (const bool causal : {false, true}) {
        add_separable(table, {{"long and short", {640, 3, 0, 1, 44, 900, 7}}, channels, width, 1, causal, width != 5},
                      channels);
      }
    }
    add_separable(table, {{"mixed", {5, 0, 3, 1, 70, 131, 0}}, channels, 5, 1, false, true}, channels, channels < 256);
    add_separable(table, {{"many short", short_lengths(300)}, channels, 5, 1, channels == 64, true}, channels);
  }
  add_separable(table, {{"mixed", {5, 0, 3, 1, 70, 131, 0}}, 64, 5, 2, false, true}, 64);
  add_separable(table, {{"mixed", {5, 0, 3, 1, 70, 131, 0}}, 64, 9, 1, false, true}, 64);
  add_separable(table, {{"mixed", {5, 0, 3, 1, 70, 131, 0}}, 64, 5, 1, false, true}, 36);
  add_separable(table, {{"mixed", {5, 0, 3, 1, 70, 131, 0}}, 35, 5, 1, true, true}, 35);
  add_separable(table, {{"long, K = 5", {4000, 4000}}, 256, 5, 1, false, true}, 256);
  // More tiles than a large card has places for blocks.
  add_separable(table, {{"many tiles", {9000, 1, 9000, 0, 2500}}, 64, 5, 1, false, true}, 64);
  // As the bench has it, but shorter: every block of a stretch works.
  add_dwconv(table, {{"long, K = 31", {4000, 4000}}, 256, 31, 1, false, true});
}

}  // namespace seqrisk::parity
