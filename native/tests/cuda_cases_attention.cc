// Cases of the attention ops.
#include "tests/cuda_cases.h"

namespace seqrisk::parity {
namespace {

// Gradients of queries may cancel to nothing, where a query meets one key alone: their terms are of size 1.
constexpr double kTerms = 1;

struct Shape {
  Batch batch;
  int64_t heads;
  int64_t head_dim;
  int64_t block;  // 0: whole sequences
  bool shift;
  int64_t slots;

  int64_t width() const { return heads * head_dim; }
};

std::string label_of(const Shape& s) {
  return std::string(s.batch.name) + ", " +
         label({"heads", "head_dim", "block", "shift", "slots"}, s.heads, s.head_dim, s.block, s.shift, s.slots);
}

template <class Arguments>
void set_blocks(Arguments& a, const Shape& s) {
  if constexpr (requires { a.block; }) {
    a.block = s.block;
    a.shift = s.shift;
  }
}

template <class Forward>
Forward self_of(Side& side, const Shape& s, bool kept) {
  Forward a{};
  a.packing = side.packing(s.batch.lengths);
  const int64_t events = a.packing.events;
  a.stored = side.stored();
  a.qkv = side.activations(events * 3 * s.width());
  a.out = side.output("out", events * s.width(), side.products(), a.stored);
  a.lse = kept ? side.output("lse", events * s.heads, side.products()) : nullptr;
  a.scratch = side.scratch(attention_scratch(s.head_dim) * static_cast<size_t>(side.workers()));
  a.width = s.width();
  a.heads = s.heads;
  set_blocks(a, s);
  return a;
}

template <class Backward, class Forward>
Backward self_backward_of(Side& side, const Shape& s, bool accumulate,
                          void (*const KernelTable::*cpu)(const Forward&, Workers&),
                          void (*const cuda::LauncherTable::*launcher)(const Forward&, cuda::Launch&)) {
  Side host = side.before();
  const auto f = self_of<Forward>(host, s, true);
  host.run(cpu, launcher, f);
  Backward a{};
  a.packing = side.packing(s.batch.lengths);
  const int64_t events = a.packing.events;
  a.stored = side.stored();
  a.qkv = side.input(f.qkv, events * 3 * s.width(), a.stored);
  a.out = side.input(f.out, events * s.width(), a.stored);
  a.lse = side.input(f.lse, events * s.heads);
  a.dout = side.activations(events * s.width());
  a.dqkv = side.result("dqkv", events * 3 * s.width(), accumulate, side.products(), a.stored);
  a.scratch = side.scratch(attention_scratch(s.head_dim) * static_cast<size_t>(side.workers()));
  a.width = s.width();
  a.heads = s.heads;
  a.accumulate_dqkv = accumulate;
  set_blocks(a, s);
  return a;
}

FixedAttentionWriteForward write_of(Side& side, const Shape& s, bool kept) {
  FixedAttentionWriteForward a{};
  a.packing = side.packing(s.batch.lengths);
  const int64_t rows = a.packing.sequences * s.slots;
  a.queries = side.normals(s.slots * s.width());
  a.stored = side.stored();
  a.kv = side.activations(a.packing.events * 2 * s.width());
  a.memory = side.output("memory", rows * s.width(), side.products(), a.stored);
  a.lse = kept ? side.output("lse", rows * s.heads, side.products()) : nullptr;
  a.scratch = side.scratch(attention_scratch(s.head_dim) * static_cast<size_t>(side.workers()));
  a.partials = side.scratch(fixed_attention_partials(a.packing, s.slots, s.width() + s.heads));
  a.width = s.width();
  a.heads = s.heads;
  a.slots = s.slots;
  return a;
}

// Variant: 0 assigns, 1 accumulates, 2 leaves the queries' gradient out, 3 that of keys and values.
FixedAttentionWriteBackward write_backward_of(Side& side, const Shape& s, int variant) {
  Side host = side.before();
  const FixedAttentionWriteForward f = write_of(host, s, true);
  host.run(&KernelTable::fixed_attention_write_forward, &cuda::LauncherTable::fixed_attention_write_forward, f);
  FixedAttentionWriteBackward a{};
  a.packing = side.packing(s.batch.lengths);
  const int64_t rows = a.packing.sequences * s.slots;
  const int64_t keys = a.packing.events * 2 * s.width();
  a.queries = side.input(f.queries, s.slots * s.width());
  a.stored = side.stored();
  a.kv = side.input(f.kv, keys, a.stored);
  a.memory = side.input(f.memory, rows * s.width(), a.stored);
  a.lse = side.input(f.lse, rows * s.heads);
  a.dmemory = side.activations(rows * s.width());
  a.accumulate_dkv = variant == 1;
  a.dqueries = variant == 2 ? nullptr : side.added("dqueries", s.slots * s.width(), side.products(kTerms));
  a.dkv = variant == 3 ? nullptr : side.result("dkv", keys, a.accumulate_dkv, side.products(), a.stored);
  a.scratch = side.scratch(attention_scratch(s.head_dim) * static_cast<size_t>(side.workers()));
  a.partials = side.scratch(a.dqueries ? fixed_attention_query_partials(a.packing, s.slots, s.width()) : 0);
  a.width = s.width();
  a.heads = s.heads;
  a.slots = s.slots;
  return a;
}

FixedAttentionReadForward read_of(Side& side, const Shape& s, bool kept) {
  FixedAttentionReadForward a{};
  a.packing = side.packing(s.batch.lengths);
  a.stored = side.stored();
  a.q = side.activations(a.packing.events * s.width());
  a.kv = side.activations(a.packing.sequences * s.slots * 2 * s.width());
  a.out = side.output("out", a.packing.events * s.width(), side.products(), a.stored);
  a.lse = kept ? side.output("lse", a.packing.events * s.heads, side.products()) : nullptr;
  a.scratch = side.scratch(attention_scratch(s.head_dim) * static_cast<size_t>(side.workers()));
  a.width = s.width();
  a.heads = s.heads;
  a.slots = s.slots;
  return a;
}

FixedAttentionReadBackward read_backward_of(Side& side, const Shape& s, int variant) {
  Side host = side.before();
  const FixedAttentionReadForward f = read_of(host, s, true);
  host.run(&KernelTable::fixed_attention_read_forward, &cuda::LauncherTable::fixed_attention_read_forward, f);
  FixedAttentionReadBackward a{};
  a.packing = side.packing(s.batch.lengths);
  const int64_t events = a.packing.events;
  const int64_t keys = a.packing.sequences * s.slots * 2 * s.width();
  a.stored = side.stored();
  a.q = side.input(f.q, events * s.width(), a.stored);
  a.kv = side.input(f.kv, keys, a.stored);
  a.out = side.input(f.out, events * s.width(), a.stored);
  a.lse = side.input(f.lse, events * s.heads);
  a.dout = side.activations(events * s.width());
  a.accumulate_dq = variant == 1;
  a.accumulate_dkv = variant == 1;
  a.dq = variant == 2 ? nullptr : side.result("dq", events * s.width(), variant == 1, side.products(kTerms), a.stored);
  a.dkv = variant == 3 ? nullptr : side.result("dkv", keys, variant == 1, side.products(), a.stored);
  a.scratch = side.scratch(attention_scratch(s.head_dim) * static_cast<size_t>(side.workers()));
  a.partials = side.scratch(a.dkv ? fixed_attention_partials(a.packing, s.slots, 2 * s.width()) : 0);
  a.width = s.width();
  a.heads = s.heads;
  a.slots = s.slots;
  return a;
}

void add_self(CaseTable& table, const Shape& s) {
  const std::string name = label_of(s);
  for (const bool other : {false, true}) {
    if (s.block == 0) {
      table.full_attention_forward.push_back({name + ", " + label({"kept"}, !other), [=](Side& side) {
                                                return self_of<FullAttentionForward>(side, s, !other);
                                              }});
      table.full_attention_backward.push_back({name + ", " + label({"accumulate"}, other), [=](Side& side) {
                                                 return self_backward_of<FullAttentionBackward>(
                                                     side, s, other, &KernelTable::full_attention_forward,
                                                     &cuda::LauncherTable::full_attention_forward);
                                               }});
    } else {
      table.block_attention_forward.push_back({name + ", " + label({"kept"}, !other), [=](Side& side) {
                                                 return self_of<BlockAttentionForward>(side, s, !other);
                                               }});
      table.block_attention_backward.push_back({name + ", " + label({"accumulate"}, other), [=](Side& side) {
                                                  return self_backward_of<BlockAttentionBackward>(
                                                      side, s, other, &KernelTable::block_attention_forward,
                                                      &cuda::LauncherTable::block_attention_forward);
                                                }});
    }
  }
}

void add_fixed(CaseTable& table, const Shape& s) {
  const std::string name = label_of(s);
  for (const bool kept : {true, false}) {
    const std::string full = name + ", " + label({"kept"}, kept);
    table.fixed_attention_write_forward.push_back({full, [=](Side& side) { return write_of(side, s, kept); }});
    table.fixed_attention_read_forward.push_back({full, [=](Side& side) { return read_of(side, s, kept); }});
  }
  for (int variant = 0; variant < 4; ++variant) {
    const std::string full = name + ", " + label({"variant"}, variant);
    table.fixed_attention_write_backward.push_back(
        {full, [=](Side& side) { return write_backward_of(side, s, variant); }});
    table.fixed_attention_read_backward.push_back(
        {full, [=](Side& side) { return read_backward_of(side, s, variant); }});
  }
}

}  // namespace

void add_attention_cases(CaseTable& table) {
  const Batch some{"some", {70, 0, 1, 5, 131}};
  bool shift = false;
  for (const int64_t head_dim : {1, 3, 8, 16, 17, 32, 36, 64, 80, 100, 128, 129, 192, 256}) {
    const int64_t heads = head_dim > 128 ? 1 : 2;
    shift = !shift;
    add_self(table, {some, heads, head_dim, 64, shift, 0});
    add_self(table, {some, heads, head_dim, 0, false, 0});
    add_fixed(table, {some, heads, head_dim, 0, false, 5});
  }
  for (const int64_t block : {1, 2, 7, 64, 65, 150, 300}) {
    for (const bool shifted : {false, true}) add_self(table, {{"one long", {700}}, 3, 16, block, shifted, 0});
  }
  for (const Batch& batch : batches()) {
    add_self(table, {batch, 2, 32, 64, true, 0});
    add_self(table, {batch, 3, 8, 5, true, 0});
    add_self(table, {batch, 2, 32, 0, false, 0});
  }
  for (const Batch& batch : batches(5000)) {
    for (const int64_t slots : {1, 16, 70}) add_fixed(table, {batch, 2, 8, 0, false, slots});
  }
  // As many events as a large sequence has.
  const Batch longest{"64 000 events", {64000}};
  add_self(table, {longest, 1, 32, 64, true, 0});
  add_fixed(table, {longest, 1, 32, 0, false, 16});
  // More than one sequence of several chunks, and slots beyond a tile.
  add_fixed(table, {{"two long", {2049, 0, 4097, 3}}, 1, 32, 0, false, 3});
  for (const int64_t slots : {64, 65, 129}) add_fixed(table, {some, 2, 16, 0, false, slots});
}

}  // namespace seqrisk::parity
