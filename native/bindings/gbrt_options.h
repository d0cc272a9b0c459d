// Options of the trainer of boosted trees, read from JavaScript.
#pragma once

#include <napi.h>

#include <vector>

#include "trees/gbrt_trainer.h"

namespace seqrisk {

constexpr double kGbrtMostOption = 1e300;

// A list of numbers in the order in which lib/ops/gbrt_trainer.ts names them.
GbrtOptions gbrt_options_of(const Napi::Value& value);
// For each feature 0 none, 1 rises, 2 falls.
std::vector<int8_t> gbrt_monotone_of(const Napi::Value& value, const std::vector<GbrtFeature>& features);

}  // namespace seqrisk
