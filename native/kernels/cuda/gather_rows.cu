// gather_rows on CUDA. Backward: rows are added up as integers, see exact_sums-inl.cuh, unless no two of them meet.
#include "ops/gather_rows.h"

#include "kernels/cuda/device-inl.cuh"
#include "kernels/cuda/exact_sums-inl.cuh"

namespace seqrisk {
namespace cuda {
namespace {

struct Forward {
  GatherRowsForward a;
  FaultSite fault;

  template <int V>
  __device__ void run(int64_t pick, int64_t column) const {
    const int64_t row = a.index[pick];
    Floats<V> value{};
    if (row >= 0 && row < a.rows) {
      value = load<V>(a.x + row * a.width + column);
    } else if (column == 0) {
      fault.report(pick, row);
    }
    store<V>(a.out + pick * a.width + column, value);
  }
};

// Of indices that ascend: every row of dx has one row of dout at most.
struct Put {
  GatherRowsBackward a;
  FaultSite no_row;
  FaultSite no_order;

  template <int V>
  __device__ void run(int64_t pick, int64_t column) const {
    const int64_t row = a.index[pick];
    const bool is_row = row >= 0 && row < a.rows;
    const bool ascends = pick == 0 || a.index[pick - 1] < row;
    if (column == 0 && !is_row) no_row.report(pick, row);
    if (column == 0 && is_row && !ascends) no_order.report(pick, row);
    if (!is_row || !ascends) return;
    Floats<V> value = load<V>(a.dout + pick * a.width + column);
    float* to = a.dx + row * a.width + column;
    if (a.accumulate_dx) {
      const Floats<V> before = load<V>(to);
      for (int v = 0; v < V; ++v) value.at[v] += before.at[v];
    }
    store<V>(to, value);
  }
};

struct Add {
  GatherRowsBackward a;
  FaultSite fault;
  const ExactScale* scale;
  long long* sums;
  int log_terms;

  template <int V>
  __device__ void run(int64_t pick, int64_t column) const {
    const int64_t row = a.index[pick];
    if (row < 0 || row >= a.rows) {
      if (column == 0) fault.report(pick, row);
      return;
    }
    const int shift = exact_shift(*scale, log_terms);
    const Floats<V> dout = load<V>(a.dout + pick * a.width + column);
    for (int v = 0; v < V; ++v) add_exact(sums + row * a.width + column + v, dout.at[v], shift);
  }
};

struct Finish {
  GatherRowsBackward a;
  const ExactScale* scale;
  const long long* sums;
  int log_terms;

  template <int V>
  __device__ void run(int64_t i) const {
    const int shift = exact_shift(*scale, log_terms);
    Floats<V> value{};
    if (a.accumulate_dx) value = load<V>(a.dx + i);
    for (int v = 0; v < V; ++v) value.at[v] += exact_value(sums[i + v], shift);
    store<V>(a.dx + i, value);
  }
};

// Where a sum has a term that is no number, it is none either.
struct Spoil {
  GatherRowsBackward a;
  const ExactScale* scale;

  template <int V>
  __device__ void run(int64_t i) const {
    if (!scale->spoiled) return;
    for (int v = 0; v < V; ++v) {
      const int64_t row = a.index[(i + v) / a.width];
      if (isfinite(a.dout[i + v]) || row < 0 || row >= a.rows) continue;
      a.dx[row * a.width + (i + v) % a.width] = NAN;
    }
  }
};

}  // namespace

void gather_rows_forward(const GatherRowsForward& a, Launch& launch) {
  const FaultSite fault(launch, "an index of a row of x");
  over_rows(a.count, a.width, is_wide(a.width, a.x, a.out), Forward{a, fault}, launch.stream);
}

void gather_rows_backward(const GatherRowsBackward& a, Launch& launch) {
  const int64_t cells = a.rows * a.width;
  const FaultSite fault(launch, "an index of a row of x");
  if (a.ascending) {
    if (!a.accumulate_dx) cudaMemsetAsync(a.dx, 0, static_cast<size_t>(cells) * sizeof(float), launch.stream);
    const Put put{a, fault, FaultSite(launch, "indices that ascend")};
    return over_rows(a.count, a.width, is_wide(a.width, a.dout, a.dx), put, launch.stream);
  }
  auto* memory = launch.workspace_of<long long>(cells + 1);
  if (!memory) return;
  auto* scale = reinterpret_cast<ExactScale*>(memory);
  long long* sums = memory + 1;
  const int log_terms = log_terms_of(a.count);
  const int64_t picked = a.count * a.width;
  find_exact_scale(a.dout, picked, scale, launch.stream);
  cudaMemsetAsync(sums, 0, static_cast<size_t>(cells) * sizeof(long long), launch.stream);
  over_rows(a.count, a.width, is_wide(a.width, a.dout), Add{a, fault, scale, sums, log_terms}, launch.stream);
  over_elements(cells, is_wide(0, a.dx), Finish{a, scale, sums, log_terms}, launch.stream);
  over_elements(picked, is_wide(0), Spoil{a, scale}, launch.stream);
}

}  // namespace cuda
}  // namespace seqrisk
