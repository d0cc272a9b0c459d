// Opens a kernel source. The build compiles every source once per instruction set; SEQRISK_VARIANT is its namespace
// (scalar, avx2, avx512, neon), and Highway's static dispatch gives `hn` the matching vectors.
// Rule for kernels: no std containers, no allocation, no exceptions. An inline function of the standard library that is
// compiled with wide vectors could be the copy that the linker keeps for all (`.ci/check.mjs` looks for such symbols).
#pragma once

#include <hwy/highway.h>

#include <cstddef>
#include <cstdint>

#ifndef SEQRISK_VARIANT
#error "compile kernel sources through CMakeLists.txt, which names the variant"
#endif

namespace seqrisk::SEQRISK_VARIANT {
namespace hn = hwy::HWY_NAMESPACE;
}
