#include "ops/dropout.h"

#include "bindings/args.h"
#include "bindings/bindings.h"

namespace seqrisk {
namespace {

// The largest float below 1.
constexpr double kMaxRate = 0.99999994;

void dropout_forward(Args& args) {
  Dim count;
  Stored stored;
  DropoutForward call{};
  call.x = args.input_flat("x", count, stored);
  call.rate = args.number("rate", 0, kMaxRate);
  call.seed = args.seed("seed");
  call.offset = args.seed("offset");
  call.out = args.output_flat("out", count, stored);
  call.accumulate = args.flag("accumulate");
  args.allow_alias(call.out, call.x);
  args.finish();
  call.count = count;
  call.stored = stored;
  args.stream().submit(Kernel::dropout_forward, call);
}

}  // namespace

void register_dropout(Napi::Object& exports) {
  add_op<dropout_forward>(exports, "dropout_forward");
}

}  // namespace seqrisk
