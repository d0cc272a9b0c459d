// What the tree learners hand to JavaScript.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "bindings/handles.h"
#include "trees/bin_bounds.h"

namespace seqrisk {

struct BinnedMatrix {
  std::shared_ptr<Stream> stream;
  int64_t features = 0;
  int64_t rows = 0;  // stays once it is reserved
  BinOptions options;
  std::vector<uint8_t> is_category;
  // Columns stay as they are once they are learned: work on the stream reads them.
  std::shared_ptr<std::vector<BinnedColumn>> columns;
  // Samples belong to the JavaScript thread until learning starts, and then to the stream.
  enum Phase { sampling, learning, learned };
  std::shared_ptr<std::atomic<Phase>> phase;
  struct Sample {
    std::vector<float> narrow;
    std::vector<double> wide;
  };
  std::shared_ptr<std::vector<Sample>> samples;
  std::shared_ptr<Buffer> bins;  // null before it is reserved and once it was freed
  // Bins, counted by tasks: a cancel or an error on the stream may skip some.
  std::shared_ptr<int64_t> written = std::make_shared<int64_t>(0);

  GbrtBins kernel_bins() const { return {reinterpret_cast<const uint8_t*>(bins->data()), rows, features}; }
};

Napi::Value wrap_binned(Napi::Env env, std::shared_ptr<BinnedMatrix> matrix);
// Throws unless the value is a matrix; with `filled`, one that has bins in memory.
std::shared_ptr<BinnedMatrix> binned_of(const Napi::Value& value, const std::string& where, bool filled);
// Counts bins behind the work that writes them; settles `done`.
void count_written(const BinnedMatrix& matrix, int64_t bins, Completion done);
// What comes next on the stream fails unless all bins were written.
void expect_written(const BinnedMatrix& matrix, const std::string& where);

}  // namespace seqrisk
