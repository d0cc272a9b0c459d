// iforest_grow: grows isolation trees, each from a sample of the rows (Liu, Ting & Zhou 2008, algorithm 2; with an
// extension cuts are oblique: Hariri et al. 2019). iforest_grower.h is how.
// Bytes: 8·count·samples·features. Operations: some for each row on each level of a tree.
#pragma once

#include <cstddef>
#include <cstdint>

#include "ops/iforest_tree.h"

namespace seqrisk {

constexpr int64_t kIforestMostLevels = 24;

// Trees first … first + count − 1 of a forest, which has all of `nodes`, `depths` and `terms`.
struct IforestGrow {
  const double* values;  // (count, samples, features)
  int64_t first;
  int64_t count;
  int64_t samples;
  int64_t features;
  int64_t extension;   // features that a cut looks at besides one
  int64_t levels;      // no path has more cuts; ≤ kIforestMostLevels
  uint64_t seed;       // tree t draws from (seed, t)
  std::byte* scratch;  // workers times iforest_grow_bytes(); on a card null, launchers have their own
  IforestNode* nodes;  // (trees, 2·samples − 1)
  double* depths;      // the same; of leaves: the path's length, with what isolating its rows would add
  IforestTerm* terms;  // (trees, samples − 1, extension + 1), of cuts in the order of a tree; not for extension 0
};

// Scratch memory of one tree.
SEQRISK_BOTH size_t iforest_grow_bytes(const IforestGrow& a) {
  const auto samples = static_cast<size_t>(a.samples);
  const size_t bytes =
      samples * (sizeof(double) + 2 * sizeof(int32_t)) + static_cast<size_t>(a.features) * sizeof(int32_t);
  return (bytes + 63) / 64 * 64;
}

}  // namespace seqrisk
