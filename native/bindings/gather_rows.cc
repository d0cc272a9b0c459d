#include "ops/gather_rows.h"

#include <cstdint>
#include <string>

#include "bindings/args.h"
#include "bindings/bindings.h"

namespace seqrisk {
namespace {

void gather_rows_forward(Args& args) {
  Dim rows, count, width;
  GatherRowsForward call{};
  call.x = args.input("x", {rows, width});
  call.index = args.input_ids("index", {count});
  call.out = args.output("out", {count, width});
  args.finish();
  call.rows = rows;
  call.count = count;
  call.width = width;
  call.fault = args.stream().fault();
  args.stream().submit(Kernel::gather_rows_forward, call);
}

void gather_rows_backward(Args& args) {
  Dim rows, count, width;
  GatherRowsBackward call{};
  call.index = args.input_ids("index", {count});
  call.dout = args.input("dout", {count, width});
  call.dx = args.output("dx", {rows, width});
  call.accumulate_dx = args.flag("accumulate_dx");
  call.ascending = args.flag("ascending");
  args.finish();
  if (count > INT32_MAX) args.refuse("at most 2147483647 rows of dout", std::to_string(count));
  const Scratch scratch = args.scratch(gather_rows_backward_scratch(rows, count));
  call.scratch = reinterpret_cast<int32_t*>(scratch.bytes());
  call.rows = rows;
  call.count = count;
  call.width = width;
  call.fault = args.stream().fault();
  args.stream().submit(Kernel::gather_rows_backward, call);
}

}  // namespace

void register_gather_rows(Napi::Object& exports) {
  add_op<gather_rows_forward>(exports, "gather_rows_forward");
  add_op<gather_rows_backward>(exports, "gather_rows_backward");
}

}  // namespace seqrisk
