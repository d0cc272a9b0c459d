// What a trainer's handle holds; shared by the bindings that train and those that watch rows.
#pragma once

#include <napi.h>

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "bindings/tree_handles.h"
#include "trees/gbrt_trainer.h"

namespace seqrisk {

struct TrainerHeld {
  std::shared_ptr<BinnedMatrix> matrix;
  std::shared_ptr<Buffer> bins;  // stays when the matrix is freed
  std::shared_ptr<GbrtTrainer> trainer;
  std::shared_ptr<std::atomic<int>> running = std::make_shared<std::atomic<int>>(0);
  std::shared_ptr<std::atomic<bool>> stop = std::make_shared<std::atomic<bool>>(false);
  GbrtOptions options;
  std::shared_ptr<Buffer> rows, nodes, weights, roles, trains, custom, best, forest;
  // Rows of another matrix to watch in the next boost, once they are found right.
  GbrtWatched watched;
  std::shared_ptr<std::atomic<bool>> is_watched;
  std::shared_ptr<Buffer> watched_bins, watched_rows;

  Stream& stream() const { return *matrix->stream; }
};

// A live trainer of an open device; throws for anything else.
TrainerHeld& trainer_of(const Napi::Value& value);

// Marks the trainer as running until the task's completion.
Completion counted(const TrainerHeld& held, Completion done);

}  // namespace seqrisk
