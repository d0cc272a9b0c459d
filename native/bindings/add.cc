#include "ops/add.h"

#include "bindings/args.h"
#include "bindings/bindings.h"

namespace seqrisk {
namespace {

void add_forward(Args& args) {
  Dim count;
  Stored a_stored, b_stored;
  AddForward call{};
  call.a = args.input_flat("a", count, a_stored);
  call.b = args.input_flat("b", count, b_stored);
  call.out = args.output_flat("out", count, a_stored);
  args.allow_alias(call.out, call.a);
  args.allow_alias(call.out, call.b);
  args.finish();
  call.count = count;
  call.a_stored = a_stored;
  call.b_stored = b_stored;
  args.stream().submit(Kernel::add_forward, call);
}

}  // namespace

void register_add(Napi::Object& exports) {
  add_op<add_forward>(exports, "add_forward");
}

}  // namespace seqrisk
