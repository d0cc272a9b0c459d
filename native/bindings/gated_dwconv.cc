#include "ops/gated_dwconv.h"

#include "bindings/bindings.h"
#include "bindings/convolution_args.h"

namespace seqrisk {
namespace {

void gated_dwconv_forward(Args& args) {
  ConvolutionSizes sizes;
  GatedDwconvForward call{};
  read_convolution(args, call, sizes);
  call.out = args.output("out", {sizes.events, sizes.channels}, sizes.stored);
  args.finish();
  finish_convolution(args, call, sizes, {call.gate_weight, call.gate_bias});
  const Scratch scratch = args.scratch(gated_dwconv_forward_scratch(call.channels, call.width));
  call.scratch = scratch.floats();
  args.stream().submit(Kernel::gated_dwconv_forward, call);
}

void gated_dwconv_backward(Args& args) {
  ConvolutionSizes sizes;
  auto& [events, channels, width, stored] = sizes;
  GatedDwconvBackward call{};
  read_convolution(args, call, sizes);
  call.dout = args.input("dout", {events, channels}, stored);
  call.dx = args.optional_output("dx", {events, channels}, stored);
  call.accumulate_dx = args.flag("accumulate_dx");
  call.dweight = args.output("dweight", {width, channels});
  call.dbias = args.output("dbias", {channels});
  call.dgate_weight = args.optional_output("dgate_weight", {width, channels});
  call.dgate_bias = args.optional_output("dgate_bias", {channels});
  args.finish();
  finish_convolution(args, call, sizes, {call.gate_weight, call.gate_bias, call.dgate_weight, call.dgate_bias});
  const GatedDwconvCut cut = gated_dwconv_cut(call.packing, call.channels, call.width, call.dilation, call.causal);
  const Scratch scratch =
      args.scratch(gated_dwconv_backward_scratch(cut, call.channels, call.width, args.stream().threads()));
  call.scratch = scratch.floats();
  args.stream().submit(Kernel::gated_dwconv_backward, call);
}

}  // namespace

void register_gated_dwconv(Napi::Object& exports) {
  add_op<gated_dwconv_forward>(exports, "gated_dwconv_forward");
  add_op<gated_dwconv_backward>(exports, "gated_dwconv_backward");
}

}  // namespace seqrisk
