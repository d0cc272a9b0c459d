// The dispatch table: one row per variant (scalar, avx2, avx512, neon), one column per kernel of ops/kernels.def, and a
// row for products of bfloat16. A CUDA device fills the same columns with launchers.
#pragma once

#include <string>
#include <vector>

#include "ops/all.h"

namespace seqrisk {

enum class Kernel : int {
#define SEQRISK_KERNEL(function, Arguments) function,
#include "ops/kernels.def"
#undef SEQRISK_KERNEL
  count
};

// What a card alone has.
enum class CardKernel : int {
#define SEQRISK_CARD_KERNEL(function, Arguments) function,
#include "ops/card_kernels.def"
#undef SEQRISK_CARD_KERNEL
  count
};

struct KernelTable {
  const char* name;
#define SEQRISK_KERNEL(function, Arguments) void (*function)(const Arguments&, Workers&);
#include "ops/kernels.def"
#undef SEQRISK_KERNEL
};

struct Variant {
  const KernelTable* table;
  bool supported;  // by this processor
};

// All variants that this binary holds, best first.
const std::vector<Variant>& cpu_variants();

// The variant of that name; an empty name means $SEQRISK_VARIANT, or else the best one that the processor supports.
// Throws Error for an unknown or unsupported name.
const KernelTable& choose_cpu_variant(const std::string& name);

// The kernels with matrix products of bfloat16 operands, a variant of avx512. Throws Error where this binary or the
// processor has none, and for the name of another variant.
const KernelTable& choose_cpu_bfloat16(const std::string& name);

}  // namespace seqrisk
