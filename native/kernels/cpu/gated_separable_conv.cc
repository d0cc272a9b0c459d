// gated_separable_conv on the CPU: its two kernels. What stands between them is read from the caches or, in large
// batches, from memory, beside which the product takes many times as long.
#include "ops/gated_separable_conv.h"

#include "kernels/cpu/variant.h"
#include "ops/workers.h"

namespace seqrisk {

#ifdef SEQRISK_BFLOAT16
namespace avx512 {
void gated_dwconv_forward(const GatedDwconvForward& arguments, Workers& workers);
}
#endif

namespace SEQRISK_VARIANT {

#ifdef SEQRISK_BFLOAT16
using avx512::gated_dwconv_forward;
#else
void gated_dwconv_forward(const GatedDwconvForward& arguments, Workers& workers);
#endif
void linear_forward(const LinearForward& arguments, Workers& workers);

void gated_separable_conv_forward(const GatedSeparableConvForward& a, Workers& workers) {
  gated_dwconv_forward(a.convolution, workers);
  linear_forward(a.product, workers);
}

}  // namespace SEQRISK_VARIANT
}  // namespace seqrisk
