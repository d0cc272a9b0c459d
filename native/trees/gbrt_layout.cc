#include "trees/gbrt_layout.h"

#include "runtime/carver.h"

namespace seqrisk {

size_t GbrtLayout::carve_rows(std::byte* base, GbrtMemory& memory) const {
  Carver carver(base);
  carver.take(memory.scores, options_.classes * rows_);
  carver.take(memory.packed, rows_);
  carver.take(memory.targets, rows_);
  if (on_card_) {
    carver.take(memory.order, 2 * rows_);
  } else {
    carver.take(memory.index, gbrt_blocks(rows_) * kGbrtBlockRows);
  }
  if (options_.objective == GbrtObjective::softmax) carver.take(memory.log_sum, rows_);
  return carver.bytes();
}

size_t GbrtLayout::carve_nodes(std::byte* base, GbrtMemory& memory) const {
  Carver carver(base);
  carver.take(memory.histograms, options_.num_leaves * features_ * 2 * kGbrtCells);
  if (on_card_) {
    carver.take(memory.totals, 1);
    std::byte* growing = nullptr;
    carver.take(growing, static_cast<int64_t>(kGbrtGrowingBytes) +
                             options_.num_leaves * static_cast<int64_t>(sizeof(GbrtGrown)));
    memory.growing = reinterpret_cast<GbrtGrowing*>(growing);
    carver.take(memory.splits, 2 * features_);
    carver.take(memory.features, features_);
    carver.take(memory.monotone, features_);
    const bool draws = options_.feature_fraction < 1 || options_.feature_fraction_by_node < 1;
    if (draws) carver.take(memory.usable, (2 * options_.num_leaves - 1) * features_);
    carver.take(memory.runs, 2 * options_.num_leaves);
    carver.take(memory.follow, options_.num_leaves);
    carver.take(memory.follow_values, options_.num_leaves);
    return carver.bytes();
  }
  carver.take(memory.cells, GbrtCellMemory::words(features_) * workers_);
  carver.take(memory.scratch, 2 * kGbrtBlockRows * workers_);
  carver.take(memory.segments, options_.num_leaves * gbrt_blocks(rows_));
  return carver.bytes();
}

size_t GbrtLayout::carve_flags(std::byte* base, GbrtMemory& memory) const {
  Carver carver(base);
  carver.take(memory.trains, rows_);
  if (on_card_) carver.take(memory.candidates, rows_);
  return carver.bytes();
}

size_t GbrtLayout::carve_forest(std::byte* base, GbrtMemory& memory) const {
  Carver carver(base);
  carver.take(memory.own_weights, rows_);
  carver.take(memory.outside_sum, options_.classes * rows_);
  carver.take(memory.outside_count, rows_);
  return carver.bytes();
}

size_t GbrtLayout::carve_custom(std::byte* base, GbrtMemory& memory) const {
  Carver carver(base);
  carver.take(memory.custom_grad, options_.classes * rows_);
  carver.take(memory.custom_hess, options_.classes * rows_);
  return carver.bytes();
}

}  // namespace seqrisk
