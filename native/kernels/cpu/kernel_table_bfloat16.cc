// The kernels of precision bfloat16: linear's have operands of that type, all others are the float32 variant's.
#include "kernels/cpu/variant.h"
#include "runtime/kernel_table.h"

namespace seqrisk {

namespace avx512 {
extern const KernelTable kTable;
}

namespace SEQRISK_VARIANT {

void linear_pack(const LinearPack&, Workers&);
void linear_forward(const LinearForward&, Workers&);
void linear_backward(const LinearBackward&, Workers&);
void machine_peak(const MachinePeak&, Workers&);

extern const KernelTable kTable;
const KernelTable kTable = [] {
  KernelTable table = avx512::kTable;
  table.name = "avx512-bfloat16";
  table.linear_pack = &linear_pack;
  table.linear_forward = &linear_forward;
  table.linear_backward = &linear_backward;
  table.machine_peak = &machine_peak;
  return table;
}();

}  // namespace SEQRISK_VARIANT
}  // namespace seqrisk
