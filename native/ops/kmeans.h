// The passes of K-Means over the rows: kmeans_assign and kmeans_seed. Squared distances are sums over the features in
// order, of float32 products rounded one by one: every variant finds the same bits.
#pragma once

#include <cstdint>

#include "ops/both.h"

namespace seqrisk {

constexpr int64_t kKmeansTaskRows = 512;
constexpr int64_t kKmeansLanes = 16;  // centres are padded to a multiple

// The nearest centre of every row (ties: the lowest), skipping rows whose bounds settle it (Hamerly 2010): `upper` is
// not below the distance to the row's own centre, `lower` not above the distance to any other. Bytes: rows·(4·features
// + 12). Operations: 3·features·clusters for a row that is not skipped.
struct KmeansAssign {
  const float* values;  // (rows, features)
  int64_t rows;
  int64_t features;
  const float* centers;  // (features, padded)
  int64_t clusters;
  int64_t padded;
  // What the bounds lost since the last pass. null: no bounds yet.
  const float* moved;     // (clusters) how far each centre went
  const float* apart;     // (clusters) half the distance to the nearest other centre
  int64_t farthest;       // the centre that went farthest
  float second_farthest;  // how far the next one went
  float slack;            // no distance is farther off, relative to itself; nor is a sum of two
  int32_t* assigned;      // (rows)
  float* upper;           // (rows)
  float* lower;           // (rows)
  int64_t* changed;       // (tasks) rows that changed their centre
  // Sums of the rows of each cluster, part by part; tasks of a part follow each other.
  int64_t parts;
  double* sums;     // (parts, clusters, features)
  int64_t* counts;  // (parts, clusters)
};

// Squared distances to a few candidates: Σ over each task's rows of min(closest, distance²) for every candidate; with
// `update`, closest becomes that of candidate 0.
struct KmeansSeed {
  const float* values;  // (rows, features)
  int64_t rows;
  int64_t features;
  const float* candidates;  // (features, kKmeansLanes)
  int64_t count;            // ≤ kKmeansLanes
  bool update;
  float* closest;      // (rows) squared
  double* potentials;  // (tasks, kKmeansLanes)
};

// Whether the bounds say that the row stays; moves them along with the centres first.
SEQRISK_BOTH bool kmeans_stays(const KmeansAssign& a, int64_t r) {
  const int32_t own = a.assigned[r];
  // Sums of two floats are rounded once: slack has room for that.
  const float upper = a.upper[r] + a.moved[own];
  const float lower = a.lower[r] - (own == a.farthest ? a.second_farthest : a.moved[a.farthest]);
  const float reach = lower > a.apart[own] ? lower : a.apart[own];
  if (!(upper * (1 + a.slack) < reach * (1 - a.slack))) return false;
  a.upper[r] = upper * (1 + a.slack);
  a.lower[r] = lower > 0 ? lower * (1 - a.slack) : lower * (1 + a.slack);
  return true;
}

}  // namespace seqrisk
