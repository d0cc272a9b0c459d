#include "ops/pair_contrastive.h"

#include "bindings/args.h"
#include "bindings/bindings.h"

namespace seqrisk {
namespace {

void pair_contrastive_forward(Args& args) {
  Dim pairs;
  PairContrastiveForward call{};
  call.scores = args.input("scores", {pairs, pairs});
  call.entity = args.input_ids("entity", {pairs});
  call.inverse_temperature = args.number("inverse_temperature", 1e-6, 1e6);
  call.is_binary = args.flag("is_binary");
  call.loss = args.output("loss", {1});
  call.correct = args.output("correct", {1});
  call.stats = args.output("stats", {4, pairs});
  call.count = args.output("count", {1});
  args.finish();
  call.pairs = pairs;
  const Scratch scratch = args.scratch(pair_contrastive_forward_scratch(pairs));
  call.scratch = reinterpret_cast<double*>(scratch.bytes());
  args.stream().submit(Kernel::pair_contrastive_forward, call);
}

void pair_contrastive_backward(Args& args) {
  Dim pairs;
  PairContrastiveBackward call{};
  call.scores = args.input("scores", {pairs, pairs});
  call.entity = args.input_ids("entity", {pairs});
  call.inverse_temperature = args.number("inverse_temperature", 1e-6, 1e6);
  call.is_binary = args.flag("is_binary");
  call.stats = args.input("stats", {4, pairs});
  call.count = args.input("count", {1});
  call.dout = args.input("dout", {1});
  call.dscores = args.output("dscores", {pairs, pairs});
  call.accumulate_dscores = args.flag("accumulate_dscores");
  args.finish();
  call.pairs = pairs;
  args.stream().submit(Kernel::pair_contrastive_backward, call);
}

}  // namespace

void register_pair_contrastive(Napi::Object& exports) {
  add_op<pair_contrastive_forward>(exports, "pair_contrastive_forward");
  add_op<pair_contrastive_backward>(exports, "pair_contrastive_backward");
}

}  // namespace seqrisk
