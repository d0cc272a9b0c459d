// Attention on tensor cores.
#pragma once

#include <cstdint>

namespace seqrisk {
namespace cuda {

constexpr int64_t kBfloat16MaxHeadDim = 128;  // wider heads are worked on in float32

}  // namespace cuda
}  // namespace seqrisk
