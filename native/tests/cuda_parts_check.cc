#include "tests/cuda_parts_check.h"

#include <cuda_runtime_api.h>

#include <cstdio>
#include <string>
#include <vector>

#include "runtime/cuda_staging.h"

namespace seqrisk::parity {
namespace {

constexpr uint64_t kSeed = 5;
constexpr size_t kQuickBytes = 1 << 20;

using SeparableCase = Case<GatedSeparableConvForward>;

// What a launcher of the case leaves.
template <class Launcher>
Side left_by(Machine& machine, const SeparableCase& one, Launcher launch) {
  Side side(machine, true, kSeed);
  const GatedSeparableConvForward arguments = one.build(side);
  Side::wait_for_uploads();
  launch(arguments);
  expect_cuda(cudaStreamSynchronize(machine.launch.stream), one.label.c_str());
  side.collect();
  return side;
}

}  // namespace

bool check_parts(Machine& machine, const CaseTable& table, bool quick) {
  const cuda::LauncherTable& card = cuda::kLaunchers;
  int cases = 0;
  int fused = 0;
  int failures = 0;
  // As many multiprocessors as a launch plans for decide how many tiles a block takes: all, or as many as come.
  const int real = machine.launch.multiprocessors;
  for (const auto& one : table.gated_separable_conv_forward) {
    if (quick) {
      Side size(machine, true, kSeed);
      size.measure();
      one.build(size);
      if (size.bytes() > kQuickBytes) continue;
    }
    const Side parts = left_by(machine, one, [&](const GatedSeparableConvForward& a) {
      card.gated_dwconv_forward(a.convolution, machine.launch);
      card.linear_forward(a.product, machine.launch);
    });
    for (const int multiprocessors : {1, real}) {
      bool keeps = false;
      const Side whole = left_by(machine, one, [&](const GatedSeparableConvForward& a) {
        keeps = a.keeps_between;
        machine.launch.multiprocessors = multiprocessors;
        card.gated_separable_conv_forward(a, machine.launch);
        machine.launch.multiprocessors = real;
      });
      ++cases;
      std::vector<std::string> others = whole.all_that_differ(parts.left());
      // What nobody keeps, one kernel does not write.
      if (!keeps && !others.empty() && others.front() == "between") {
        ++fused;
        others.erase(others.begin());
      }
      if (others.empty()) continue;
      ++failures;
      std::printf("parts [%s] on %d multiprocessors: %s has other bits\n", one.label.c_str(), multiprocessors,
                  others.front().c_str());
    }
  }
  const bool passed = fused > 0 && failures == 0;
  std::printf("%-32s %4d cases, %d of them by one kernel  %s\n", "gated_separable_conv_parts", cases, fused,
              passed ? "ok" : "FAILED");
  return passed;
}

}  // namespace seqrisk::parity
