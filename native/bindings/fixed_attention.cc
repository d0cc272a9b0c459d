#include "ops/fixed_attention.h"

#include "bindings/attention_args.h"
#include "bindings/bindings.h"

namespace seqrisk {
namespace {

constexpr int64_t kMaxSlots = 1 << 20;

// What both directions of the write start with: queries, kv, offsets, heads.
template <class Call>
void read_write_problem(Args& args, Call& call, Dim& events, Stored& stored) {
  Dim slots, width, columns;
  call.queries = args.input("queries", {slots, width});
  call.kv = args.input("kv", {events, columns}, stored);
  call.packing = args.offsets("offsets", events);
  call.heads = args.integer("heads", 1, kMaxHeads);
  call.width = attention_width(args, "queries", width, 1, call.heads);
  if (columns != 2 * call.width) {
    args.refuse("kv of " + std::to_string(2 * call.width) + " columns, twice those of queries",
                std::to_string(columns));
  }
  if (slots < 1 || slots > kMaxSlots) {
    args.refuse("1 to " + std::to_string(kMaxSlots) + " queries", std::to_string(slots));
  }
  call.slots = slots;
}

void fixed_attention_write_forward(Args& args) {
  Dim events;
  Stored stored;
  FixedAttentionWriteForward call{};
  read_write_problem(args, call, events, stored);
  const int64_t rows = call.packing.sequences * call.slots;
  call.memory = args.output("memory", {rows, call.width}, stored);
  call.lse = args.optional_output("lse", {rows, call.heads});
  args.finish();
  call.stored = stored;
  const Scratch scratch = args.scratch(attention_scratch_of(args, call.width / call.heads));
  const Scratch partials = args.scratch(fixed_attention_partials(call.packing, call.slots, call.width + call.heads));
  call.scratch = scratch.floats();
  call.partials = partials.floats();
  args.stream().submit(Kernel::fixed_attention_write_forward, call);
}

void fixed_attention_write_backward(Args& args) {
  Dim events;
  Stored stored;
  FixedAttentionWriteBackward call{};
  read_write_problem(args, call, events, stored);
  const int64_t rows = call.packing.sequences * call.slots;
  call.memory = args.input("memory", {rows, call.width}, stored);
  call.lse = args.input("lse", {rows, call.heads});
  call.dmemory = args.input("dmemory", {rows, call.width}, stored);
  call.dqueries = args.optional_output("dqueries", {call.slots, call.width});
  call.dkv = args.optional_output("dkv", {events, 2 * call.width}, stored);
  call.accumulate_dkv = args.flag("accumulate_dkv");
  args.finish();
  call.stored = stored;
  const Scratch scratch = args.scratch(attention_scratch_of(args, call.width / call.heads));
  const Scratch partials =
      args.scratch(call.dqueries ? fixed_attention_query_partials(call.packing, call.slots, call.width) : 0);
  call.scratch = scratch.floats();
  call.partials = partials.floats();
  args.stream().submit(Kernel::fixed_attention_write_backward, call);
}

// What both directions of the read start with: q, kv, offsets, heads, slots.
template <class Call>
void read_read_problem(Args& args, Call& call, Dim& events, Stored& stored) {
  Dim width, rows, columns;
  call.q = args.input("q", {events, width}, stored);
  call.kv = args.input("kv", {rows, columns}, stored);
  call.packing = args.offsets("offsets", events);
  call.heads = args.integer("heads", 1, kMaxHeads);
  call.slots = args.integer("slots", 1, kMaxSlots);
  call.width = attention_width(args, "q", width, 1, call.heads);
  const int64_t wanted = call.packing.sequences * call.slots;
  if (rows != wanted || columns != 2 * call.width) {
    args.refuse("kv of shape " + describe_shape({wanted, 2 * call.width}) + ", slots for every sequence",
                describe_shape({rows, columns}));
  }
}

void fixed_attention_read_forward(Args& args) {
  Dim events;
  Stored stored;
  FixedAttentionReadForward call{};
  read_read_problem(args, call, events, stored);
  call.out = args.output("out", {events, call.width}, stored);
  call.lse = args.optional_output("lse", {events, call.heads});
  args.finish();
  call.stored = stored;
  const Scratch scratch = args.scratch(attention_scratch_of(args, call.width / call.heads));
  call.scratch = scratch.floats();
  args.stream().submit(Kernel::fixed_attention_read_forward, call);
}

void fixed_attention_read_backward(Args& args) {
  Dim events;
  Stored stored;
  FixedAttentionReadBackward call{};
  read_read_problem(args, call, events, stored);
  call.out = args.input("out", {events, call.width}, stored);
  call.lse = args.input("lse", {events, call.heads});
  call.dout = args.input("dout", {events, call.width}, stored);
  call.dq = args.optional_output("dq", {events, call.width}, stored);
  call.accumulate_dq = args.flag("accumulate_dq");
  call.dkv = args.optional_output("dkv", {call.packing.sequences * call.slots, 2 * call.width}, stored);
  call.accumulate_dkv = args.flag("accumulate_dkv");
  args.finish();
  call.stored = stored;
  const Scratch scratch = args.scratch(attention_scratch_of(args, call.width / call.heads));
  const Scratch partials =
      args.scratch(call.dkv ? fixed_attention_partials(call.packing, call.slots, 2 * call.width) : 0);
  call.scratch = scratch.floats();
  call.partials = partials.floats();
  args.stream().submit(Kernel::fixed_attention_read_backward, call);
}

}  // namespace

void register_fixed_attention(Napi::Object& exports) {
  add_op<fixed_attention_write_forward>(exports, "fixed_attention_write_forward");
  add_op<fixed_attention_write_backward>(exports, "fixed_attention_write_backward");
  add_op<fixed_attention_read_forward>(exports, "fixed_attention_read_forward");
  add_op<fixed_attention_read_backward>(exports, "fixed_attention_read_backward");
}

}  // namespace seqrisk
