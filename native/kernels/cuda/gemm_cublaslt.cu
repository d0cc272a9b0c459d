// bfloat16 matrix products by cuBLASLt. It has columns next to each other where this project has rows, so it is asked
// for the transpose: outᵀ (n, m) = b (n, k) · aᵀ (k, m).
//
// Left to itself it would choose an algorithm by the number of rows, and add up a row's terms in another order among
// other rows. So it chooses once for each layer, as if there were kPlannedRows, without splitting k, and what it chose
// serves any number.
#include "kernels/cuda/gemm_cublaslt.h"

#include <dlfcn.h>

#include <cstdio>
#include <cstring>
#include <initializer_list>

#include "kernels/cuda/cublaslt.h"

namespace seqrisk {
namespace cuda {

// What is called of cublasLt.h, with its values, and what is kept of it. It has a name because Cublaslt, which other
// files know of, is made of it.
namespace cublaslt {

using Status = int;
using Desc = void*;
using Layout = void*;
using Preference = void*;

constexpr Status kDone = 0;
constexpr int kFloat32 = 0;          // CUDA_R_32F
constexpr int kBfloat16 = 14;        // CUDA_R_16BF
constexpr int kComputeFloat32 = 68;  // CUBLAS_COMPUTE_32F
constexpr int32_t kTransposed = 1;   // CUBLAS_OP_T

enum DescAttribute { kTransposeA = 3, kEpilogue = 7, kBiasPointer = 8 };
enum LayoutAttribute { kColumns = 3 };
enum PreferenceAttribute {
  kReductions = 3,
  kAlignmentA = 5,
  kAlignmentB = 6,
  kAlignmentC = 7,
  kAlignmentD = 8,
};
enum Epilogue : uint32_t { kNothing = 1, kRelu = 2, kBias = 4 };

struct Algorithm {
  uint64_t data[8];
};

struct Choice {
  Algorithm algorithm;
  size_t workspace_bytes;
  Status status;
  float waves;
  int reserved[4];
};

struct Library {
  Status (*cublasLtCreate)(void** handle);
  Status (*cublasLtDestroy)(void* handle);
  Status (*cublasLtMatmulDescCreate)(Desc* desc, int compute, int scale);
  Status (*cublasLtMatmulDescDestroy)(Desc desc);
  Status (*cublasLtMatmulDescSetAttribute)(Desc desc, int attribute, const void* value, size_t bytes);
  Status (*cublasLtMatrixLayoutCreate)(Layout* layout, int type, uint64_t rows, uint64_t columns, int64_t stride);
  Status (*cublasLtMatrixLayoutDestroy)(Layout layout);
  Status (*cublasLtMatrixLayoutSetAttribute)(Layout layout, int attribute, const void* value, size_t bytes);
  Status (*cublasLtMatmulPreferenceCreate)(Preference* preference);
  Status (*cublasLtMatmulPreferenceDestroy)(Preference preference);
  Status (*cublasLtMatmulPreferenceSetAttribute)(Preference preference, int attribute, const void* value, size_t bytes);
  Status (*cublasLtMatmulAlgoGetHeuristic)(void* handle, Desc desc, Layout a, Layout b, Layout c, Layout d,
                                           Preference preference, int wanted, Choice* choices, int* found);
  Status (*cublasLtMatmul)(void* handle, Desc desc, const void* alpha, const void* a, Layout a_layout, const void* b,
                           Layout b_layout, const void* beta, const void* c, Layout c_layout, void* d, Layout d_layout,
                           const Algorithm* algorithm, void* workspace, size_t workspace_bytes, cudaStream_t stream);
};

constexpr int64_t kPlannedRows = 32768;
constexpr uint32_t kOperandBoundary = 16;

// What an algorithm is chosen by.
struct Key {
  GemmForm form;
  Storage out_stored;
  bool relu;
  bool has_residual;
  uint32_t out_boundary;   // in bytes, as of residuals
  uint32_t bias_boundary;  // 0: no bias
  int64_t n;
  int64_t k;
  int64_t a_stride;
  int64_t b_stride;
  int64_t residual_stride;
  int64_t out_stride;

  bool operator==(const Key& other) const {
    return form == other.form && out_stored == other.out_stored && relu == other.relu &&
           has_residual == other.has_residual && out_boundary == other.out_boundary &&
           bias_boundary == other.bias_boundary && n == other.n && k == other.k && a_stride == other.a_stride &&
           b_stride == other.b_stride && residual_stride == other.residual_stride && out_stride == other.out_stride;
  }
};

struct Plan {
  Key key;
  bool is_possible;
  Desc desc;
  Layout a;
  Layout b;
  Layout residual;
  Layout out;
  Algorithm algorithm;
};

}  // namespace cublaslt

using namespace cublaslt;

struct Cublaslt {
  void* handle;
  Library call;
  // As many as a model has layers, and the oldest one goes first.
  static constexpr int kPlans = 128;
  Plan plans[kPlans];
  int count;
  int oldest;
  int64_t products;
};

namespace {

// The largest power of two up to 16 that is a boundary of all of them.
uint32_t boundary_of(const void* first, const void* second = nullptr) {
  const uintptr_t bits = reinterpret_cast<uintptr_t>(first) | reinterpret_cast<uintptr_t>(second) | kOperandBoundary;
  return static_cast<uint32_t>(bits & (~bits + 1));
}

const void* bias_of(const Bfloat16Gemm& g) {
  return g.out_stored == Storage::bfloat16 ? static_cast<const void*>(g.rounded_bias) : g.bias;
}

Key key_of(GemmForm form, const Bfloat16Gemm& g) {
  Key key{};
  key.form = form;
  key.out_stored = g.out_stored;
  key.relu = g.relu;
  key.has_residual = g.residual != nullptr;
  key.out_boundary = boundary_of(g.out, g.residual);
  key.bias_boundary = bias_of(g) ? boundary_of(bias_of(g)) : 0;
  key.n = g.n;
  key.k = g.k;
  key.a_stride = g.a.stride;
  key.b_stride = g.b.stride;
  key.residual_stride = g.residual ? g.residual_stride : g.out_stride;
  key.out_stride = g.out_stride;
  return key;
}

// cuBLASLt may have an epilogue read the bias: it then chooses by where that is.
bool describe(const Library& call, const Bfloat16Gemm& g, Plan& plan) {
  const Key& key = plan.key;
  const int out_type = key.out_stored == Storage::bfloat16 ? kBfloat16 : kFloat32;
  const auto n = static_cast<uint64_t>(key.n);
  const auto k = static_cast<uint64_t>(key.k);
  const bool is_transposed = key.form == GemmForm::rows_by_rows;
  if (call.cublasLtMatmulDescCreate(&plan.desc, kComputeFloat32, kFloat32) != kDone) return false;
  const uint32_t epilogue =
      key.relu ? (key.bias_boundary ? kRelu | kBias : kRelu) : (key.bias_boundary ? kBias : kNothing);
  const void* bias = bias_of(g);
  return (!is_transposed ||
          call.cublasLtMatmulDescSetAttribute(plan.desc, kTransposeA, &kTransposed, sizeof kTransposed) == kDone) &&
         call.cublasLtMatmulDescSetAttribute(plan.desc, kEpilogue, &epilogue, sizeof epilogue) == kDone &&
         (!bias || call.cublasLtMatmulDescSetAttribute(plan.desc, kBiasPointer, &bias, sizeof bias) == kDone) &&
         call.cublasLtMatrixLayoutCreate(&plan.a, kBfloat16, is_transposed ? k : n, is_transposed ? n : k,
                                         key.b_stride) == kDone &&
         call.cublasLtMatrixLayoutCreate(&plan.b, kBfloat16, k, kPlannedRows, key.a_stride) == kDone &&
         call.cublasLtMatrixLayoutCreate(&plan.residual, out_type, n, kPlannedRows, key.residual_stride) == kDone &&
         call.cublasLtMatrixLayoutCreate(&plan.out, out_type, n, kPlannedRows, key.out_stride) == kDone;
}

// Without memory beside it and without sums in parts: an element is one chain.
bool choose(const Cublaslt& lt, Plan& plan) {
  const Library& call = lt.call;
  Preference preference = nullptr;
  if (call.cublasLtMatmulPreferenceCreate(&preference) != kDone) return false;
  const auto prefer = [&](PreferenceAttribute attribute, uint32_t value) {
    return call.cublasLtMatmulPreferenceSetAttribute(preference, attribute, &value, sizeof value) == kDone;
  };
  Choice choice{};
  int found = 0;
  const bool is_chosen = prefer(kReductions, 0) && prefer(kAlignmentA, kOperandBoundary) &&
                         prefer(kAlignmentB, kOperandBoundary) && prefer(kAlignmentC, plan.key.out_boundary) &&
                         prefer(kAlignmentD, plan.key.out_boundary) &&
                         call.cublasLtMatmulAlgoGetHeuristic(lt.handle, plan.desc, plan.a, plan.b, plan.residual,
                                                             plan.out, preference, 1, &choice, &found) == kDone &&
                         found == 1 && choice.status == kDone;
  call.cublasLtMatmulPreferenceDestroy(preference);
  plan.algorithm = choice.algorithm;
  return is_chosen;
}

void forget(const Library& call, Plan& plan) {
  if (plan.desc) call.cublasLtMatmulDescDestroy(plan.desc);
  for (const Layout layout : {plan.a, plan.b, plan.residual, plan.out}) {
    if (layout) call.cublasLtMatrixLayoutDestroy(layout);
  }
  plan = {};
}

Plan& plan_of(Cublaslt& lt, GemmForm form, const Bfloat16Gemm& g) {
  const Key key = key_of(form, g);
  for (int i = 0; i < lt.count; ++i) {
    if (lt.plans[i].key == key) return lt.plans[i];
  }
  Plan* plan = nullptr;
  if (lt.count < Cublaslt::kPlans) {
    plan = &lt.plans[lt.count++];
  } else {
    plan = &lt.plans[lt.oldest];
    lt.oldest = (lt.oldest + 1) % Cublaslt::kPlans;
    forget(lt.call, *plan);
  }
  plan->key = key;
  plan->is_possible = describe(lt.call, g, *plan) && choose(lt, *plan);
  return *plan;
}

}  // namespace

bool gemm_cublaslt(GemmForm form, const Bfloat16Gemm& g, Launch& launch) {
  // Gradients of weights are sums over all rows, in stretches that sizes decide: those are our own.
  if (form == GemmForm::columns_by_columns) return false;
  Cublaslt& lt = *launch.cublaslt;
  const Library& call = lt.call;
  Plan& plan = plan_of(lt, form, g);
  if (!plan.is_possible) return false;
  const auto rows = static_cast<uint64_t>(g.m);
  const void* bias = bias_of(g);
  Status status = kDone;
  if (bias) status = call.cublasLtMatmulDescSetAttribute(plan.desc, kBiasPointer, &bias, sizeof bias);
  for (const Layout layout : {plan.b, plan.residual, plan.out}) {
    if (status == kDone) status = call.cublasLtMatrixLayoutSetAttribute(layout, kColumns, &rows, sizeof rows);
  }
  const float one = 1.0f;
  const float beta = g.residual ? 1.0f : 0.0f;
  if (status == kDone) {
    status = call.cublasLtMatmul(lt.handle, plan.desc, &one, g.b.values, plan.a, g.a.values, plan.b, &beta,
                                 g.residual ? g.residual : g.out, plan.residual, g.out, plan.out, &plan.algorithm,
                                 nullptr, 0, launch.stream);
  }
  if (status == kDone) {
    ++lt.products;
  } else {
    launch.refuse_cublaslt(status);  // another algorithm would give other bits
  }
  return true;
}

// A library that has talked to the driver stays until the process ends: what it registered there names its code.
Cublaslt* open_cublaslt(const char* library, const char** missing) {
  void* opened = dlopen(library, RTLD_NOW | RTLD_LOCAL);
  if (!opened) {
    *missing = dlerror();
    return nullptr;
  }
  auto* lt = new Cublaslt{};
  const auto find = [&](auto& function, const char* name) {
    void* found = dlsym(opened, name);
    std::memcpy(&function, &found, sizeof found);
    if (found) return true;
    thread_local char words[64];
    std::snprintf(words, sizeof words, "it has no %s", name);
    *missing = words;
    return false;
  };
  Library& call = lt->call;
#define SEQRISK_FIND(name) find(call.name, #name)
  const bool is_whole = SEQRISK_FIND(cublasLtCreate) && SEQRISK_FIND(cublasLtDestroy) &&
                        SEQRISK_FIND(cublasLtMatmulDescCreate) && SEQRISK_FIND(cublasLtMatmulDescDestroy) &&
                        SEQRISK_FIND(cublasLtMatmulDescSetAttribute) && SEQRISK_FIND(cublasLtMatrixLayoutCreate) &&
                        SEQRISK_FIND(cublasLtMatrixLayoutDestroy) && SEQRISK_FIND(cublasLtMatrixLayoutSetAttribute) &&
                        SEQRISK_FIND(cublasLtMatmulPreferenceCreate) && SEQRISK_FIND(cublasLtMatmulPreferenceDestroy) &&
                        SEQRISK_FIND(cublasLtMatmulPreferenceSetAttribute) &&
                        SEQRISK_FIND(cublasLtMatmulAlgoGetHeuristic) && SEQRISK_FIND(cublasLtMatmul);
#undef SEQRISK_FIND
  if (is_whole && call.cublasLtCreate(&lt->handle) == kDone) return lt;
  if (is_whole) *missing = "cublasLtCreate failed";
  delete lt;
  return nullptr;
}

void close_cublaslt(Cublaslt* lt) {
  if (!lt) return;
  for (int i = 0; i < lt->count; ++i) forget(lt->call, lt->plans[i]);
  lt->call.cublasLtDestroy(lt->handle);
  delete lt;
}

int64_t products_of(const Cublaslt* lt) {
  return lt->products;
}

}  // namespace cuda
}  // namespace seqrisk
