#include "ops/gru.h"

#include "bindings/args.h"
#include "bindings/bindings.h"

namespace seqrisk {
namespace {

void gru_forward(Args& args) {
  Dim events, width;
  GruForward call{};
  call.out = args.output("out", {events, width});
  call.x = args.input("x", {events, 3 * width});
  call.weight = args.input("weight", {3 * width, width});
  call.bias = args.input("bias", {3 * width});
  call.packing = args.offsets("offsets", events);
  call.gates = args.optional_output("gates", {events, 4 * width});
  args.finish();
  if (width < 1) args.refuse("out of at least one column", "none");
  call.width = width;
  const Scratch scratch = args.scratch(gru_forward_scratch(call.packing.sequences, width, args.stream().threads()));
  call.scratch = scratch.floats();
  args.stream().submit(Kernel::gru_forward, call);
}

void gru_backward(Args& args) {
  Dim events, width;
  GruBackward call{};
  call.out = args.input("out", {events, width});
  call.weight = args.input("weight", {3 * width, width});
  call.packing = args.offsets("offsets", events);
  call.gates = args.input("gates", {events, 4 * width});
  call.dout = args.input("dout", {events, width});
  call.dx = args.output("dx", {events, 3 * width});
  call.accumulate_dx = args.flag("accumulate_dx");
  call.dhidden = args.output("dhidden", {events, 3 * width});
  call.previous = args.output("previous", {events, width});
  args.finish();
  if (width < 1) args.refuse("out of at least one column", "none");
  call.width = width;
  const Scratch scratch = args.scratch(gru_backward_scratch(call.packing.sequences, width, args.stream().threads()));
  call.scratch = scratch.floats();
  args.stream().submit(Kernel::gru_backward, call);
}

}  // namespace

void register_gru(Napi::Object& exports) {
  add_op<gru_forward>(exports, "gru_forward");
  add_op<gru_backward>(exports, "gru_backward");
}

}  // namespace seqrisk
