#include "ops/pool.h"

#include "bindings/args.h"
#include "bindings/bindings.h"

namespace seqrisk {
namespace {

void pool_forward(Args& args) {
  Dim events, width;
  PoolForward call{};
  call.mode = static_cast<PoolMode>(args.integer("mode", 0, 2));
  call.x = args.input("x", {events, width});
  call.packing = args.offsets("offsets", events);
  Dim sequences = call.packing.sequences;
  call.out = args.output("out", {sequences, width});
  call.argmax = args.optional_output_ids("argmax", {sequences, width});
  args.finish();
  call.width = width;
  args.stream().submit(Kernel::pool_forward, call);
}

void pool_backward(Args& args) {
  Dim events, width;
  Stored dx_stored;
  PoolBackward call{};
  call.mode = static_cast<PoolMode>(args.integer("mode", 0, 2));
  call.packing = args.offsets("offsets", events);
  Dim sequences = call.packing.sequences;
  call.dout = args.input("dout", {sequences, width});
  if (call.mode == PoolMode::max) {
    call.argmax = args.input_ids("argmax", {sequences, width});
  } else {
    call.argmax = args.optional_input_ids("argmax", {sequences, width});
  }
  call.dx = args.output("dx", {events, width}, dx_stored);
  call.accumulate_dx = args.flag("accumulate_dx");
  args.finish();
  call.width = width;
  call.dx_stored = dx_stored;
  args.stream().submit(Kernel::pool_backward, call);
}

}  // namespace

void register_pool(Napi::Object& exports) {
  add_op<pool_forward>(exports, "pool_forward");
  add_op<pool_backward>(exports, "pool_backward");
}

}  // namespace seqrisk
