// iforest_grow on CUDA: a warp grows a tree. All pointers are the card's; scratch memory is the block's or the
// workspace's. Trees have the CPU's bits: compiled without fused multiply-adds. Nodes of few rows are most of the work,
// and wait for what they draw and read: more warps would not help a tree.
#include "ops/iforest_grow.h"

#include "kernels/cuda/device-inl.cuh"
#include "ops/iforest_grower.h"

namespace seqrisk {
namespace cuda {
namespace {

constexpr size_t kSharedBytes = 46 << 10;  // of scratch memory; larger trees have theirs in the card's memory

struct Warp {
  struct Count {
    int32_t before, all;
  };
  static constexpr int kCount = kWarp;
  __device__ static int lane() { return static_cast<int>(threadIdx.x); }
  __device__ static double least(double value) {
    for (int step = kWarp / 2; step > 0; step /= 2) {
      const double other = __shfl_xor_sync(kAllLanes, value, step);
      value = other < value ? other : value;
    }
    return value;
  }
  __device__ static double most(double value) {
    for (int step = kWarp / 2; step > 0; step /= 2) {
      const double other = __shfl_xor_sync(kAllLanes, value, step);
      value = other > value ? other : value;
    }
    return value;
  }
  __device__ static Count count(bool flag) {
    const unsigned votes = __ballot_sync(kAllLanes, flag);
    return {__popc(votes & ((1u << lane()) - 1)), __popc(votes)};
  }
  __device__ static void meet() { __syncwarp(); }
};

// `each` 0: scratch memory is the block's own.
__global__ void __launch_bounds__(kWarp) grow_kernel(IforestGrow a, size_t each) {
  extern __shared__ double own[];
  std::byte* scratch = each > 0 ? a.scratch + blockIdx.x * each : reinterpret_cast<std::byte*>(own);
  IforestGrower<Warp>(a, blockIdx.x, scratch).run();
}

}  // namespace

void iforest_grow(const IforestGrow& given, Launch& launch) {
  IforestGrow a = given;
  if (a.count == 0) return;
  const size_t bytes = iforest_grow_bytes(a);
  const bool fits = bytes <= kSharedBytes;
  if (!fits) {
    a.scratch = static_cast<std::byte*>(launch.workspace(static_cast<size_t>(a.count) * bytes));
    if (!a.scratch) return;
  }
  grow_kernel<<<static_cast<unsigned>(a.count), kWarp, fits ? bytes : 0, launch.stream>>>(a, fits ? 0 : bytes);
}

}  // namespace cuda
}  // namespace seqrisk
