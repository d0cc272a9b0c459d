// iforest_score on CUDA: a thread for each row walks every tree; all memory is the card's. Depths are added in the
// order of the trees: the CPU's bits.
#include "ops/iforest_score.h"

#include "kernels/cuda/device-inl.cuh"
#include "ops/same_math.h"

namespace seqrisk {
namespace cuda {
namespace {

constexpr int kThreads = 128;

template <class T>
__global__ void score_kernel(IforestScore a) {
  const int64_t r = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (r >= a.rows) return;
  const T* row = static_cast<const T*>(a.values) + r * a.row_stride;
  const auto value_of = [&](const IforestNode& node) {
    if (!a.terms) return static_cast<double>(row[node.feature * a.feature_stride]);
    double sum = 0;
    for (int64_t i = 0; i < a.terms_per_node; ++i) {
      const IforestTerm term = a.terms[static_cast<int64_t>(node.feature) + i];
      const double part = term.weight * (static_cast<double>(row[term.feature * a.feature_stride]) - term.center);
      sum += part == part ? part : 0;
    }
    return sum;
  };
  double depth = 0;
  for (int64_t tree = 0; tree < a.trees; ++tree) {
    auto at = static_cast<int32_t>(tree * a.nodes_per_tree);
    for (int64_t level = 0; level < a.levels; ++level) {
      const IforestNode node = a.nodes[at];
      if (node.left == at) break;  // a leaf
      const double value = value_of(node);
      at = node.left + ((value > node.threshold) | ((value != value) & node.nan_right));
    }
    depth += a.depths[at];
  }
  a.out[r] = same_exp2(-depth / static_cast<double>(a.trees) * a.per_depth);
}

}  // namespace

void iforest_score(const IforestScore& a, Launch& launch) {
  if (a.rows == 0) return;
  const auto kernel = a.is_double ? score_kernel<double> : score_kernel<float>;
  kernel<<<blocks_of(a.rows, kThreads), kThreads, 0, launch.stream>>>(a);
}

}  // namespace cuda
}  // namespace seqrisk
