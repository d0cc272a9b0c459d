#include "ops/block_attention.h"

#include "bindings/attention_args.h"
#include "bindings/bindings.h"

namespace seqrisk {
namespace {

constexpr int64_t kMaxBlock = (int64_t{1} << 31) - 1;

// Reads what both directions start with: qkv, offsets, heads, block, shift. Returns the scratch bytes they need.
template <class Call>
size_t read_problem(Args& args, Call& call, Dim& events, Stored& stored) {
  Dim columns;
  call.qkv = args.input("qkv", {events, columns}, stored);
  call.packing = args.offsets("offsets", events);
  call.heads = args.integer("heads", 1, kMaxHeads);
  call.block = args.integer("block", 1, kMaxBlock);
  call.shift = args.flag("shift");
  call.width = attention_width(args, "qkv", columns, 3, call.heads);
  return attention_scratch_of(args, call.width / call.heads);
}

void block_attention_forward(Args& args) {
  Dim events;
  Stored stored;
  BlockAttentionForward call{};
  const size_t bytes = read_problem(args, call, events, stored);
  call.out = args.output("out", {events, call.width}, stored);
  call.lse = args.optional_output("lse", {events, call.heads});
  args.finish();
  call.stored = stored;
  const Scratch scratch = args.scratch(bytes);
  call.scratch = scratch.floats();
  args.stream().submit(Kernel::block_attention_forward, call);
}

void block_attention_backward(Args& args) {
  Dim events;
  Stored stored;
  BlockAttentionBackward call{};
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
  args.stream().submit(Kernel::block_attention_backward, call);
}

}  // namespace

void register_block_attention(Napi::Object& exports) {
  add_op<block_attention_forward>(exports, "block_attention_forward");
  add_op<block_attention_backward>(exports, "block_attention_backward");
}

}  // namespace seqrisk
