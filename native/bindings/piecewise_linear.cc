#include "ops/piecewise_linear.h"

#include "bindings/args.h"
#include "bindings/bindings.h"

namespace seqrisk {
namespace {

constexpr int64_t kMostKnots = 1 << 16;

void piecewise_linear_forward(Args& args) {
  Dim rows, width;
  PiecewiseLinearForward call{};
  call.x = args.input("x", {rows, width});
  call.num_knots = args.integer("num_knots", 1, kMostKnots);
  call.knots = args.input("knots", {call.num_knots, width});
  call.slopes = args.input("slopes", {call.num_knots + 1, width});
  call.offset = args.input("offset", {width});
  call.out = args.output("out", {rows, width});
  args.finish();
  call.rows = rows;
  call.width = width;
  args.stream().submit(Kernel::piecewise_linear_forward, call);
}

void piecewise_linear_backward(Args& args) {
  Dim rows, width;
  PiecewiseLinearBackward call{};
  call.x = args.input("x", {rows, width});
  call.num_knots = args.integer("num_knots", 1, kMostKnots);
  call.knots = args.input("knots", {call.num_knots, width});
  call.slopes = args.input("slopes", {call.num_knots + 1, width});
  call.dout = args.input("dout", {rows, width});
  call.dx = args.output("dx", {rows, width});
  call.accumulate_dx = args.flag("accumulate_dx");
  args.finish();
  call.rows = rows;
  call.width = width;
  args.stream().submit(Kernel::piecewise_linear_backward, call);
}

}  // namespace

void register_piecewise_linear(Napi::Object& exports) {
  add_op<piecewise_linear_forward>(exports, "piecewise_linear_forward");
  add_op<piecewise_linear_backward>(exports, "piecewise_linear_backward");
}

}  // namespace seqrisk
