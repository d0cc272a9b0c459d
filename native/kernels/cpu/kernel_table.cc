// Lists this variant's kernels; see runtime/kernel_table.h.
#include "runtime/kernel_table.h"

#include "kernels/cpu/variant.h"

#define SEQRISK_STRING_OF(name) #name
#define SEQRISK_STRING(name) SEQRISK_STRING_OF(name)

namespace seqrisk {
namespace SEQRISK_VARIANT {

#define SEQRISK_KERNEL(function, Arguments) void function(const Arguments&, Workers&);
#include "ops/kernels.def"
#undef SEQRISK_KERNEL

extern const KernelTable kTable;
constinit const KernelTable kTable = {
    SEQRISK_STRING(SEQRISK_VARIANT),
#define SEQRISK_KERNEL(function, Arguments) &function,
#include "ops/kernels.def"
#undef SEQRISK_KERNEL
};

}  // namespace SEQRISK_VARIANT
}  // namespace seqrisk
