#include "trees/kmeans.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "ops/draws.h"
#include "runtime/kernel_table.h"
#include "runtime/thread_pool.h"

namespace seqrisk {
namespace {

constexpr uint32_t kSeedStream = 0x3ea;
// Seeds come from a sample of more rows than these, and than so many a cluster.
constexpr int64_t kSeedRows = 1 << 16;
constexpr int64_t kSeedRowsPerCluster = 64;
constexpr int64_t kMostParts = 64;
constexpr int64_t kMostSums = 1 << 22;
// A distance is a sum of float32 squares, each rounded a few times.
constexpr double kRounding = 0x1p-22;
// Of what is computed in float64 and rounded to float32.
constexpr double kAbove = 1 + 0x1p-22;
constexpr double kBelow = 1 - 0x1p-22;
// Squares of larger ones could not be summed.
constexpr float kMostValue = 1e15F;

Error cancelled() {
  return Error::coded("ABORTED", "[kmeans] expected to finish but received a cancel; start again");
}

}  // namespace

Kmeans::Kmeans(const KmeansOptions& options)
    : options_(options),
      tasks_((options.rows + kKmeansTaskRows - 1) / kKmeansTaskRows),
      padded_((options.clusters + kKmeansLanes - 1) / kKmeansLanes * kKmeansLanes) {
  const int64_t size = options.clusters * options.features;
  parts_ = std::clamp<int64_t>(kMostSums / size, 1, std::min(kMostParts, tasks_));
  centers_.resize(static_cast<size_t>(size));
  transposed_.resize(static_cast<size_t>(padded_ * options.features));
  moved_.resize(static_cast<size_t>(options.clusters));
  apart_.resize(static_cast<size_t>(options.clusters));
  changed_.resize(static_cast<size_t>(tasks_));
  sums_.resize(static_cast<size_t>(parts_ * size));
  counts_.resize(static_cast<size_t>(parts_ * options.clusters));
}

int64_t Kmeans::sample_rows() const {
  return std::min(options_.rows, std::max(kSeedRows, kSeedRowsPerCluster * options_.clusters));
}

std::optional<Error> Kmeans::begin(const KmeansMemory& memory, const KmeansMemory& card,
                                   const std::vector<float>& centers, HostContext& context) {
  memory_ = memory;
  card_ = card;
  progress_ = {};
  has_bounds_ = false;
  const int64_t features = options_.features;
  for (int64_t i = 0; i < options_.rows * features; ++i) {
    if (std::fabs(memory_.values[i]) <= kMostValue) continue;
    return Error::range("[kmeans] expected values in [-1e15, 1e15] but received " + std::to_string(memory_.values[i]) +
                        " in row " + std::to_string(i / features) + ", column " + std::to_string(i % features) +
                        "; fill in missing values, and scale the columns");
  }
  std::fill(memory_.assigned, memory_.assigned + options_.rows, -1);
  if (context.card) {
    const auto rows = static_cast<size_t>(options_.rows);
    context.card->upload(card_.values, memory_.values, rows * static_cast<size_t>(features) * sizeof(float));
    context.card->upload(card_.assigned, memory_.assigned, rows * sizeof(int32_t));
  }
  least_shift_ = options_.tolerance == 0 ? 0 : options_.tolerance * mean_variance(context);
  if (centers.empty()) {
    seed(context);
  } else {
    centers_ = centers;
  }
  return context.workers.cancelled() ? std::optional<Error>(cancelled()) : std::nullopt;
}

// Mean over the columns; rows in turn, as they lie in memory, and tasks added in order.
double Kmeans::mean_variance(HostContext& context) const {
  const int64_t features = options_.features;
  const auto width = static_cast<size_t>(features);
  std::vector<double> sums(static_cast<size_t>(tasks_) * width);
  const auto add_up = [&](auto&& term) {
    context.workers.run(tasks_, [&](int64_t task, int) {
      double* to = sums.data() + static_cast<size_t>(task) * width;
      std::fill(to, to + features, 0.0);
      const int64_t end = std::min(options_.rows, (task + 1) * kKmeansTaskRows);
      for (int64_t r = task * kKmeansTaskRows; r < end; ++r) {
        const float* row = memory_.values + r * features;
        for (int64_t f = 0; f < features; ++f) to[f] += term(static_cast<double>(row[f]), f);
      }
    });
    std::vector<double> total(width);
    for (size_t i = 0; i < sums.size(); ++i) total[i % width] += sums[i] / static_cast<double>(options_.rows);
    return total;
  };
  const std::vector<double> mean = add_up([](double value, int64_t) { return value; });
  const std::vector<double> variance = add_up([&](double value, int64_t f) {
    const double d = value - mean[static_cast<size_t>(f)];
    return d * d;
  });
  return std::accumulate(variance.begin(), variance.end(), 0.0) / static_cast<double>(features);
}

void Kmeans::seed(HostContext& context) {
  const int64_t features = options_.features;
  Draws draws(options_.seed, kSeedStream, 0);
  const int64_t rows = sample_rows();
  std::vector<float> sample;
  const float* values = memory_.values;
  if (rows < options_.rows) {
    // Knuth, TAOCP 2, 3.4.2 S.
    sample.reserve(static_cast<size_t>(rows * features));
    for (int64_t r = 0, taken = 0; taken < rows; ++r) {
      if (draws.uniform() * static_cast<double>(options_.rows - r) >= static_cast<double>(rows - taken)) continue;
      sample.insert(sample.end(), values + r * features, values + (r + 1) * features);
      ++taken;
    }
    values = sample.data();
  }
  const int64_t tasks = (rows + kKmeansTaskRows - 1) / kKmeansTaskRows;
  std::vector<float> candidates(static_cast<size_t>(features * kKmeansLanes));
  std::vector<double> potentials(static_cast<size_t>(tasks * kKmeansLanes));
  float* closest = memory_.upper;
  std::fill(closest, closest + rows, std::numeric_limits<float>::infinity());
  if (context.card) {
    context.card->upload(card_.sample, sample.data(), sample.size() * sizeof(float));
    context.card->upload(card_.upper, closest, static_cast<size_t>(rows) * sizeof(float));
  }
  KmeansSeed call{};
  call.values = values;
  call.rows = rows;
  call.features = features;
  call.candidates = candidates.data();
  call.closest = closest;
  call.potentials = potentials.data();
  const auto put = [&](int64_t lane, int64_t row) {
    for (int64_t f = 0; f < features; ++f) {
      candidates[static_cast<size_t>(f * kKmeansLanes + lane)] = values[row * features + f];
    }
  };
  std::vector<double> weight(static_cast<size_t>(tasks));  // Σ of squared distances of each task's rows
  double total = 0;
  const auto accept = [&](int64_t cluster, int64_t row) {
    std::copy(values + row * features, values + (row + 1) * features, centers_.begin() + cluster * features);
    put(0, row);
    call.count = 1;
    call.update = true;
    run_seed(call, potentials, context);
    total = 0;
    for (int64_t t = 0; t < tasks; ++t)
      total += weight[static_cast<size_t>(t)] = potentials[static_cast<size_t>(t * kKmeansLanes)];
  };
  // A row, by its squared distance from the nearest centre.
  const auto draw = [&] {
    if (!(total > 0)) return draws.below(rows);  // all rows are on centres
    double left = draws.uniform() * total;
    int64_t t = 0;
    while (t + 1 < tasks && left >= weight[static_cast<size_t>(t)]) left -= weight[static_cast<size_t>(t++)];
    const int64_t end = std::min(rows, (t + 1) * kKmeansTaskRows);
    int64_t last = t * kKmeansTaskRows;
    for (int64_t r = last; r < end; ++r) {
      if (!(closest[r] > 0)) continue;
      last = r;
      left -= static_cast<double>(closest[r]);
      if (left < 0) break;
    }
    return last;
  };
  accept(0, draws.below(rows));
  const auto trials =
      std::min<int64_t>(kKmeansLanes, 2 + static_cast<int64_t>(std::log(static_cast<double>(options_.clusters))));
  for (int64_t cluster = 1; cluster < options_.clusters; ++cluster) {
    if (context.workers.cancelled()) return;
    int64_t drawn[kKmeansLanes];
    for (int64_t k = 0; k < trials; ++k) put(k, drawn[k] = draw());
    call.count = trials;
    call.update = false;
    run_seed(call, potentials, context);
    double sums[kKmeansLanes] = {};
    for (int64_t t = 0; t < tasks; ++t) {
      for (int64_t k = 0; k < trials; ++k) sums[k] += potentials[static_cast<size_t>(t * kKmeansLanes + k)];
    }
    accept(cluster, drawn[std::min_element(sums, sums + trials) - sums]);
  }
}

void Kmeans::run_seed(const KmeansSeed& call, std::vector<double>& potentials, HostContext& context) {
  if (!context.card) return context.kernels.kmeans_seed(call, context.workers);
  Card& card = *context.card;
  KmeansSeed there = call;
  there.values = call.rows < options_.rows ? card_.sample : card_.values;
  there.candidates = card_.candidates;
  there.closest = card_.upper;
  there.potentials = card_.potentials;
  card.upload(card_.candidates, call.candidates, static_cast<size_t>(call.features * kKmeansLanes) * sizeof(float));
  card.launch(Kernel::kmeans_seed, there);
  card.download(potentials.data(), card_.potentials, potentials.size() * sizeof(double));
  if (call.update) card.download(call.closest, card_.upper, static_cast<size_t>(call.rows) * sizeof(float));
}

void Kmeans::assign_on_card(KmeansAssign call, Card& card) {
  card.upload(card_.centers, transposed_.data(), transposed_.size() * sizeof(float));
  if (call.moved) {
    card.upload(card_.moved, moved_.data(), moved_.size() * sizeof(float));
    card.upload(card_.apart, apart_.data(), apart_.size() * sizeof(float));
    call.moved = card_.moved;
    call.apart = card_.apart;
  }
  call.values = card_.values;
  call.centers = card_.centers;
  call.assigned = card_.assigned;
  call.upper = card_.upper;
  call.lower = card_.lower;
  call.changed = card_.changed;
  call.sums = card_.sums;
  call.counts = card_.counts;
  card.launch(Kernel::kmeans_assign, call);
  card.download(changed_.data(), card_.changed, changed_.size() * sizeof(int64_t));
  card.download(sums_.data(), card_.sums, sums_.size() * sizeof(double));
  card.download(counts_.data(), card_.counts, counts_.size() * sizeof(int64_t));
}

void Kmeans::assign(HostContext& context) {
  for (int64_t k = 0; k < options_.clusters; ++k) {
    for (int64_t f = 0; f < options_.features; ++f) {
      transposed_[static_cast<size_t>(f * padded_ + k)] = centers_[static_cast<size_t>(k * options_.features + f)];
    }
  }
  KmeansAssign call{};
  call.values = memory_.values;
  call.rows = options_.rows;
  call.features = options_.features;
  call.centers = transposed_.data();
  call.clusters = options_.clusters;
  call.padded = padded_;
  if (has_bounds_) {
    call.moved = moved_.data();
    call.apart = apart_.data();
    call.farthest = farthest_;
    call.second_farthest = second_farthest_;
  }
  call.slack = static_cast<float>(static_cast<double>(options_.features + 16) * kRounding);
  call.assigned = memory_.assigned;
  call.upper = memory_.upper;
  call.lower = memory_.lower;
  call.changed = changed_.data();
  call.parts = parts_;
  call.sums = sums_.data();
  call.counts = counts_.data();
  if (context.card) {
    assign_on_card(call, *context.card);
  } else {
    context.kernels.kmeans_assign(call, context.workers);
  }
  progress_.changed = std::accumulate(changed_.begin(), changed_.end(), int64_t{0});
}

double Kmeans::squared_distance(int64_t row, int64_t cluster) const {
  double sum = 0;
  for (int64_t f = 0; f < options_.features; ++f) {
    const double d = static_cast<double>(memory_.values[row * options_.features + f]) -
                     static_cast<double>(centers_[static_cast<size_t>(cluster * options_.features + f)]);
    sum += d * d;
  }
  return sum;
}

double* Kmeans::center_sum(std::vector<double>& sums, int64_t cluster) const {
  return sums.data() + cluster * options_.features;
}

// Clusters without rows, in order, take the rows farthest from their centres, in order (ties: the lowest row).
void Kmeans::fill_empty(std::vector<double>& sums, std::vector<int64_t>& counts, HostContext& context) {
  const auto empty = static_cast<size_t>(std::count(counts.begin(), counts.end(), 0));
  if (empty == 0) return;
  if (context.card) {
    context.card->download(memory_.assigned, card_.assigned, static_cast<size_t>(options_.rows) * sizeof(int32_t));
  }
  std::vector<double> distance(static_cast<size_t>(options_.rows));
  context.workers.run(tasks_, [&](int64_t task, int) {
    const int64_t end = std::min(options_.rows, (task + 1) * kKmeansTaskRows);
    for (int64_t r = task * kKmeansTaskRows; r < end; ++r) {
      distance[static_cast<size_t>(r)] = squared_distance(r, memory_.assigned[r]);
    }
  });
  std::vector<int64_t> order(distance.size());
  std::iota(order.begin(), order.end(), 0);
  const size_t wanted = std::min(empty, order.size());
  std::partial_sort(order.begin(), order.begin() + static_cast<int64_t>(wanted), order.end(),
                    [&](int64_t a, int64_t b) {
                      const double da = distance[static_cast<size_t>(a)];
                      const double db = distance[static_cast<size_t>(b)];
                      return da != db ? da > db : a < b;
                    });
  size_t next = 0;
  for (int64_t k = 0; k < options_.clusters && next < wanted; ++k) {
    if (counts[static_cast<size_t>(k)] != 0) continue;
    const int64_t row = order[next++];
    if (!(distance[static_cast<size_t>(row)] > 0)) break;
    const int64_t from = memory_.assigned[row];
    if (counts[static_cast<size_t>(from)] < 2) continue;  // it would leave another one without rows
    for (int64_t f = 0; f < options_.features; ++f) {
      const auto v = static_cast<double>(memory_.values[row * options_.features + f]);
      center_sum(sums, from)[f] -= v;
      center_sum(sums, k)[f] = v;
    }
    --counts[static_cast<size_t>(from)];
    counts[static_cast<size_t>(k)] = 1;
    memory_.assigned[row] = static_cast<int32_t>(k);
    memory_.upper[row] = std::numeric_limits<float>::infinity();
    memory_.lower[row] = 0;
    if (context.card) {
      context.card->upload(card_.assigned + row, memory_.assigned + row, sizeof(int32_t));
      context.card->upload(card_.upper + row, memory_.upper + row, sizeof(float));
      context.card->upload(card_.lower + row, memory_.lower + row, sizeof(float));
    }
    ++progress_.changed;
  }
}

void Kmeans::move_centers(HostContext& context) {
  const int64_t features = options_.features;
  const int64_t size = options_.clusters * features;
  std::vector<double> sums(sums_.begin(), sums_.begin() + size);
  std::vector<int64_t> counts(counts_.begin(), counts_.begin() + options_.clusters);
  for (int64_t part = 1; part < parts_; ++part) {
    for (int64_t i = 0; i < size; ++i) sums[static_cast<size_t>(i)] += sums_[static_cast<size_t>(part * size + i)];
    for (int64_t k = 0; k < options_.clusters; ++k) {
      counts[static_cast<size_t>(k)] += counts_[static_cast<size_t>(part * options_.clusters + k)];
    }
  }
  fill_empty(sums, counts, context);
  progress_.shift = 0;
  farthest_ = 0;
  second_farthest_ = 0;
  for (int64_t k = 0; k < options_.clusters; ++k) {
    double shift = 0;
    for (int64_t f = 0; f < features && counts[static_cast<size_t>(k)] > 0; ++f) {
      float& center = centers_[static_cast<size_t>(k * features + f)];
      const auto mean =
          static_cast<float>(center_sum(sums, k)[f] / static_cast<double>(counts[static_cast<size_t>(k)]));
      const double d = static_cast<double>(mean) - static_cast<double>(center);
      shift += d * d;
      center = mean;
    }
    progress_.shift += shift;
    moved_[static_cast<size_t>(k)] = static_cast<float>(std::sqrt(shift) * kAbove);
  }
  for (int64_t k = 1; k < options_.clusters; ++k) {
    if (moved_[static_cast<size_t>(k)] > moved_[static_cast<size_t>(farthest_)]) farthest_ = k;
  }
  for (int64_t k = 0; k < options_.clusters; ++k) {
    if (k != farthest_) second_farthest_ = std::max(second_farthest_, moved_[static_cast<size_t>(k)]);
  }
  context.workers.run(options_.clusters, [&](int64_t k, int) {
    double least = std::numeric_limits<double>::infinity();
    for (int64_t other = 0; other < options_.clusters; ++other) {
      if (other == k) continue;
      double sum = 0;
      for (int64_t f = 0; f < features && sum < least; ++f) {
        const double d = static_cast<double>(centers_[static_cast<size_t>(k * features + f)]) -
                         static_cast<double>(centers_[static_cast<size_t>(other * features + f)]);
        sum += d * d;
      }
      least = std::min(least, sum);
    }
    apart_[static_cast<size_t>(k)] = static_cast<float>(std::sqrt(least) / 2 * kBelow);
  });
}

std::optional<Error> Kmeans::step(int64_t iterations, HostContext& context) {
  for (int64_t i = 0; i < iterations && !progress_.is_done; ++i) {
    assign(context);
    if (context.workers.cancelled()) return cancelled();
    has_bounds_ = false;  // of centres that move, and of how far, until both are whole
    move_centers(context);
    if (context.workers.cancelled()) return cancelled();
    has_bounds_ = true;
    ++progress_.iterations;
    progress_.is_done = progress_.changed == 0 || progress_.shift <= least_shift_;
  }
  return std::nullopt;
}

std::optional<Error> Kmeans::finish(double* inertia, HostContext& context) {
  assign(context);
  if (context.workers.cancelled()) return cancelled();
  if (context.card) {
    const auto bytes = static_cast<size_t>(options_.rows) * sizeof(int32_t);
    if (!context.card->download(memory_.assigned, card_.assigned, bytes)) return std::nullopt;
  }
  // A second call finds nothing moved.
  std::fill(moved_.begin(), moved_.end(), 0.0F);
  second_farthest_ = 0;
  std::vector<double> sums(static_cast<size_t>(tasks_));
  context.workers.run(tasks_, [&](int64_t task, int) {
    const int64_t end = std::min(options_.rows, (task + 1) * kKmeansTaskRows);
    double sum = 0;
    for (int64_t r = task * kKmeansTaskRows; r < end; ++r) sum += squared_distance(r, memory_.assigned[r]);
    sums[static_cast<size_t>(task)] = sum;
  });
  if (context.workers.cancelled()) return cancelled();
  *inertia = std::accumulate(sums.begin(), sums.end(), 0.0);
  return std::nullopt;
}

}  // namespace seqrisk
