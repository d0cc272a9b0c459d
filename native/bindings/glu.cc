#include "ops/glu.h"

#include "bindings/args.h"
#include "bindings/bindings.h"

namespace seqrisk {
namespace {

void glu_forward(Args& args) {
  Dim rows, width;
  Stored stored;
  GluForward call{};
  call.out = args.output("out", {rows, width}, stored);
  call.x = args.input("x", {rows, 2 * width}, stored);
  args.finish();
  call.rows = rows;
  call.width = width;
  call.stored = stored;
  args.stream().submit(Kernel::glu_forward, call);
}

void glu_backward(Args& args) {
  Dim rows, width;
  Stored stored;
  GluBackward call{};
  call.dout = args.input("dout", {rows, width}, stored);
  call.x = args.input("x", {rows, 2 * width}, stored);
  call.dx = args.output("dx", {rows, 2 * width}, stored);
  call.accumulate_dx = args.flag("accumulate_dx");
  args.finish();
  call.rows = rows;
  call.width = width;
  call.stored = stored;
  args.stream().submit(Kernel::glu_backward, call);
}

}  // namespace

void register_glu(Napi::Object& exports) {
  add_op<glu_forward>(exports, "glu_forward");
  add_op<glu_backward>(exports, "glu_backward");
}

}  // namespace seqrisk
