// The CUDA device's row of the dispatch table: a launcher for every kernel of ops/kernels.def that runs there.
#pragma once

#include "kernels/cuda/launch.h"
#include "ops/all.h"

namespace seqrisk {
namespace cuda {

struct LauncherTable {
#define SEQRISK_KERNEL(function, Arguments) void (*function)(const Arguments&, Launch&);
#include "ops/kernels.def"
#undef SEQRISK_KERNEL
#define SEQRISK_CARD_KERNEL(function, Arguments) void (*function)(const Arguments&, Launch&);
#include "ops/card_kernels.def"
#undef SEQRISK_CARD_KERNEL
};

extern const LauncherTable kLaunchers;

}  // namespace cuda
}  // namespace seqrisk
