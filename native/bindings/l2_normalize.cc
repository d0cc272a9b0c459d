#include "ops/l2_normalize.h"

#include "bindings/args.h"
#include "bindings/bindings.h"

namespace seqrisk {
namespace {

void l2_normalize_forward(Args& args) {
  Dim rows, width;
  L2NormalizeForward call{};
  call.x = args.input("x", {rows, width});
  call.eps = args.number("eps", 1e-30, 1);
  call.out = args.output("out", {rows, width});
  call.scale = args.output("scale", {rows});
  args.finish();
  call.rows = rows;
  call.width = width;
  args.stream().submit(Kernel::l2_normalize_forward, call);
}

void l2_normalize_backward(Args& args) {
  Dim rows, width;
  L2NormalizeBackward call{};
  call.out = args.input("out", {rows, width});
  call.eps = args.number("eps", 1e-30, 1);
  call.scale = args.input("scale", {rows});
  call.dout = args.input("dout", {rows, width});
  call.dx = args.output("dx", {rows, width});
  call.accumulate_dx = args.flag("accumulate_dx");
  args.finish();
  call.rows = rows;
  call.width = width;
  args.stream().submit(Kernel::l2_normalize_backward, call);
}

}  // namespace

void register_l2_normalize(Napi::Object& exports) {
  add_op<l2_normalize_forward>(exports, "l2_normalize_forward");
  add_op<l2_normalize_backward>(exports, "l2_normalize_backward");
}

}  // namespace seqrisk
