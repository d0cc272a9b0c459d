#include "ops/unfold.h"

#include "bindings/args.h"
#include "bindings/bindings.h"

namespace seqrisk {
namespace {

template <class Call>
void read_window(Args& args, Call& call, Dim& events) {
  call.packing = args.offsets("offsets", events);
  call.width = args.integer("width", 1, kUnfoldMaxWidth);
  if (call.width % 2 == 0) args.refuse("an odd width", std::to_string(call.width));
  call.dilation = args.integer("dilation", 1, INT32_MAX);
  call.causal = args.flag("causal");
}

void unfold_forward(Args& args) {
  Dim events, channels;
  Stored stored;
  UnfoldForward call{};
  call.x = args.input("x", {events, channels}, stored);
  read_window(args, call, events);
  call.out = args.output("out", {events, call.width * channels}, stored);
  args.finish();
  call.channels = channels;
  call.stored = stored;
  args.stream().submit(Kernel::unfold_forward, call);
}

void unfold_backward(Args& args) {
  Dim events, channels;
  Stored stored;
  UnfoldBackward call{};
  call.dx = args.output("dx", {events, channels}, stored);
  read_window(args, call, events);
  call.dout = args.input("dout", {events, call.width * channels}, stored);
  call.accumulate_dx = args.flag("accumulate_dx");
  args.finish();
  call.channels = channels;
  call.stored = stored;
  args.stream().submit(Kernel::unfold_backward, call);
}

}  // namespace

void register_unfold(Napi::Object& exports) {
  add_op<unfold_forward>(exports, "unfold_forward");
  add_op<unfold_backward>(exports, "unfold_backward");
}

}  // namespace seqrisk
