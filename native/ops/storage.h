// How activations stand in memory. A card may keep them in bfloat16: then the pointers to float that a contract marks
// [stored] point to bfloat16. Arithmetic is in float32 either way. The CPU's kernels see float32 alone.
#pragma once

#include <cstdint>

namespace seqrisk {

enum class Storage : int32_t { float32, bfloat16 };

}  // namespace seqrisk
