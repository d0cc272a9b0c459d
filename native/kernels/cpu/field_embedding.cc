// field_embedding on the CPU. Forward: an event's vector is a weighted sum of table rows, summed in registers.
// Backward: a task owns a slice of columns and walks all events in order, in blocks whose dout stays in L1 for all its
// fields.
#include "ops/field_embedding.h"

#include "kernels/cpu/columns-inl.h"
#include "kernels/cpu/variant.h"
#include "ops/workers.h"

namespace seqrisk::SEQRISK_VARIANT {
namespace {

constexpr int64_t kEventsPerTask = 256;
constexpr int64_t kEventsPerBlock = 128;

// Row 0 stands for every code that the table does not have.
HWY_INLINE int64_t row_of(int32_t code, int64_t ids) {
  return code >= 0 && code < ids ? code : 0;
}

// out[0 … width) = Σ weight·row, over any number of rows.
class RowSum {
 public:
  RowSum(float* out, int64_t width) : out_(out), width_(width) {}

  HWY_INLINE void add(const float* row, float weight) {
    if (count_ == kCapacity) flush();
    rows_[count_] = row;
    weights_[count_++] = weight;
  }

  HWY_INLINE void finish() {
    if (count_ > 0 || !started_) flush();
  }

 private:
  static constexpr int kCapacity = 64;

  void flush() {
    over_blocks<8>(width_, [&](auto d, auto vectors, int64_t column) {
      constexpr int kVectors = decltype(vectors)::value;
      const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
      hn::Vec<decltype(d)> sum[kVectors];
      for (int v = 0; v < kVectors; ++v) {
        sum[v] = started_ ? hn::LoadU(d, out_ + column + v * lanes) : hn::Zero(d);
      }
      for (int i = 0; i < count_; ++i) {
        const float* row = rows_[i] + column;
        const auto weight = hn::Set(d, weights_[i]);
        for (int v = 0; v < kVectors; ++v) sum[v] = hn::MulAdd(weight, hn::LoadU(d, row + v * lanes), sum[v]);
      }
      for (int v = 0; v < kVectors; ++v) hn::StoreU(sum[v], d, out_ + column + v * lanes);
    });
    count_ = 0;
    started_ = true;
  }

  float* out_;
  int64_t width_;
  int count_ = 0;
  bool started_ = false;
  const float* rows_[kCapacity];
  float weights_[kCapacity];
};

HWY_INLINE void add_terms(const EmbeddingField& field, int64_t event, RowSum& sum) {
  switch (field.kind) {
    case FieldKind::categorical:
      sum.add(field.table + row_of(field.codes[event], field.ids) * field.dim, 1.0f);
      break;
    case FieldKind::numeric: {
      const int64_t row = row_of(field.codes[event], field.ids - 1);
      if (row < 2) {
        sum.add(field.table + row * field.dim, 1.0f);
      } else {
        sum.add(field.scratch + (row - 2) * field.dim, 1.0f);
        sum.add(field.table + row * field.dim, field.fraction[event]);
      }
      break;
    }
    case FieldKind::text: {
      const int64_t end = field.word_offsets[event + 1];
      const float share = 1.0f / static_cast<float>(end - field.word_offsets[event]);
      for (int64_t word = field.word_offsets[event]; word < end; ++word) {
        sum.add(field.table + row_of(field.codes[word], field.ids) * field.dim, share);
      }
      break;
    }
    case FieldKind::dense:
      sum.add(field.table + event * field.dim, 1.0f);
      break;
  }
}

// scratch[b] = bias + Σ_{i<b} table[2 + i]: what every value of bin b has in common.
void sum_bins_below(const EmbeddingField& field) {
  const int64_t bins = field.ids - 3;
  over_columns(field.dim, [&](auto d, int64_t column) {
    const float* row = field.table + 2 * field.dim + column;
    float* below = field.scratch + column;
    auto sum = hn::LoadU(d, field.table + (field.ids - 1) * field.dim + column);
    for (int64_t bin = 0; bin < bins; ++bin, row += field.dim, below += field.dim) {
      hn::StoreU(sum, d, below);
      sum = hn::Add(sum, hn::LoadU(d, row));
    }
  });
}

// Some columns of one field, for the backward: pointers to the first of them.
template <class Columns>
class Slice {
 public:
  Slice(const FieldEmbeddingBackward& a, const EmbeddingField& field, int64_t column, Columns columns)
      : field_(field),
        columns_(columns),
        width_(a.width),
        dout_(a.dout + field.column + column),
        dtable_(field.dtable + column),
        sums_(field.scratch ? field.scratch + column : nullptr) {}

  void begin() const {
    if (field_.kind != FieldKind::numeric) return;
    for (int64_t row = 0; row < 2 * (field_.ids - 3); ++row) {
      float* sum = sums_ + row * field_.dim;
      over_columns(columns_, [&](auto d, int64_t i) { hn::StoreU(hn::Zero(d), d, sum + i); });
    }
  }

  void take(int64_t begin, int64_t end) const {
    const int64_t dim = field_.dim;
    const float* dout = dout_ + begin * width_;
    for (int64_t event = begin; event < end; ++event, dout += width_) {
      switch (field_.kind) {
        case FieldKind::categorical:
          add(dtable_ + row_of(field_.codes[event], field_.ids) * dim, dout);
          break;
        case FieldKind::numeric: {
          const int64_t row = row_of(field_.codes[event], field_.ids - 1);
          if (row < 2) {
            add(dtable_ + row * dim, dout);
          } else {
            float* sum = sums_ + (row - 2) * 2 * dim;
            add(sum, dout);
            add(sum + dim, dout, field_.fraction[event]);
          }
          break;
        }
        case FieldKind::text: {
          const int64_t last = field_.word_offsets[event + 1];
          const float share = 1.0f / static_cast<float>(last - field_.word_offsets[event]);
          for (int64_t word = field_.word_offsets[event]; word < last; ++word) {
            add(dtable_ + row_of(field_.codes[word], field_.ids) * dim, dout, share);
          }
          break;
        }
        case FieldKind::dense: {
          float* dvalues = dtable_ + event * dim;
          if (field_.accumulate) {
            add(dvalues, dout);
          } else {
            over_columns(columns_, [&](auto d, int64_t i) { hn::StoreU(hn::LoadU(d, dout + i), d, dvalues + i); });
          }
          break;
        }
      }
    }
  }

  // A bin's row is in its own values by their fraction, and whole in those of all bins above.
  void end() const {
    if (field_.kind != FieldKind::numeric) return;
    const int64_t dim = field_.dim;
    over_columns(columns_, [&](auto d, int64_t i) {
      auto above = hn::Zero(d);
      for (int64_t bin = field_.ids - 4; bin >= 0; --bin) {
        const float* sum = sums_ + bin * 2 * dim + i;
        float* drow = dtable_ + (2 + bin) * dim + i;
        hn::StoreU(hn::Add(hn::LoadU(d, drow), hn::Add(above, hn::LoadU(d, sum + dim))), d, drow);
        above = hn::Add(above, hn::LoadU(d, sum));
      }
      float* dbias = dtable_ + (field_.ids - 1) * dim + i;
      hn::StoreU(hn::Add(hn::LoadU(d, dbias), above), d, dbias);
    });
  }

 private:
  HWY_INLINE void add(float* to, const float* from) const {
    over_columns(columns_, [&](auto d, int64_t i) {
      hn::StoreU(hn::Add(hn::LoadU(d, to + i), hn::LoadU(d, from + i)), d, to + i);
    });
  }
  HWY_INLINE void add(float* to, const float* from, float weight) const {
    over_columns(columns_, [&](auto d, int64_t i) {
      hn::StoreU(hn::MulAdd(hn::Set(d, weight), hn::LoadU(d, from + i), hn::LoadU(d, to + i)), d, to + i);
    });
  }

  const EmbeddingField& field_;
  Columns columns_;
  int64_t width_;
  const float* dout_;
  float* dtable_;
  float* sums_;
};

template <class Columns>
void backward_slice(const FieldEmbeddingBackward& a, int64_t first, int64_t last, int64_t column, Columns columns) {
  const auto for_each = [&](auto&& body) {
    for (int64_t f = first; f < last; ++f) {
      if (a.fields[f].dtable) body(Slice<Columns>(a, a.fields[f], column, columns));
    }
  };
  for_each([](const auto& slice) { slice.begin(); });
  for (int64_t begin = 0; begin < a.events; begin += kEventsPerBlock) {
    const int64_t end = begin + kEventsPerBlock < a.events ? begin + kEventsPerBlock : a.events;
    for_each([&](const auto& slice) { slice.take(begin, end); });
  }
  for_each([](const auto& slice) { slice.end(); });
}

HWY_INLINE int64_t slices_of(int64_t columns) {
  return (columns + kFieldEmbeddingColumns - 1) / kFieldEmbeddingColumns;
}

}  // namespace

void field_embedding_forward(const FieldEmbeddingForward& a, Workers& workers) {
  bool numeric = false;
  for (int64_t f = 0; f < a.num_fields; ++f) numeric |= a.fields[f].kind == FieldKind::numeric;
  if (numeric) {
    workers.run(a.num_fields, [&](int64_t f, int) {
      if (a.fields[f].kind == FieldKind::numeric) sum_bins_below(a.fields[f]);
    });
  }
  workers.run((a.events + kEventsPerTask - 1) / kEventsPerTask, [&](int64_t task, int) {
    const int64_t end = task * kEventsPerTask + kEventsPerTask;
    for (int64_t event = task * kEventsPerTask; event < end && event < a.events; ++event) {
      float* out = a.out + event * a.width;
      if (a.concat) {
        for (int64_t f = 0; f < a.num_fields; ++f) {
          RowSum sum(out + a.fields[f].column, a.fields[f].dim);
          add_terms(a.fields[f], event, sum);
          sum.finish();
        }
      } else {
        RowSum sum(out, a.width);
        for (int64_t f = 0; f < a.num_fields; ++f) add_terms(a.fields[f], event, sum);
        sum.finish();
      }
    }
  });
}

void field_embedding_backward(const FieldEmbeddingBackward& a, Workers& workers) {
  const int64_t group = a.concat ? 1 : kFieldEmbeddingGroup;
  const int64_t groups = (a.num_fields + group - 1) / group;
  int64_t tasks = 0;
  for (int64_t g = 0; g < groups; ++g) tasks += slices_of(a.fields[g * group].dim);
  workers.run(tasks, [&](int64_t task, int) {
    int64_t first = 0;
    for (; task >= slices_of(a.fields[first].dim); first += group) task -= slices_of(a.fields[first].dim);
    const int64_t last = first + group < a.num_fields ? first + group : a.num_fields;
    const int64_t column = task * kFieldEmbeddingColumns;
    const int64_t left = a.fields[first].dim - column;
    if (left >= kFieldEmbeddingColumns) {
      backward_slice(a, first, last, column, std::integral_constant<int64_t, kFieldEmbeddingColumns>());
    } else {
      backward_slice(a, first, last, column, left);
    }
  });
}

}  // namespace seqrisk::SEQRISK_VARIANT
