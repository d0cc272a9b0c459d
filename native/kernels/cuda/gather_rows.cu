// gather_rows on CUDA. Backward: picks are sorted by row, see sorted_sums.h, unless no two of them meet.
#include "ops/gather_rows.h"

#include "kernels/cuda/device-inl.cuh"
#include "kernels/cuda/sorted_sums.h"

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

struct Check {
  GatherRowsBackward a;
  FaultSite fault;

  template <int V>
  __device__ void run(int64_t pick) const {
    if (a.index[pick] < 0 || a.index[pick] >= a.rows) fault.report(pick, a.index[pick]);
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
  if (!a.accumulate_dx) cudaMemsetAsync(a.dx, 0, static_cast<size_t>(cells) * sizeof(float), launch.stream);
  if (a.ascending) {
    const Put put{a, fault, FaultSite(launch, "indices that ascend")};
    return over_rows(a.count, a.width, is_wide(a.width, a.dout, a.dx), put, launch.stream);
  }
  void* memory = launch.workspace(sorted_sums_bytes(a.count, a.width));
  if (!memory) return;
  over_elements(a.count, false, Check{a, fault}, launch.stream);
  add_sorted_sums({a.index, a.count, a.rows, a.rows, a.dout, a.width, a.dx, a.width, a.accumulate_dx}, memory, launch);
}

}  // namespace cuda
}  // namespace seqrisk
