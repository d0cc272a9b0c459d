// field_embedding on CUDA. Forward: a thread sums the rows of some events in its columns, some fields a launch.
// Backward: gradients of small tables are summed in shared memory over fixed stretches of events, and then over
// stretches in order; for large tables of categories events are sorted, see sorted_sums.h; those of words and of many
// bins are added up as integers, see exact_sums-inl.cuh, all in one pass over dout.
#include "ops/field_embedding.h"

#include "kernels/cuda/device-inl.cuh"
#include "kernels/cuda/exact_sums-inl.cuh"
#include "kernels/cuda/partial_sums.h"
#include "kernels/cuda/sorted_sums.h"

namespace seqrisk {
namespace cuda {
namespace {

// Fields of one launch: they travel as arguments.
constexpr int kFieldsPerLaunch = 32;

struct Fields {
  EmbeddingField at[kFieldsPerLaunch];
  long long* sums[kFieldsPerLaunch];  // backward, of words and many bins: (sum_rows_of, dim); else null
  int count;
};

// Row 0 stands for every code that the table does not have.
__device__ int64_t row_of(int32_t code, int64_t ids) {
  return code >= 0 && code < ids ? code : 0;
}

// below[b] = bias + Σ_{i<b} table[2 + i]: what every value of bin b has in common.
__global__ void sum_bins_below_kernel(EmbeddingField field, float* below) {
  const int64_t column = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (column >= field.dim) return;
  float sum = field.table[(field.ids - 1) * field.dim + column];
  for (int64_t bin = 0; bin < field.ids - 3; ++bin) {
    below[bin * field.dim + column] = sum;
    sum += field.table[(2 + bin) * field.dim + column];
  }
}

// A thread works on some events at once: what is read for them is on its way together.
constexpr int kEventsAtOnce = 4;
constexpr int kForwardThreads = 256;

template <int V>
__device__ void add_row(Floats<V>& sum, const Floats<V>& row, float weight) {
  for (int v = 0; v < V; ++v) sum.at[v] = fmaf(weight, row.at[v], sum.at[v]);
}

template <int V>
__device__ void add_terms(Floats<V> (&sums)[kEventsAtOnce], const EmbeddingField& field,
                          const int64_t (&events)[kEventsAtOnce], int64_t column) {
  const float* table = field.table + column;
  Floats<V> rows[kEventsAtOnce];
  switch (field.kind) {
    case FieldKind::categorical: {
      int32_t codes[kEventsAtOnce];
#pragma unroll
      for (int j = 0; j < kEventsAtOnce; ++j) codes[j] = field.codes[events[j]];
#pragma unroll
      for (int j = 0; j < kEventsAtOnce; ++j) rows[j] = load<V>(table + row_of(codes[j], field.ids) * field.dim);
#pragma unroll
      for (int j = 0; j < kEventsAtOnce; ++j) add_row(sums[j], rows[j], 1.0f);
      break;
    }
    case FieldKind::numeric: {
      const float* below = field.scratch + column;
      int64_t row[kEventsAtOnce];
      float fractions[kEventsAtOnce];
#pragma unroll
      for (int j = 0; j < kEventsAtOnce; ++j) {
        row[j] = row_of(field.codes[events[j]], field.ids - 1);
        fractions[j] = field.fraction[events[j]];
      }
#pragma unroll
      for (int j = 0; j < kEventsAtOnce; ++j) {
        rows[j] = load<V>(row[j] < 2 ? table + row[j] * field.dim : below + (row[j] - 2) * field.dim);
      }
#pragma unroll
      for (int j = 0; j < kEventsAtOnce; ++j) add_row(sums[j], rows[j], 1.0f);
#pragma unroll
      for (int j = 0; j < kEventsAtOnce; ++j) rows[j] = load<V>(table + row[j] * field.dim);
#pragma unroll
      for (int j = 0; j < kEventsAtOnce; ++j) {
        if (row[j] >= 2) add_row(sums[j], rows[j], fractions[j]);
      }
      break;
    }
    case FieldKind::text:
#pragma unroll
      for (int j = 0; j < kEventsAtOnce; ++j) {
        const int64_t begin = field.word_offsets[events[j]];
        const int64_t end = field.word_offsets[events[j] + 1];
        const float share = 1.0f / static_cast<float>(end - begin);
        for (int64_t word = begin; word < end; ++word) {
          add_row(sums[j], load<V>(table + row_of(field.codes[word], field.ids) * field.dim), share);
        }
      }
      break;
    case FieldKind::dense:
#pragma unroll
      for (int j = 0; j < kEventsAtOnce; ++j) rows[j] = load<V>(table + events[j] * field.dim);
#pragma unroll
      for (int j = 0; j < kEventsAtOnce; ++j) add_row(sums[j], rows[j], 1.0f);
      break;
  }
}

// Adds the fields of this launch to what the launches before left, side by side or on top of each other. A row of
// threads takes kEventsAtOnce events, blockDim.y apart.
template <int V>
__global__ void __launch_bounds__(kForwardThreads, 4)
    forward_kernel(Fields fields, float* out, int64_t all, int64_t width, bool concat, bool first) {
  const int64_t event = static_cast<int64_t>(blockIdx.x) * blockDim.y * kEventsAtOnce + threadIdx.y;
  const int64_t column = (static_cast<int64_t>(blockIdx.y) * blockDim.x + threadIdx.x) * V;
  if (event >= all || column >= width) return;
  // Behind the end the last one, again.
  int64_t events[kEventsAtOnce];
#pragma unroll
  for (int j = 0; j < kEventsAtOnce; ++j) {
    events[j] = event + j * static_cast<int64_t>(blockDim.y);
    if (events[j] >= all) events[j] = all - 1;
  }
  Floats<V> sums[kEventsAtOnce] = {};
  if (!concat && !first) {
#pragma unroll
    for (int j = 0; j < kEventsAtOnce; ++j) sums[j] = load<V>(out + events[j] * width + column);
  }
  bool any = !concat;
  for (int f = 0; f < fields.count; ++f) {
    const EmbeddingField& field = fields.at[f];
    // Side by side, one field holds the column, maybe of another launch.
    if (concat && (column < field.column || column >= field.column + field.dim)) continue;
    any = true;
    add_terms<V>(sums, field, events, concat ? column - field.column : column);
  }
  if (!any) return;
#pragma unroll
  for (int j = 0; j < kEventsAtOnce; ++j) {
    if (event + j * static_cast<int64_t>(blockDim.y) < all) store<V>(out + events[j] * width + column, sums[j]);
  }
}

template <int V>
void launch_forward(const Fields& fields, const FieldEmbeddingForward& a, bool first, cudaStream_t stream) {
  const int64_t pieces = a.width / V;
  int across = 8;
  while (across < kForwardThreads && across < pieces) across *= 2;
  const dim3 threads(across, kForwardThreads / across);
  const dim3 blocks(blocks_of(a.events, threads.y * kEventsAtOnce), blocks_of(pieces, across));
  forward_kernel<V><<<blocks, threads, 0, stream>>>(fields, a.out, a.events, a.width, a.concat, first);
}

// Small tables: each of a block's warps has 32 columns of a table for its own stretch of events, which it takes one
// after the other. Stretches are the first axis of the grid, groups of columns the second.
constexpr int kSmallWarps = 4;
constexpr int64_t kSmallStretch = 256;  // events of a warp
constexpr int64_t kSmallRows = 88;      // that fit into 48 KB for all warps

// Rows of sums of a field: numeric fields have two a bin, plain and times the fraction, behind missing and mask.
__host__ __device__ int64_t sum_rows_of(const EmbeddingField& field) {
  return field.kind == FieldKind::numeric ? 2 + 2 * (field.ids - 3) : field.ids;
}
bool is_small(const EmbeddingField& field) {
  return (field.kind == FieldKind::categorical || field.kind == FieldKind::numeric) && sum_rows_of(field) <= kSmallRows;
}
bool is_sorted(const EmbeddingField& field) {
  return field.kind == FieldKind::categorical && !is_small(field);
}
int64_t small_stretches(int64_t events) {
  return ceil_div(events, kSmallStretch * kSmallWarps);
}

__global__ void small_sums_kernel(EmbeddingField field, const float* dout, int64_t events, int64_t width, int64_t start,
                                  float* partials) {
  extern __shared__ float tables[];
  const int lane = static_cast<int>(threadIdx.x);
  const int64_t column = static_cast<int64_t>(blockIdx.y) * kWarp + lane;
  const int rows = static_cast<int>(sum_rows_of(field));
  float* table = tables + threadIdx.y * rows * kWarp + lane;
  for (int row = 0; row < rows; ++row) table[row * kWarp] = 0.0f;
  const int64_t first = (static_cast<int64_t>(blockIdx.x) * kSmallWarps + threadIdx.y) * kSmallStretch;
  const int64_t last = first + kSmallStretch < events ? first + kSmallStretch : events;
  const bool numeric = field.kind == FieldKind::numeric;
#pragma unroll 8
  for (int64_t event = first; event < last; ++event) {
    const int row = static_cast<int>(row_of(field.codes[event], numeric ? field.ids - 1 : field.ids));
    const float value = column < field.dim ? dout[event * width + start + column] : 0.0f;
    if (numeric && row >= 2) {
      table[(2 * row - 2) * kWarp] += value;
      table[(2 * row - 1) * kWarp] += value * field.fraction[event];
    } else {
      table[row * kWarp] += value;
    }
  }
  __syncthreads();
  // Warp by warp into the block's partial sum.
  if (column >= field.dim) return;
  for (int row = static_cast<int>(threadIdx.y); row < rows; row += kSmallWarps) {
    float sum = tables[row * kWarp + lane];
    for (int warp = 1; warp < kSmallWarps; ++warp) sum += tables[(warp * rows + row) * kWarp + lane];
    partials[(blockIdx.x * rows + row) * field.dim + column] = sum;
  }
}

// A bin's row is in its own values by their fraction, and whole in those of all bins above.
__global__ void small_bins_kernel(EmbeddingField field, const float* sums) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= field.dim) return;
  for (int64_t row = 0; row < 2; ++row) field.dtable[row * field.dim + i] += sums[row * field.dim + i];
  float above = 0.0f;
  for (int64_t bin = field.ids - 4; bin >= 0; --bin) {
    const float* own = sums + (2 + 2 * bin) * field.dim + i;
    field.dtable[(2 + bin) * field.dim + i] += above + own[field.dim];
    above += own[0];
  }
  field.dtable[(field.ids - 1) * field.dim + i] += above;
}

void add_small(const EmbeddingField& field, const FieldEmbeddingBackward& a, float* memory, Launch& launch) {
  const int64_t rows = sum_rows_of(field);
  const int64_t cells = rows * field.dim;
  const int64_t stretches = small_stretches(a.events);
  if (cells == 0 || stretches == 0) return;
  const dim3 blocks(static_cast<unsigned>(stretches), blocks_of(field.dim, kWarp));
  const size_t bytes = static_cast<size_t>(kSmallWarps * rows * kWarp) * sizeof(float);
  small_sums_kernel<<<blocks, dim3(kWarp, kSmallWarps), bytes, launch.stream>>>(field, a.dout, a.events, a.width,
                                                                                a.concat ? field.column : 0, memory);
  if (field.kind == FieldKind::categorical) {
    add_partials(memory, stretches, cells, cells, cells, field.dtable, nullptr, launch.stream);
    return;
  }
  float* sums = memory + stretches * cells;
  cudaMemsetAsync(sums, 0, static_cast<size_t>(cells) * sizeof(float), launch.stream);
  add_partials(memory, stretches, cells, cells, cells, sums, nullptr, launch.stream);
  small_bins_kernel<<<blocks_of(field.dim, 64), 64, 0, launch.stream>>>(field, sums);
}

void add_sorted(const EmbeddingField& field, const FieldEmbeddingBackward& a, void* memory, Launch& launch) {
  const float* from = a.dout + (a.concat ? field.column : 0);
  add_sorted_sums({field.codes, a.events, field.ids, 0, from, a.width, field.dtable, field.dim, true}, memory, launch);
}

struct Backward {
  Fields fields;
  const float* dout;
  const ExactScale* scale;
  int64_t width;
  int log_terms;
  bool concat;

  template <int V>
  __device__ void add(const EmbeddingField& field, long long* sums, int64_t row, int64_t column, const Floats<V>& value,
                      float weight, int shift) const {
    long long* to = sums + row * field.dim + column;
    for (int v = 0; v < V; ++v) add_exact(to + v, value.at[v] * weight, shift);
  }

  template <int V>
  __device__ void run(int64_t event, int64_t at) const {
    const Floats<V> value = load<V>(dout + event * width + at);
    const int shift = exact_shift(*scale, log_terms);
    for (int f = 0; f < fields.count; ++f) {
      const EmbeddingField& field = fields.at[f];
      long long* sums = fields.sums[f];
      int64_t column = at;
      if (!field.dtable || (!sums && field.kind != FieldKind::dense)) continue;
      if (concat) {
        if (column < field.column || column >= field.column + field.dim) continue;
        column -= field.column;
      }
      switch (field.kind) {
        case FieldKind::categorical:  // sorted
          break;
        case FieldKind::numeric: {
          const int64_t row = row_of(field.codes[event], field.ids - 1);
          if (row < 2) {
            add(field, sums, row, column, value, 1.0f, shift);
          } else {
            add(field, sums, 2 * row - 2, column, value, 1.0f, shift);
            add(field, sums, 2 * row - 1, column, value, field.fraction[event], shift);
          }
          break;
        }
        case FieldKind::text: {
          const int64_t end = field.word_offsets[event + 1];
          const float share = 1.0f / static_cast<float>(end - field.word_offsets[event]);
          for (int64_t word = field.word_offsets[event]; word < end; ++word) {
            add(field, sums, row_of(field.codes[word], field.ids), column, value, share, shift);
          }
          break;
        }
        case FieldKind::dense: {
          float* to = field.dtable + event * field.dim + column;
          Floats<V> before{};
          if (field.accumulate) before = load<V>(to);
          for (int v = 0; v < V; ++v) before.at[v] += value.at[v];
          store<V>(to, before);
          break;
        }
      }
    }
  }
};

// dtable += the sums. A bin's row is in its own values by their fraction, and whole in those of all bins above.
__global__ void finish_kernel(EmbeddingField field, const long long* sums, const ExactScale* scale, int log_terms) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  const int shift = exact_shift(*scale, log_terms);
  if (field.kind != FieldKind::numeric) {
    if (i < field.ids * field.dim && sums[i] != 0) field.dtable[i] += exact_value(sums[i], shift);
    return;
  }
  if (i >= field.dim) return;
  for (int64_t row = 0; row < 2; ++row)
    field.dtable[row * field.dim + i] += exact_value(sums[row * field.dim + i], shift);
  long long above = 0;
  for (int64_t bin = field.ids - 4; bin >= 0; --bin) {
    const long long* own = sums + (2 + 2 * bin) * field.dim + i;
    field.dtable[(2 + bin) * field.dim + i] += exact_value(above + own[field.dim], shift);
    above += own[0];
  }
  field.dtable[(field.ids - 1) * field.dim + i] += exact_value(above, shift);
}

// Where a sum has a term that is no number, it is none either. A thread takes an event and a column.
struct Spoil {
  Fields fields;
  const float* dout;
  const ExactScale* scale;
  int64_t width;
  bool concat;

  template <int V>
  __device__ void run(int64_t i) const {
    if (!scale->spoiled || isfinite(dout[i])) return;
    const int64_t event = i / width;
    for (int f = 0; f < fields.count; ++f) {
      const EmbeddingField& field = fields.at[f];
      const int64_t column = i % width - (concat ? field.column : 0);
      if (!fields.sums[f] || column < 0 || column >= field.dim) continue;
      const int64_t begin = field.kind == FieldKind::text ? field.word_offsets[event] : event;
      const int64_t end = field.kind == FieldKind::text ? field.word_offsets[event + 1] : event + 1;
      const bool numeric = field.kind == FieldKind::numeric;
      for (int64_t at = begin; at < end; ++at) {
        const int64_t row = row_of(field.codes[at], numeric ? field.ids - 1 : field.ids);
        field.dtable[row * field.dim + column] = NAN;
        if (!numeric || row < 2) continue;
        for (int64_t below = 2; below < row; ++below) field.dtable[below * field.dim + column] = NAN;
        field.dtable[(field.ids - 1) * field.dim + column] = NAN;
      }
    }
  }
};

bool are_wide(const Fields& fields) {
  for (int f = 0; f < fields.count; ++f) {
    const EmbeddingField& field = fields.at[f];
    if (!is_wide(field.dim, field.table, field.dtable, field.scratch) || !is_wide(field.column)) return false;
  }
  return true;
}

// Integer sums of a table.
int64_t sums_of(const EmbeddingField& field) {
  if (!field.dtable || field.kind == FieldKind::dense || is_small(field) || is_sorted(field)) return 0;
  return sum_rows_of(field) * field.dim;
}

// The fields from `first` on, as many as fit; returns where the next launch starts.
int64_t take_fields(const EmbeddingField* all, int64_t first, int64_t num_fields, Fields& fields) {
  fields.count = 0;
  for (; first < num_fields && fields.count < kFieldsPerLaunch; ++first) fields.at[fields.count++] = all[first];
  return first;
}

}  // namespace

void field_embedding_forward(const FieldEmbeddingForward& a, Launch& launch) {
  int64_t needed = 0;
  for (int64_t f = 0; f < a.num_fields; ++f)
    needed += static_cast<int64_t>(field_embedding_scratch(a.fields[f], false));
  float* below = launch.workspace_of<float>(needed);
  if (!below || a.events == 0 || a.width == 0) return;
  for (int64_t next = 0; next < a.num_fields;) {
    const bool first = next == 0;
    Fields fields{};
    next = take_fields(a.fields, next, a.num_fields, fields);
    for (int f = 0; f < fields.count; ++f) {
      EmbeddingField& field = fields.at[f];
      field.scratch = below;  // a multiple of four floats from the start where dim is one
      if (field.kind != FieldKind::numeric || field.dim == 0) continue;
      sum_bins_below_kernel<<<blocks_of(field.dim, 64), 64, 0, launch.stream>>>(field, below);
      below += field_embedding_scratch(field, false);
    }
    if (is_wide(a.width, a.out) && are_wide(fields)) {
      launch_forward<4>(fields, a, first, launch.stream);
    } else {
      launch_forward<1>(fields, a, first, launch.stream);
    }
  }
}

void field_embedding_backward(const FieldEmbeddingBackward& a, Launch& launch) {
  int64_t exact = 0;  // integer sums
  int64_t most = 0;   // bytes of what is summed or sorted a table after the other
  for (int64_t f = 0; f < a.num_fields; ++f) {
    const EmbeddingField& field = a.fields[f];
    exact += sums_of(field);
    if (!field.dtable) continue;
    int64_t needed = 0;
    if (is_small(field)) {
      needed = (small_stretches(a.events) + 1) * sum_rows_of(field) * field.dim * static_cast<int64_t>(sizeof(float));
    } else if (is_sorted(field)) {
      needed = static_cast<int64_t>(sorted_sums_bytes(a.events, field.dim));
    }
    if (needed > most) most = needed;
  }
  const int64_t before = ceil_div(1 + exact, 2) * 2;  // integers; what follows starts at a boundary
  auto* memory = launch.workspace_of<long long>(before + ceil_div(most, sizeof(long long)));
  if (!memory) return;
  auto* scale = reinterpret_cast<ExactScale*>(memory);
  long long* sums = memory + 1;
  auto* turns = reinterpret_cast<float*>(memory + before);
  const int64_t count = a.events * a.width;
  const int log_terms = log_terms_of(a.events);
  if (exact > 0) {
    find_exact_scale(a.dout, count, scale, launch.stream);
    cudaMemsetAsync(sums, 0, static_cast<size_t>(exact) * sizeof(long long), launch.stream);
  }
  for (int64_t next = 0; next < a.num_fields;) {
    Backward op{{}, a.dout, scale, a.width, log_terms, a.concat};
    next = take_fields(a.fields, next, a.num_fields, op.fields);
    bool any = false;  // that the pass over dout has to do
    for (int f = 0; f < op.fields.count; ++f) {
      EmbeddingField& field = op.fields.at[f];
      field.scratch = nullptr;
      op.fields.sums[f] = sums_of(field) > 0 ? sums : nullptr;
      sums += sums_of(field);
      any = any || op.fields.sums[f] || (field.kind == FieldKind::dense && field.dtable);
      if (field.dtable && is_small(field)) add_small(field, a, turns, launch);
      if (field.dtable && is_sorted(field)) add_sorted(field, a, turns, launch);
    }
    if (!any) continue;
    over_rows(a.events, a.width, is_wide(a.width, a.dout) && are_wide(op.fields), op, launch.stream);
    bool is_large = false;
    for (int f = 0; f < op.fields.count; ++f) {
      const EmbeddingField& field = op.fields.at[f];
      if (!op.fields.sums[f]) continue;
      is_large = true;
      const int64_t cells = field.kind == FieldKind::numeric ? field.dim : sums_of(field);
      finish_kernel<<<blocks_of(cells, 128), 128, 0, launch.stream>>>(field, op.fields.sums[f], scale, log_terms);
    }
    if (is_large) over_elements(count, false, Spoil{op.fields, a.dout, scale, a.width, a.concat}, launch.stream);
  }
}

}  // namespace cuda
}  // namespace seqrisk
