// forest_predict on CUDA: a thread for each row walks every tree. Trees stand in host memory, rows and results in the
// card's. Sums are taken in the order of the trees, in float64: the CPU's bits.
#include "ops/forest_predict.h"

#include "kernels/cuda/staged-inl.cuh"
#include "ops/forest_transform.h"

namespace seqrisk {
namespace cuda {
namespace {

constexpr int kThreads = 128;

template <class T>
struct Values {
  const T* row;
  int64_t stride;
  __device__ double operator()(int32_t feature) const { return static_cast<double>(row[feature * stride]); }
};

struct Binned {
  const ForestPredict& a;
  int64_t row;
  __device__ double operator()(int32_t feature) const {
    const GbrtGroup group = a.bins.group_of(feature);
    return a.bin_values[feature * kGbrtCells + group.bins[row * group.width + feature - group.first]];
  }
};

template <class View>
__device__ void predict_row(const ForestPredict& a, const View& value_of, double* out) {
  // Of a class after the other, so that a sum stays in a register.
  for (int64_t k = 0; k < a.classes; ++k) {
    double sum = 0;
    for (int64_t tree = k; tree < a.trees; tree += a.classes) {
      int32_t at = a.roots[tree];
      while (at >= 0) {
        const ForestNode node = a.nodes[at];
        at = forest_goes_left(a.category_bits, node, value_of(node.feature)) ? node.left : node.right;
      }
      sum += a.leaves[-1 - at];
    }
    out[k] = sum;
  }
  forest_transform(a, out);
}

__global__ void predict_kernel(ForestPredict a) {
  const int64_t row = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (row >= a.rows) return;
  double* out = a.out + row * a.classes;
  if (a.bin_values) {
    predict_row(a, Binned{a, a.first_row + row}, out);
  } else if (a.is_double) {
    predict_row(a, Values<double>{static_cast<const double*>(a.values) + row * a.row_stride, a.feature_stride}, out);
  } else {
    predict_row(a, Values<float>{static_cast<const float*>(a.values) + row * a.row_stride, a.feature_stride}, out);
  }
}

}  // namespace

void forest_predict(const ForestPredict& given, Launch& launch) {
  ForestPredict a = given;
  if (a.rows == 0) return;
  const int64_t table = a.features * kGbrtCells;
  Staged staged(launch);
  staged.want(a.nodes, a.all_nodes);
  staged.want(a.roots, a.trees);
  staged.want(a.leaves, a.all_leaves);
  staged.want(a.category_bits, a.all_words);
  staged.want(a.bin_values, table);
  if (!staged.reserve()) return;
  staged.put(a.nodes, a.all_nodes);
  staged.put(a.roots, a.trees);
  staged.put(a.leaves, a.all_leaves);
  staged.put(a.category_bits, a.all_words);
  staged.put(a.bin_values, table);
  predict_kernel<<<blocks_of(a.rows, kThreads), kThreads, 0, launch.stream>>>(a);
}

}  // namespace cuda
}  // namespace seqrisk
