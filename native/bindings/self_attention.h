// What the bindings of block_attention and full_attention have in common: both take queries, keys and values side by
// side.
#pragma once

#include "bindings/attention_args.h"

namespace seqrisk {

// Reads what both directions start with: qkv, offsets, heads, and by `read_own` what the op takes besides.
template <class Call, class ReadOwn>
void read_self_attention(Args& args, Call& call, Dim& events, Stored& stored, ReadOwn read_own) {
  Dim columns;
  call.qkv = args.input("qkv", {events, columns}, stored);
  call.packing = args.offsets("offsets", events);
  call.heads = args.integer("heads", 1, kMaxHeads);
  read_own(call);
  call.width = attention_width(args, "qkv", columns, 3, call.heads);
}

template <class Call>
void submit_self_attention(Args& args, Kernel kernel, Call& call, const Stored& stored) {
  args.finish();
  call.stored = stored;
  const Scratch scratch = args.scratch(attention_scratch_of(args, call.width / call.heads));
  call.scratch = scratch.floats();
  args.stream().submit(kernel, call);
}

template <class Call, class ReadOwn>
void self_attention_forward(Args& args, Kernel kernel, ReadOwn read_own) {
  Dim events;
  Stored stored;
  Call call{};
  read_self_attention(args, call, events, stored, read_own);
  call.out = args.output("out", {events, call.width}, stored);
  call.lse = args.optional_output("lse", {events, call.heads});
  submit_self_attention(args, kernel, call, stored);
}

template <class Call, class ReadOwn>
void self_attention_backward(Args& args, Kernel kernel, ReadOwn read_own) {
  Dim events;
  Stored stored;
  Call call{};
  read_self_attention(args, call, events, stored, read_own);
  call.out = args.input("out", {events, call.width}, stored);
  call.lse = args.input("lse", {events, call.heads});
  call.dout = args.input("dout", {events, call.width}, stored);
  call.dqkv = args.output("dqkv", {events, 3 * call.width}, stored);
  call.accumulate_dqkv = args.flag("accumulate_dqkv");
  submit_self_attention(args, kernel, call, stored);
}

}  // namespace seqrisk
