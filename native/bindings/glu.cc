#include "ops/glu.h"

#include "bindings/args.h"
#include "bindings/bindings.h"

namespace seqrisk {
namespace {

void glu_forward(Args& args) {
  Dim rows, width;
  GluForward call{};
  call.out = args.output("out", {rows, width});
  call.x = args.input("x", {rows, 2 * width});
  args.finish();
  call.rows = rows;
  call.width = width;
  args.stream().submit(Kernel::glu_forward, call);
}

void glu_backward(Args& args) {
  Dim rows, width;
  GluBackward call{};
  call.dout = args.input("dout", {rows, width});
  call.x = args.input("x", {rows, 2 * width});
  call.dx = args.output("dx", {rows, 2 * width});
  call.accumulate_dx = args.flag("accumulate_dx");
  args.finish();
  call.rows = rows;
  call.width = width;
  args.stream().submit(Kernel::glu_backward, call);
}

}  // namespace

void register_glu(Napi::Object& exports) {
  add_op<glu_forward>(exports, "glu_forward");
  add_op<glu_backward>(exports, "glu_backward");
}

}  // namespace seqrisk
