#include "ops/linear.h"

#include "bindings/args.h"
#include "bindings/bindings.h"

namespace seqrisk {
namespace {

Activation activation(Args& args) {
  return static_cast<Activation>(args.integer("activation", 0, static_cast<int64_t>(Activation::kGelu)));
}

void expect_features(const Args& args, int64_t in_features, int64_t out_features) {
  if (in_features < 1 || out_features < 1) {
    args.refuse("weight of at least one row and column",
                "(" + std::to_string(out_features) + ", " + std::to_string(in_features) + ")");
  }
}

void linear_pack(Args& args) {
  Dim in_features, out_features;
  LinearPack call{};
  call.weight = args.input("weight", {out_features, in_features});
  call.packed = args.output("packed", {linear_padded(out_features), in_features});
  args.finish();
  expect_features(args, in_features, out_features);
  call.in_features = in_features;
  call.out_features = out_features;
  args.stream().submit(Kernel::linear_pack, call);
}

void linear_forward(Args& args) {
  Dim rows, in_features, out_features;
  Stored x_stored, out_stored;
  LinearForward call{};
  call.x = args.input("x", {rows, in_features}, x_stored);
  call.weight = args.input("weight", {out_features, in_features});
  call.packed = args.optional_input("packed", {linear_padded(out_features), in_features});
  call.bias = args.optional_input("bias", {out_features});
  call.activation = activation(args);
  call.residual = args.optional_input("residual", {rows, out_features}, out_stored);
  call.out = args.output("out", {rows, out_features}, out_stored);
  call.saved = args.optional_output("saved", {rows, out_features}, x_stored);
  args.finish();
  expect_features(args, in_features, out_features);
  call.rows = rows;
  call.x_stored = x_stored;
  call.out_stored = out_stored;
  call.in_features = in_features;
  call.out_features = out_features;
  call.x_stride = in_features;
  call.out_stride = out_features;
  call.residual_stride = out_features;
  const Scratch scratch = args.scratch(call.packed ? 0 : linear_packed_bytes(in_features, out_features));
  call.scratch = scratch.floats();
  args.stream().submit(Kernel::linear_forward, call);
}

void linear_backward(Args& args) {
  Dim rows, in_features, out_features;
  Stored x_stored, out_stored, dx_stored;
  LinearBackward call{};
  call.x = args.input("x", {rows, in_features}, x_stored);
  call.weight = args.input("weight", {out_features, in_features});
  call.activation = activation(args);
  call.saved = args.optional_input("saved", {rows, out_features}, x_stored);
  call.dout = args.input("dout", {rows, out_features}, out_stored);
  call.dx = args.optional_output("dx", {rows, in_features}, dx_stored);
  call.accumulate_dx = args.flag("accumulate_dx");
  call.dweight = args.optional_output("dweight", {out_features, in_features});
  call.dbias = args.optional_output("dbias", {out_features});
  call.dresidual = args.optional_output("dresidual", {rows, out_features}, out_stored);
  if (call.dx == call.dresidual) {
    args.allow_alias(call.dx, call.dresidual);
  }
  args.finish();
  expect_features(args, in_features, out_features);
  if (call.activation != Activation::kNone && !call.saved) args.refuse("saved with an activation", "none");
  call.rows = rows;
  call.x_stored = x_stored;
  call.out_stored = out_stored;
  call.dx_stored = dx_stored;
  call.in_features = in_features;
  call.out_features = out_features;
  call.x_stride = in_features;
  call.dout_stride = out_features;
  call.dx_stride = in_features;
  const Scratch scratch = args.scratch(linear_backward_scratch(rows, in_features, out_features));
  call.scratch = scratch.floats();
  args.stream().submit(Kernel::linear_backward, call);
}

}  // namespace

void register_linear(Napi::Object& exports) {
  add_op<linear_pack>(exports, "linear_pack");
  add_op<linear_forward>(exports, "linear_forward");
  add_op<linear_backward>(exports, "linear_backward");
}

}  // namespace seqrisk
