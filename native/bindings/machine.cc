#include "ops/machine.h"

#include <cstdint>

#include "bindings/args.h"
#include "bindings/bindings.h"

namespace seqrisk {
namespace {

void machine_peak(Args& args) {
  MachinePeak call{};
  call.tasks = args.integer("tasks", 1, 4096);
  call.rounds = args.integer("rounds", 1, int64_t{1} << 32);
  call.sums = args.output("sums", {call.tasks * kMachineFloatsMax});
  call.multiply_adds = args.output("multiplyAdds", {1});
  args.finish();
  args.stream().submit(Kernel::machine_peak, call);
}

void machine_update(Args& args) {
  MachineUpdate call{};
  call.tasks = args.integer("tasks", 1, 4096);
  call.rounds = args.integer("rounds", 1, int64_t{1} << 32);
  call.sums = args.output_ids("sums", {call.tasks});
  args.finish();
  args.stream().submit(Kernel::machine_update, call);
}

void machine_copy(Args& args) {
  Dim count;
  MachineCopy call{};
  call.x = args.input("x", {count});
  call.out = args.output("out", {count});
  if (reinterpret_cast<uintptr_t>(call.out) % 64 != 0) args.refuse("out on a 64-byte boundary", "a view inside one");
  args.finish();
  call.count = count;
  args.stream().submit(Kernel::machine_copy, call);
}

}  // namespace

void register_machine(Napi::Object& exports) {
  add_op<machine_peak>(exports, "machine_peak");
  add_op<machine_copy>(exports, "machine_copy");
  add_op<machine_update>(exports, "machine_update");
}

}  // namespace seqrisk
