#include "ops/logistic.h"

#include "bindings/args.h"
#include "bindings/bindings.h"

namespace seqrisk {
namespace {

void logistic_gradient(Args& args) {
  Dim rows, width, problems, active, outputs;
  LogisticGradient call{};
  call.x = args.input("x", {rows, width});
  call.target = args.input_ids("target", {problems, rows});
  call.problem = args.input_ids("problem", {active});
  call.weight = args.input("weight", {active, outputs, width});
  call.loss = args.output("loss", {active, 2});
  call.gradient = args.output("gradient", {active, outputs, width});
  call.scores = args.optional_output("scores", {active, outputs, rows});
  args.finish();
  if (outputs < 1) args.refuse("at least one output", "none");
  // Without columns no memory would bound the number of outputs.
  if (width < 1) args.refuse("at least one column of x", "none");
  call.rows = rows;
  call.width = width;
  call.problems = problems;
  call.active = active;
  call.outputs = outputs;
  const Scratch scratch = args.scratch(logistic_gradient_scratch(rows, width, active, outputs));
  call.scratch = scratch.bytes();
  call.fault = args.stream().fault();
  args.stream().submit(Kernel::logistic_gradient, call);
}

}  // namespace

void register_logistic(Napi::Object& exports) {
  add_op<logistic_gradient>(exports, "logistic_gradient");
}

}  // namespace seqrisk
