#include "ops/softmax_cross_entropy.h"

#include "bindings/args.h"
#include "bindings/bindings.h"

namespace seqrisk {
namespace {

void softmax_cross_entropy_forward(Args& args) {
  Dim rows, classes;
  SoftmaxCrossEntropyForward call{};
  call.logits = args.input("logits", {rows, classes});
  call.targets = args.input_ids("targets", {rows});
  call.weights = args.optional_input("weights", {rows});
  call.loss = args.output("loss", {1});
  call.correct = args.output("correct", {1});
  call.row_max = args.optional_output("row_max", {rows});
  call.row_sum = args.optional_output("row_sum", {rows});
  call.total = args.optional_output("total", {1});
  args.finish();
  if (classes < 1) args.refuse("at least one class", "logits of 0 classes");
  call.rows = rows;
  call.classes = classes;
  call.fault = args.stream().fault();
  const Scratch scratch = args.scratch(softmax_cross_entropy_forward_scratch(rows, classes));
  call.scratch = reinterpret_cast<double*>(scratch.bytes());
  args.stream().submit(Kernel::softmax_cross_entropy_forward, call);
}

void softmax_cross_entropy_backward(Args& args) {
  Dim rows, classes;
  SoftmaxCrossEntropyBackward call{};
  call.logits = args.input("logits", {rows, classes});
  call.targets = args.input_ids("targets", {rows});
  call.weights = args.optional_input("weights", {rows});
  call.row_max = args.input("row_max", {rows});
  call.row_sum = args.input("row_sum", {rows});
  call.total = args.input("total", {1});
  call.dout = args.input("dout", {1});
  call.dlogits = args.output("dlogits", {rows, classes});
  call.accumulate_dlogits = args.flag("accumulate_dlogits");
  args.finish();
  if (classes < 1) args.refuse("at least one class", "logits of 0 classes");
  call.rows = rows;
  call.classes = classes;
  args.stream().submit(Kernel::softmax_cross_entropy_backward, call);
}

}  // namespace

void register_softmax_cross_entropy(Napi::Object& exports) {
  add_op<softmax_cross_entropy_forward>(exports, "softmax_cross_entropy_forward");
  add_op<softmax_cross_entropy_backward>(exports, "softmax_cross_entropy_backward");
}

}  // namespace seqrisk
