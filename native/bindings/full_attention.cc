#include "ops/full_attention.h"

#include "bindings/attention_args.h"
#include "bindings/bindings.h"

namespace seqrisk {
namespace {

// Reads what both directions start with: qkv, offsets, heads. Returns the scratch bytes they need.
template <class Call>
size_t read_problem(Args& args, Call& call, Dim& events, Stored& stored) {
  Dim columns;
  call.qkv = args.input("qkv", {events, columns}, stored);
  call.packing = args.offsets("offsets", events);
  call.heads = args.integer("heads", 1, kMaxHeads);
  call.width = attention_width(args, "qkv", columns, 3, call.heads);
  return attention_scratch_of(args, call.width / call.heads);
}

void full_attention_forward(Args& args) {
  Dim events;
  Stored stored;
  FullAttentionForward call{};
  const size_t bytes = read_problem(args, call, events, stored);
  call.out = args.output("out", {events, call.width}, stored);
  call.lse = args.optional_output("lse", {events, call.heads});
  args.finish();
  call.stored = stored;
  const Scratch scratch = args.scratch(bytes);
  call.scratch = scratch.floats();
  args.stream().submit(Kernel::full_attention_forward, call);
}

void full_attention_backward(Args& args) {
  Dim events;
  Stored stored;
  FullAttentionBackward call{};
  const size_t bytes = read_problem(args, call, events, stored);
  call.out = args.input("out", {events, call.width}, stored);
  call.lse = args.input("lse", {events, call.heads});
  call.dout = args.input("dout", {events, call.width}, stored);
  call.dqkv = args.output("dqkv", {events, 3 * call.width}, stored);
  call.accumulate_dqkv = args.flag("accumulate_dqkv");
  args.finish();
  call.stored = stored;
  const Scratch scratch = args.scratch(bytes);
  call.scratch = scratch.floats();
  args.stream().submit(Kernel::full_attention_backward, call);
}

}  // namespace

void register_full_attention(Napi::Object& exports) {
  add_op<full_attention_forward>(exports, "full_attention_forward");
  add_op<full_attention_backward>(exports, "full_attention_backward");
}

}  // namespace seqrisk
