// The passes of K-Means over the rows: kmeans_assign and kmeans_seed. Squared distances are sums over the features in
// order, of float32 products rounded one by one: every variant finds the same bits.
#pragma once

#include <cstdint>

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

}  // namespace seqrisk
