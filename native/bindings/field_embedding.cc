#include "ops/field_embedding.h"

#include "bindings/args.h"
#include "bindings/bindings.h"

namespace seqrisk {
namespace {

constexpr int64_t kMaxFields = 4096;
constexpr int64_t kMaxWidth = int64_t{1} << 31;

// Reads `fields`: one array of the parts of all fields, each headed by its kind and width:
//   categorical: 0, dim, codes, table                  text:  2, dim, codes, word_offsets, table
//   numeric:     1, dim, codes, fraction, table        dense: 3, dim, values, and in the backward: accumulate
// In the backward, tables and values are gradients, and null skips one.
std::shared_ptr<std::vector<EmbeddingField>> read_fields(Args& args, Dim& events, Dim& width, bool concat,
                                                         bool backward) {
  const int64_t num_fields = args.integer("num_fields", 1, kMaxFields);
  auto fields = std::make_shared<std::vector<EmbeddingField>>(static_cast<size_t>(num_fields));
  const int64_t given = args.list_begin("fields");
  int64_t taken = 0;
  int64_t column = 0;
  for (EmbeddingField& field : *fields) {
    field.kind = static_cast<FieldKind>(args.integer("kind", 0, 3));
    Dim dim = args.integer("dim", 0, kMaxWidth);
    if (!concat && dim != width) args.refuse("a field " + std::to_string(width) + " wide", std::to_string(dim));
    Dim ids;
    taken += field.kind == FieldKind::numeric || field.kind == FieldKind::text ? 5 : 4;
    if (field.kind == FieldKind::text) {
      Dim words;
      field.codes = args.input_ids("codes", {words});
      const Packing packing = args.offsets("word_offsets", words);
      if (!events.bound()) events.bind(packing.sequences);
      if (packing.sequences != events) {
        args.refuse("word_offsets of " + std::to_string(events) + " events", std::to_string(packing.sequences));
      }
      field.word_offsets = packing.offsets;
    } else if (field.kind != FieldKind::dense) {
      field.codes = args.input_ids("codes", {events});
      if (field.kind == FieldKind::numeric) field.fraction = args.input("fraction", {events});
    }
    const bool dense = field.kind == FieldKind::dense;
    const char* name = dense ? "values" : "table";
    Dim& rows = dense ? events : ids;
    if (backward) {
      field.dtable = args.optional_output(name, {rows, dim});
      if (dense) field.accumulate = args.flag("accumulate");
    } else {
      field.table = args.input(name, {rows, dim});
      if (dense) --taken;
    }
    const bool present = field.table || field.dtable;
    const int64_t least = field.kind == FieldKind::numeric ? 4 : 1;
    if (!dense && present && ids < least) {
      args.refuse("a table of at least " + std::to_string(least) + " rows", std::to_string(ids));
    }
    field.ids = ids;
    field.dim = dim;
    field.column = column;
    if (concat) column += dim;
  }
  args.list_end();
  if (given != taken) {
    args.refuse(std::to_string(taken) + " parts of " + std::to_string(num_fields) + " fields", std::to_string(given));
  }
  if (concat && column != width) {
    args.refuse("fields that are " + std::to_string(width) + " wide together", std::to_string(column));
  }
  return fields;
}

size_t scratch_bytes(const std::vector<EmbeddingField>& fields, bool backward) {
  size_t floats = 0;
  for (const EmbeddingField& field : fields) floats += field_embedding_scratch(field, backward);
  return floats * sizeof(float);
}

void place_scratch(std::vector<EmbeddingField>& fields, float* scratch, bool backward) {
  for (EmbeddingField& field : fields) {
    const size_t floats = field_embedding_scratch(field, backward);
    if (floats == 0) continue;
    field.scratch = scratch;
    scratch += floats;
  }
}

void field_embedding_forward(Args& args) {
  Dim events, width;
  FieldEmbeddingForward call{};
  call.concat = args.flag("concat");
  call.out = args.output("out", {events, width});
  const auto fields = read_fields(args, events, width, call.concat, false);
  args.finish();
  call.fields = fields->data();
  call.num_fields = static_cast<int64_t>(fields->size());
  call.events = events;
  call.width = width;
  const Scratch scratch = args.scratch(scratch_bytes(*fields, false));
  place_scratch(*fields, scratch.floats(), false);
  args.stream().submit(Kernel::field_embedding_forward, call, fields);
}

void field_embedding_backward(Args& args) {
  Dim events, width;
  FieldEmbeddingBackward call{};
  call.concat = args.flag("concat");
  call.dout = args.input("dout", {events, width});
  const auto fields = read_fields(args, events, width, call.concat, true);
  args.finish();
  call.fields = fields->data();
  call.num_fields = static_cast<int64_t>(fields->size());
  call.events = events;
  call.width = width;
  const Scratch scratch = args.scratch(scratch_bytes(*fields, true));
  place_scratch(*fields, scratch.floats(), true);
  args.stream().submit(Kernel::field_embedding_backward, call, fields);
}

}  // namespace

void register_field_embedding(Napi::Object& exports) {
  add_op<field_embedding_forward>(exports, "field_embedding_forward");
  add_op<field_embedding_backward>(exports, "field_embedding_backward");
}

}  // namespace seqrisk
