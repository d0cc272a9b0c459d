// The kernels of precision bfloat16: linear's have operands of that type, all others are the float32 variant's. The
// table is a constant: made when the addon is loaded, it would be made by instructions that the processor may not have.
#include "kernels/cpu/variant.h"
#include "runtime/kernel_table.h"

namespace seqrisk {

namespace avx512 {
#define SEQRISK_KERNEL(function, Arguments) void function(const Arguments&, Workers&);
#include "ops/kernels.def"
#undef SEQRISK_KERNEL
}  // namespace avx512

namespace SEQRISK_VARIANT {

void gated_separable_conv_forward(const GatedSeparableConvForward&, Workers&);
void linear_pack(const LinearPack&, Workers&);
void linear_forward(const LinearForward&, Workers&);
void linear_backward(const LinearBackward&, Workers&);
void machine_peak(const MachinePeak&, Workers&);

extern const KernelTable kTable;
constinit const KernelTable kTable = [] {
  KernelTable table = {
      "avx512-bfloat16",
#define SEQRISK_KERNEL(function, Arguments) &avx512::function,
#include "ops/kernels.def"
#undef SEQRISK_KERNEL
  };
  table.gated_separable_conv_forward = &gated_separable_conv_forward;
  table.linear_pack = &linear_pack;
  table.linear_forward = &linear_forward;
  table.linear_backward = &linear_backward;
  table.machine_peak = &machine_peak;
  return table;
}();

}  // namespace SEQRISK_VARIANT
}  // namespace seqrisk
