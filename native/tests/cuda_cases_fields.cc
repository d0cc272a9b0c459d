// Cases of field_embedding.
#include "tests/cuda_cases.h"

namespace seqrisk::parity {
namespace {

struct Field {
  FieldKind kind;
  int64_t ids;
  int64_t dim;
  bool skipped = false;     // backward: no gradient wanted
  bool accumulate = false;  // backward, dense
  bool skewed = false;      // half of the codes are one, and most others few
};

struct Problem {
  const char* name;
  int64_t events;
  bool concat;
  std::vector<Field> fields;

  int64_t width() const {
    int64_t sum = 0;
    for (const Field& field : fields) sum += field.dim;
    return concat ? sum : fields.front().dim;
  }
};

// Codes of words and categories go beyond the table on both ends: those count as unknown.
EmbeddingField field_of(Side& side, const Field& f, int64_t events, bool backward) {
  EmbeddingField field{};
  field.kind = f.kind;
  field.ids = f.ids;
  field.dim = f.dim;
  int64_t codes = events;
  int64_t rows = f.ids;
  if (f.kind == FieldKind::text) {
    std::vector<int32_t> offsets{0};
    for (int64_t event = 0; event < events; ++event) {
      offsets.push_back(offsets.back() + static_cast<int32_t>(side.pick(0, 5)));
    }
    field.word_offsets = side.input(offsets);
    codes = offsets.back();
  }
  if (f.kind == FieldKind::dense) {
    rows = events;
  } else {
    std::vector<int32_t> drawn = side.random_ids(codes, -1, f.ids + 1);
    for (int32_t& code : drawn) {
      if (!f.skewed || side.pick(0, 8) == 0) continue;
      code = side.pick(0, 2) == 0 ? static_cast<int32_t>(f.ids / 2) : code % 10;
    }
    field.codes = side.input(drawn);
  }
  if (f.kind == FieldKind::numeric) {
    std::vector<float> fraction(static_cast<size_t>(events));
    for (float& value : fraction) value = static_cast<float>(side.pick(0, 1024)) / 1024.0f;
    field.fraction = side.input(fraction);
  }
  if (!backward) {
    field.table = side.normals(rows * f.dim);
  } else if (!f.skipped) {
    const bool adds = f.kind != FieldKind::dense || f.accumulate;
    field.accumulate = f.accumulate;
    field.dtable = side.result("dtable", rows * f.dim, adds, sums_of(1 + events / f.ids, 0.5));
  }
  const size_t scratch = field_embedding_scratch(field, backward);
  if (scratch > 0) field.scratch = side.scratch(scratch * sizeof(float));
  return field;
}

template <class Arguments>
void set_fields(Side& side, const Problem& p, bool backward, Arguments& a) {
  std::vector<EmbeddingField> fields;
  int64_t column = 0;
  for (const Field& f : p.fields) {
    fields.push_back(field_of(side, f, p.events, backward));
    fields.back().column = column;
    if (p.concat) column += f.dim;
  }
  a.num_fields = static_cast<int64_t>(fields.size());
  a.fields = side.keep(std::move(fields));
  a.events = p.events;
  a.width = p.width();
  a.concat = p.concat;
}

std::vector<Field> every_kind(int64_t dim, int64_t ids, bool accumulate = false) {
  return {{FieldKind::categorical, ids, dim},
          {FieldKind::numeric, ids + 3, dim},
          {FieldKind::text, ids, dim},
          {FieldKind::dense, 1, dim, false, accumulate}};
}

// Widths of their own, side by side.
std::vector<Field> uneven(int64_t ids) {
  return {{FieldKind::dense, 1, 5},      {FieldKind::categorical, ids, 64},
          {FieldKind::text, ids, 0},     {FieldKind::numeric, ids + 3, 12, true},
          {FieldKind::text, ids, 33},    {FieldKind::numeric, ids + 3, 7},
          {FieldKind::categorical, 1, 1}};
}

std::vector<Field> many(int64_t dim) {
  std::vector<Field> fields;
  for (int64_t i = 0; i < 17; ++i) {
    fields.push_back({FieldKind::categorical, 1 + i * 13, dim, i % 5 == 4});
    fields.push_back({FieldKind::numeric, 4 + i * 5, dim});
    if (i % 4 == 0) fields.push_back({FieldKind::text, 50, dim});
  }
  return fields;
}

}  // namespace

void add_field_cases(CaseTable& table) {
  std::vector<Problem> problems;
  for (const bool concat : {false, true}) {
    for (const int64_t dim : {1, 3, 32, 68}) {
      for (const int64_t ids : {1, 5, 40, 89, 3000}) {
        problems.push_back({"every kind", 700, concat, every_kind(dim, ids, dim == 32)});
      }
    }
    problems.push_back({"no events", 0, concat, every_kind(8, 20)});
    problems.push_back({"one event", 1, concat, every_kind(8, 20)});
    problems.push_back({"many events", 5000, concat, every_kind(16, 30)});
    problems.push_back({"many fields", 300, concat, many(12)});
    problems.push_back({"one row for all", 3000, concat, {{FieldKind::categorical, 1, 4}}});
  }
  for (const int64_t ids : {4, 200}) problems.push_back({"uneven", 500, true, uneven(ids)});
  for (const int64_t ids : {1, 20, 89, 5000, 60'000}) {
    for (const int64_t dim : {4, 7, 132}) {
      if (dim == 132 && ids > 5000) continue;
      const Field field{FieldKind::categorical, ids, dim, false, false, true};
      problems.push_back({"skewed", 4000, false, {field}});
      problems.push_back({"skewed, twice", 900, true, {field, field}});
    }
  }
  for (const Problem& p : problems) {
    const std::string name =
        std::string(p.name) + ", " +
        label({"events", "width", "concat", "rows of field 0"}, p.events, p.width(), p.concat, p.fields.front().ids);
    table.field_embedding_forward.push_back({name, [=](Side& side) {
                                               FieldEmbeddingForward a{};
                                               set_fields(side, p, false, a);
                                               a.out = side.output("out", p.events * p.width(), kSums);
                                               return a;
                                             }});
    table.field_embedding_backward.push_back({name, [=](Side& side) {
                                                FieldEmbeddingBackward a{};
                                                set_fields(side, p, true, a);
                                                a.dout = side.normals(p.events * p.width());
                                                return a;
                                              }});
  }
}

}  // namespace seqrisk::parity
