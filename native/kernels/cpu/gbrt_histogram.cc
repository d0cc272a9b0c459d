// gbrt_histogram on the CPU: each worker adds runs of rows to cells of its own; the cells are summed at the end.
#include "ops/gbrt_histogram.h"

#include "kernels/cpu/gbrt_cells-inl.h"
#include "ops/workers.h"

namespace seqrisk::SEQRISK_VARIANT {

void gbrt_histogram(const GbrtHistogram& a, Workers& workers) {
  workers.run(gbrt_blocks(a.count), [&](int64_t task, int worker) {
    const int64_t first = task * kGbrtBlockRows;
    const int64_t count = a.count - first < kGbrtBlockRows ? a.count - first : kGbrtBlockRows;
    const GbrtCells cells = a.cells.of(worker);
    const WeightBound bound{count * a.most_weight, a.most_weight};
    if (a.row_index) {
      for (int64_t i = first; i < first + count; ++i) {
        if (a.row_index[i] >= 0 && a.row_index[i] < a.bins.rows) continue;
        return a.fault->record("row_index in [0, rows)", i, a.row_index[i]);
      }
      add_rows(a.bins, a.packed, a.shift, ListedRows<int32_t>{0, a.row_index + first}, count, bound, cells);
    } else {
      add_rows(a.bins, a.packed, a.shift, EveryRow{first}, count, bound, cells);
    }
  });
  workers.run(a.bins.features, [&](int64_t f, int) {
    int64_t* out = a.out + f * 2 * kGbrtCells;
    for (int64_t b = 0; b < 2 * kGbrtCells; ++b) out[b] = 0;
    for (int worker = 0; worker < a.cells.workers; ++worker) {
      const GbrtCells cells = a.cells.of(worker);
      unpack_cells(cells.packed + f * kGbrtStride, out, kGbrtCells, a.shift);
      int64_t* pairs = cells.pairs + f * 2 * kGbrtCells;
      for (int64_t b = 0; b < 2 * kGbrtCells; ++b) {
        out[b] += pairs[b];
        pairs[b] = 0;
      }
    }
  });
  for (int worker = 0; worker < a.cells.workers; ++worker) {
    a.cells.of(worker).pending[0] = 0;
    a.cells.of(worker).pending[1] = 0;
  }
}

}  // namespace seqrisk::SEQRISK_VARIANT
