// iforest_grow on the CPU: a tree is a task.
#include "ops/iforest_grow.h"

#include "kernels/cpu/variant.h"
#include "ops/iforest_grower.h"
#include "ops/workers.h"

namespace seqrisk::SEQRISK_VARIANT {
namespace {

struct OneLane {
  struct Count {
    int32_t before, all;
  };
  static constexpr int kCount = 1;
  static int lane() { return 0; }
  static double least(double value) { return value; }
  static double most(double value) { return value; }
  static Count count(bool flag) { return {0, flag}; }
  static void meet() {}
};

}  // namespace

void iforest_grow(const IforestGrow& a, Workers& workers) {
  const size_t bytes = iforest_grow_bytes(a);
  workers.run(a.count, [&](int64_t task, int worker) {
    IforestGrower<OneLane>(a, task, a.scratch + static_cast<size_t>(worker) * bytes).run();
  });
}

}  // namespace seqrisk::SEQRISK_VARIANT
