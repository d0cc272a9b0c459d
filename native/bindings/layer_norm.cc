#include "ops/layer_norm.h"

#include "bindings/args.h"
#include "bindings/bindings.h"

namespace seqrisk {
namespace {

void layer_norm_forward(Args& args) {
  Dim rows, width;
  LayerNormForward call{};
  call.x = args.input("x", {rows, width});
  call.weight = args.input("weight", {width});
  call.bias = args.input("bias", {width});
  call.eps = args.number("eps", 0, 1);
  call.out = args.output("out", {rows, width});
  call.mean = args.optional_output("mean", {rows});
  call.rstd = args.optional_output("rstd", {rows});
  args.finish();
  call.rows = rows;
  call.width = width;
  args.stream().submit(Kernel::layer_norm_forward, call);
}

void layer_norm_backward(Args& args) {
  Dim rows, width;
  LayerNormBackward call{};
  call.x = args.input("x", {rows, width});
  call.weight = args.input("weight", {width});
  call.mean = args.input("mean", {rows});
  call.rstd = args.input("rstd", {rows});
  call.dout = args.input("dout", {rows, width});
  call.dx = args.optional_output("dx", {rows, width});
  call.accumulate_dx = args.flag("accumulate_dx");
  call.dweight = args.output("dweight", {width});
  call.dbias = args.output("dbias", {width});
  args.finish();
  call.rows = rows;
  call.width = width;
  const Scratch scratch = args.scratch(layer_norm_backward_scratch(rows, width));
  call.scratch = scratch.floats();
  args.stream().submit(Kernel::layer_norm_backward, call);
}

}  // namespace

void register_layer_norm(Napi::Object& exports) {
  add_op<layer_norm_forward>(exports, "layer_norm_forward");
  add_op<layer_norm_backward>(exports, "layer_norm_backward");
}

}  // namespace seqrisk
