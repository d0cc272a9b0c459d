#include "tests/cuda_parts_check.h"

#include <cuda_runtime_api.h>

#include <cstdio>

#include "runtime/cuda_staging.h"

namespace seqrisk::parity {

bool check_parts(Machine& machine, const CaseTable& table, bool quick) {
  constexpr uint64_t kSeed = 5;
  constexpr size_t kQuickBytes = 1 << 20;
  const cuda::LauncherTable& card = cuda::kLaunchers;
  int cases = 0;
  int failures = 0;
  for (const auto& one : table.gated_separable_conv_forward) {
    Side whole(machine, true, kSeed);
    Side parts(machine, true, kSeed);
    const GatedSeparableConvForward together = one.build(whole);
    const GatedSeparableConvForward apart = one.build(parts);
    // What is not kept differs as it may.
    if (!together.keeps_between || (quick && whole.bytes() > kQuickBytes)) continue;
    Side::wait_for_uploads();
    card.gated_separable_conv_forward(together, machine.launch);
    card.gated_dwconv_forward(apart.convolution, machine.launch);
    card.linear_forward(apart.product, machine.launch);
    expect_cuda(cudaStreamSynchronize(machine.launch.stream), one.label.c_str());
    whole.collect();
    parts.collect();
    const std::string other = whole.differs_in_bits(parts.left());
    ++cases;
    if (other.empty()) continue;
    ++failures;
    std::printf("parts [%s] %s: other bits\n", one.label.c_str(), other.c_str());
  }
  const bool passed = cases > 0 && failures == 0;
  std::printf("%-32s %4d cases  %s\n", "gated_separable_conv_parts", cases, passed ? "ok" : "FAILED");
  return passed;
}

}  // namespace seqrisk::parity
