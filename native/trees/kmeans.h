// K-Means: k-means++ seeding (Arthur & Vassilvitskii 2007, the best of a few candidates each time) and Lloyd's
// iterations with Hamerly's bounds, which change nothing but the time. A cluster without rows gets the row that is
// farthest from its centre, unless all rows are on theirs.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "ops/kmeans.h"
#include "runtime/error.h"
#include "runtime/stream.h"

namespace seqrisk {

struct KmeansOptions {
  int64_t rows = 0;
  int64_t features = 0;
  int64_t clusters = 0;
  double tolerance = 0;  // of the mean variance: a smaller Σ of squared steps of the centres ends the iterations
  uint64_t seed = 0;
};

// Memory of the stream. On a card there is one of the host, which holds what it looks at, and one of the card.
struct KmeansMemory {
  float* values = nullptr;      // (rows, features)
  int32_t* assigned = nullptr;  // (rows)
  float* upper = nullptr;       // (rows)
  float* lower = nullptr;       // (rows)
  // Of a card alone: what kernels share with the host.
  float* sample = nullptr;       // (sample_rows, features) when not all rows are taken for seeds
  float* candidates = nullptr;   // (features, kKmeansLanes)
  double* potentials = nullptr;  // (tasks, kKmeansLanes)
  float* centers = nullptr;      // (features, padded)
  float* moved = nullptr;        // (clusters)
  float* apart = nullptr;        // (clusters)
  int64_t* changed = nullptr;    // (tasks)
  double* sums = nullptr;        // (parts, clusters, features)
  int64_t* counts = nullptr;     // (parts, clusters)
};

struct KmeansProgress {
  int64_t iterations = 0;
  int64_t changed = 0;  // rows, in the last iteration
  double shift = 0;     // Σ of squared steps of the centres
  bool is_done = false;
};

class Kmeans {
 public:
  explicit Kmeans(const KmeansOptions& options);

  const KmeansOptions& options() const { return options_; }
  int64_t sample_rows() const;  // that seeds are drawn from
  int64_t tasks() const { return tasks_; }
  int64_t parts() const { return parts_; }
  int64_t padded() const { return padded_; }
  // Starts from the given centres, (clusters, features), or from seeds. All values must be finite. `card` is the card's
  // memory, if there is one.
  std::optional<Error> begin(const KmeansMemory& memory, const KmeansMemory& card, const std::vector<float>& centers,
                             HostContext& context);
  std::optional<Error> step(int64_t iterations, HostContext& context);
  // Assigns all rows to the centres as they are; Σ of squared distances.
  std::optional<Error> finish(double* inertia, HostContext& context);
  const KmeansProgress& progress() const { return progress_; }
  const std::vector<float>& centers() const { return centers_; }

 private:
  double mean_variance(HostContext& context) const;
  void seed(HostContext& context);
  void run_seed(const KmeansSeed& call, std::vector<double>& potentials, HostContext& context);
  void assign(HostContext& context);
  void assign_on_card(KmeansAssign call, Card& card);
  void move_centers(HostContext& context);
  void fill_empty(std::vector<double>& sums, std::vector<int64_t>& counts, HostContext& context);
  double squared_distance(int64_t row, int64_t cluster) const;
  double* center_sum(std::vector<double>& sums, int64_t cluster) const;

  KmeansOptions options_;
  KmeansMemory memory_;
  KmeansMemory card_;
  int64_t tasks_;
  int64_t parts_;
  int64_t padded_;
  double least_shift_ = 0;
  KmeansProgress progress_;
  bool has_bounds_ = false;
  std::vector<float> centers_;     // (clusters, features)
  std::vector<float> transposed_;  // (features, padded)
  std::vector<float> moved_, apart_;
  int64_t farthest_ = 0;
  float second_farthest_ = 0;
  std::vector<int64_t> changed_;
  std::vector<double> sums_;
  std::vector<int64_t> counts_;
};

}  // namespace seqrisk
