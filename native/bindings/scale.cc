#include "ops/scale.h"

#include <cfloat>

#include "bindings/args.h"
#include "bindings/bindings.h"

namespace seqrisk {
namespace {

void scale_forward(Args& args) {
  Dim count;
  Stored x_stored, out_stored;
  ScaleForward call{};
  call.x = args.input_flat("x", count, x_stored);
  call.factor = args.number("factor", -FLT_MAX, FLT_MAX);
  call.out = args.output_flat("out", count, out_stored);
  call.accumulate = args.flag("accumulate");
  args.allow_alias(call.out, call.x);
  args.finish();
  call.count = count;
  call.x_stored = x_stored;
  call.out_stored = out_stored;
  args.stream().submit(Kernel::scale_forward, call);
}

}  // namespace

void register_scale(Napi::Object& exports) {
  add_op<scale_forward>(exports, "scale_forward");
}

}  // namespace seqrisk
