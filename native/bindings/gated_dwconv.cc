#include "ops/gated_dwconv.h"

#include <algorithm>
#include <initializer_list>
#include <string>

#include "bindings/args.h"
#include "bindings/bindings.h"

namespace seqrisk {
namespace {

int64_t odd_width(const Args& args, int64_t width) {
  if (width >= 1 && width <= kGatedDwconvMaxWidth && width % 2 == 1) return width;
  args.refuse("weight with an odd width from 1 to " + std::to_string(kGatedDwconvMaxWidth), std::to_string(width));
}

// A gate is there as a whole or not at all.
void check_gate(const Args& args, std::initializer_list<const void*> parts) {
  const auto given = std::count_if(parts.begin(), parts.end(), [](const void* part) { return part != nullptr; });
  if (given == 0 || given == static_cast<int64_t>(parts.size())) return;
  args.refuse("all parts of the gate or none", std::to_string(given) + " of " + std::to_string(parts.size()));
}

void gated_dwconv_forward(Args& args) {
  Dim events, channels, width;
  Stored stored;
  GatedDwconvForward call{};
  call.x = args.input("x", {events, channels}, stored);
  call.weight = args.input("weight", {width, channels});
  call.bias = args.input("bias", {channels});
  call.gate_weight = args.optional_input("gate_weight", {width, channels});
  call.gate_bias = args.optional_input("gate_bias", {channels});
  call.packing = args.offsets("offsets", events);
  call.dilation = args.integer("dilation", 1, INT32_MAX);
  call.causal = args.flag("causal");
  call.out = args.output("out", {events, channels}, stored);
  args.finish();
  check_gate(args, {call.gate_weight, call.gate_bias});
  call.channels = channels;
  call.stored = stored;
  call.width = odd_width(args, width);
  const Scratch scratch = args.scratch(gated_dwconv_forward_scratch(channels, width));
  call.scratch = scratch.floats();
  args.stream().submit(Kernel::gated_dwconv_forward, call);
}

void gated_dwconv_backward(Args& args) {
  Dim events, channels, width;
  Stored stored;
  GatedDwconvBackward call{};
  call.x = args.input("x", {events, channels}, stored);
  call.weight = args.input("weight", {width, channels});
  call.bias = args.input("bias", {channels});
  call.gate_weight = args.optional_input("gate_weight", {width, channels});
  call.gate_bias = args.optional_input("gate_bias", {channels});
  call.packing = args.offsets("offsets", events);
  call.dilation = args.integer("dilation", 1, INT32_MAX);
  call.causal = args.flag("causal");
  call.dout = args.input("dout", {events, channels}, stored);
  call.dx = args.optional_output("dx", {events, channels}, stored);
  call.accumulate_dx = args.flag("accumulate_dx");
  call.dweight = args.output("dweight", {width, channels});
  call.dbias = args.output("dbias", {channels});
  call.dgate_weight = args.optional_output("dgate_weight", {width, channels});
  call.dgate_bias = args.optional_output("dgate_bias", {channels});
  args.finish();
  check_gate(args, {call.gate_weight, call.gate_bias, call.dgate_weight, call.dgate_bias});
  call.channels = channels;
  call.stored = stored;
  call.width = odd_width(args, width);
  const GatedDwconvCut cut = gated_dwconv_cut(call.packing, channels, width, call.dilation, call.causal);
  const Scratch scratch = args.scratch(gated_dwconv_backward_scratch(cut, channels, width, args.stream().threads()));
  call.scratch = scratch.floats();
  args.stream().submit(Kernel::gated_dwconv_backward, call);
}

}  // namespace

void register_gated_dwconv(Napi::Object& exports) {
  add_op<gated_dwconv_forward>(exports, "gated_dwconv_forward");
  add_op<gated_dwconv_backward>(exports, "gated_dwconv_backward");
}

}  // namespace seqrisk
