// field_embedding: turns the fields of events into vectors, all fields in one pass.
//   add:    out[t] = Σ_f e_f(t), every field as wide as out
//   concat: out[t] = (e_1(t), …, e_F(t)), side by side
// What e(t) is, for a table (ids, dim); a code outside [0, ids) counts as 0 (unknown):
//   categorical: table[code]
//   numeric:     piecewise-linear encoding (Gorishniy et al. 2022, eq. 1) times a matrix. Row 0 = missing, row 1 =
//   mask,
//                row 2 + b = bin b, last row = bias of every value that is neither missing nor masked.
//                e = bias + Σ_{i<b} table[2 + i] + fraction·table[2 + b]; codes are 0, 1 and 2 + b.
//   text:        mean of table[code] over the words of the event; zeros for no words
//   dense:       the given row
// Bytes: forward events·width·4 written, and 1 row read per category, 2 per number, 1 per word; backward events·width·4
// read per four fields, and the rows of the gradient read and written once per event. Memory bound.
#pragma once

#include <cstddef>
#include <cstdint>

namespace seqrisk {

enum class FieldKind : int32_t { categorical = 0, numeric = 1, text = 2, dense = 3 };

struct EmbeddingField {
  FieldKind kind;
  bool accumulate;              // dense, backward: add to dtable instead of assigning
  const int32_t* codes;         // (events), or (words) for text; null for dense
  const float* fraction;        // numeric: (events), the position in the bin
  const int32_t* word_offsets;  // text: (events + 1), where the words of each event start
  const float* table;           // forward: (ids, dim); dense: (events, dim)
  float* dtable;                // backward: like table, added to; null skips it
  float* scratch;               // numeric: field_embedding_scratch() floats
  int64_t ids;                  // rows of the table; at least 1, numeric 4
  int64_t dim;
  int64_t column;  // of out, where this field begins; 0 for add
};

struct FieldEmbeddingForward {
  const EmbeddingField* fields;
  int64_t num_fields;
  float* out;  // (events, width)
  int64_t events;
  int64_t width;
  bool concat;
};

struct FieldEmbeddingBackward {
  const EmbeddingField* fields;
  int64_t num_fields;
  const float* dout;  // (events, width)
  int64_t events;
  int64_t width;
  bool concat;
};

// A task of the backward takes these many columns of these many fields (one with concat), for all events in order: the
// gradients do not depend on the number of workers.
constexpr int64_t kFieldEmbeddingColumns = 64;
constexpr int64_t kFieldEmbeddingGroup = 4;

// Floats: forward bins rows (sums of the bins below), backward 2·bins rows (sums of dout, plain and times the
// fraction).
inline size_t field_embedding_scratch(const EmbeddingField& field, bool backward) {
  if (field.kind != FieldKind::numeric || (backward && !field.dtable)) return 0;
  return static_cast<size_t>(field.ids - 3) * static_cast<size_t>(field.dim) * (backward ? 2 : 1);
}

}  // namespace seqrisk
