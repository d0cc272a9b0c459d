#include "ops/layer_norm.h"

#include "bindings/args.h"
#include "bindings/bindings.h"

namespace seqrisk {
namespace {

void layer_norm_forward(Args& args) {
  Dim rows, width;
  Stored x_stored, out_stored;
  LayerNormForward call{};
  call.x = args.input("x", {rows, width}, x_stored);
  call.weight = args.input("weight", {width});
  call.bias = args.input("bias", {width});
  call.eps = args.number("eps", 0, 1);
  call.out = args.output("out", {rows, width}, out_stored);
  call.mean = args.optional_output("mean", {rows});
  call.rstd = args.optional_output("rstd", {rows});
  args.finish();
  call.rows = rows;
  call.width = width;
  call.x_stored = x_stored;
  call.out_stored = out_stored;
  args.stream().submit(Kernel::layer_norm_forward, call);
}

void layer_norm_backward(Args& args) {
  Dim rows, width;
  Stored x_stored, out_stored, dx_stored;
  LayerNormBackward call{};
  call.x = args.input("x", {rows, width}, x_stored);
  call.weight = args.input("weight", {width});
  call.mean = args.input("mean", {rows});
  call.rstd = args.input("rstd", {rows});
  call.dout = args.input("dout", {rows, width}, out_stored);
  call.dx = args.optional_output("dx", {rows, width}, dx_stored);
  call.accumulate_dx = args.flag("accumulate_dx");
  call.dweight = args.output("dweight", {width});
  call.dbias = args.output("dbias", {width});
  args.finish();
  call.rows = rows;
  call.width = width;
  call.x_stored = x_stored;
  call.out_stored = out_stored;
  call.dx_stored = dx_stored;
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
