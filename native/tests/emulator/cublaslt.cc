// Stands in for cuBLASLt on the emulated card: a library of its own, which kernels/cuda/gemm_cublaslt.cu loads as it
// loads NVIDIA's. It knows what is called there, and is strict: an attribute of another size, an operand behind a
// boundary that was not promised, or an algorithm that was chosen for something else is refused. Like the real one it
// prefers another order of sums where rows are few, and has no algorithm for some problems. What it says of NVIDIA's
// library is what its manual says; only a card can tell whether that is so.
#include <cstdint>
#include <cstring>
#include <initializer_list>

#include "tests/emulator/streams.h"

namespace {

using Status = int;
constexpr Status kDone = 0;
constexpr Status kInvalid = 7;
constexpr Status kNotSupported = 15;

constexpr int kFloat32 = 0;
constexpr int kBfloat16 = 14;
constexpr int kComputeFloat32 = 68;
constexpr uint64_t kFewRows = 4096;

struct Desc {
  int32_t transpose_a = 0;
  uint32_t epilogue = 1;
  const void* bias = nullptr;
};

struct Layout {
  int type;
  uint64_t rows;
  uint64_t columns;
  int64_t stride;
};

struct Preference {
  uint32_t reductions = ~0u;
  uint32_t alignments[4] = {256, 256, 256, 256};
};

struct Algorithm {
  uint64_t rows;
  uint64_t depth;
  uint64_t backwards;  // sums go from the last term to the first
  uint64_t epilogue;
  uint64_t types;
  uint64_t alignments[3];  // of the first three
};

struct Choice {
  Algorithm algorithm;
  size_t workspace_bytes;
  Status status;
  float waves;
  int reserved[4];
};

template <class T>
bool take(T& to, const void* value, size_t bytes) {
  if (bytes != sizeof to) return false;
  std::memcpy(&to, value, bytes);
  return true;
}

float widened(uint16_t bits) {
  const uint32_t wide = static_cast<uint32_t>(bits) << 16;
  float value;
  std::memcpy(&value, &wide, sizeof value);
  return value;
}

uint16_t rounded(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  if (value != value) return static_cast<uint16_t>(bits >> 16 | 0x40);
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

float value_at(const void* values, int type, uint64_t i) {
  if (type == kFloat32) return static_cast<const float*>(values)[i];
  return widened(static_cast<const uint16_t*>(values)[i]);
}

bool is_at(const void* pointer, uint64_t boundary) {
  return reinterpret_cast<uintptr_t>(pointer) % boundary == 0;
}

uint64_t depth_of(const Desc& desc, const Layout& a) {
  return desc.transpose_a ? a.rows : a.columns;
}

bool fits(const Desc& desc, const Layout& a, const Layout& b, const Layout& c, const Layout& d) {
  const uint64_t rows = desc.transpose_a ? a.columns : a.rows;
  for (const Layout* layout : {&a, &b, &c, &d}) {
    if (layout->rows == 0 || layout->columns == 0) return false;
    if (layout->stride < static_cast<int64_t>(layout->rows)) return false;
  }
  return a.type == kBfloat16 && b.type == kBfloat16 && c.type == d.type && depth_of(desc, a) == b.rows &&
         rows == d.rows && c.rows == d.rows && b.columns == d.columns && c.columns == d.columns;
}

uint64_t types_of(const Desc& desc, const Layout& d) {
  return static_cast<uint64_t>(d.type) * 2 + static_cast<uint64_t>(desc.transpose_a);
}

}  // namespace

#pragma GCC visibility push(default)
extern "C" {

Status cublasLtCreate(void** handle) {
  *handle = new int(1);
  return kDone;
}
Status cublasLtDestroy(void* handle) {
  delete static_cast<int*>(handle);
  return kDone;
}

Status cublasLtMatmulDescCreate(void** desc, int compute, int scale) {
  if (compute != kComputeFloat32 || scale != kFloat32) return kNotSupported;
  *desc = new Desc;
  return kDone;
}
Status cublasLtMatmulDescDestroy(void* desc) {
  delete static_cast<Desc*>(desc);
  return kDone;
}
Status cublasLtMatmulDescSetAttribute(void* desc, int attribute, const void* value, size_t bytes) {
  auto& to = *static_cast<Desc*>(desc);
  switch (attribute) {
    case 3:
      return take(to.transpose_a, value, bytes) ? kDone : kInvalid;
    case 7:
      return take(to.epilogue, value, bytes) ? kDone : kInvalid;
    case 8:
      return take(to.bias, value, bytes) ? kDone : kInvalid;
    default:
      return kInvalid;
  }
}

Status cublasLtMatrixLayoutCreate(void** layout, int type, uint64_t rows, uint64_t columns, int64_t stride) {
  *layout = new Layout{type, rows, columns, stride};
  return kDone;
}
Status cublasLtMatrixLayoutDestroy(void* layout) {
  delete static_cast<Layout*>(layout);
  return kDone;
}
Status cublasLtMatrixLayoutSetAttribute(void* layout, int attribute, const void* value, size_t bytes) {
  if (attribute != 3) return kInvalid;
  return take(static_cast<Layout*>(layout)->columns, value, bytes) ? kDone : kInvalid;
}

Status cublasLtMatmulPreferenceCreate(void** preference) {
  *preference = new Preference;
  return kDone;
}
Status cublasLtMatmulPreferenceDestroy(void* preference) {
  delete static_cast<Preference*>(preference);
  return kDone;
}
Status cublasLtMatmulPreferenceSetAttribute(void* preference, int attribute, const void* value, size_t bytes) {
  auto& to = *static_cast<Preference*>(preference);
  if (attribute == 3) return take(to.reductions, value, bytes) ? kDone : kInvalid;
  if (attribute < 5 || attribute > 8) return kInvalid;
  return take(to.alignments[attribute - 5], value, bytes) ? kDone : kInvalid;
}

Status cublasLtMatmulAlgoGetHeuristic(void*, void* desc, void* a, void* b, void* c, void* d, void* preference,
                                      int wanted, Choice* choices, int* found) {
  const auto& to = *static_cast<Desc*>(desc);
  const auto& left = *static_cast<Layout*>(a);
  const auto& out = *static_cast<Layout*>(d);
  const auto& prefers = *static_cast<Preference*>(preference);
  *found = 0;
  if (wanted < 1 || !fits(to, left, *static_cast<Layout*>(b), *static_cast<Layout*>(c), out)) return kInvalid;
  // None splits sums, and none writes single elements of two bytes.
  if (prefers.reductions != 0) return kNotSupported;
  if (prefers.alignments[3] < 4 || (out.type == kBfloat16 && out.stride % 2 != 0)) return kNotSupported;
  Algorithm algorithm{};
  algorithm.rows = out.rows;
  algorithm.depth = depth_of(to, left);
  algorithm.backwards = out.columns < kFewRows;
  algorithm.epilogue = to.epilogue;
  algorithm.types = types_of(to, out);
  for (int i = 0; i < 3; ++i) algorithm.alignments[i] = prefers.alignments[i];
  choices[0] = {algorithm, 0, kDone, 1.0f, {}};
  *found = 1;
  return kDone;
}

Status cublasLtMatmul(void*, void* desc, const void* alpha, const void* a, void* a_layout, const void* b,
                      void* b_layout, const void* beta, const void* c, void* c_layout, void* d, void* d_layout,
                      const Algorithm* algorithm, void* workspace, size_t workspace_bytes, cudaStream_t stream) {
  stream->settle(stream);
  const auto& to = *static_cast<Desc*>(desc);
  const auto& left = *static_cast<Layout*>(a_layout);
  const auto& right = *static_cast<Layout*>(b_layout);
  const auto& before = *static_cast<Layout*>(c_layout);
  const auto& out = *static_cast<Layout*>(d_layout);
  if (!algorithm || workspace || workspace_bytes > 0 || !fits(to, left, right, before, out)) return kInvalid;
  const uint64_t depth = depth_of(to, left);
  if (algorithm->rows != out.rows || algorithm->depth != depth || algorithm->epilogue != to.epilogue ||
      algorithm->types != types_of(to, out)) {
    return kNotSupported;
  }
  if (!is_at(a, algorithm->alignments[0]) || !is_at(b, algorithm->alignments[1]) ||
      !is_at(c, algorithm->alignments[2]) || !is_at(d, algorithm->alignments[2])) {
    return kNotSupported;
  }
  const bool has_relu = to.epilogue & 2;
  const bool has_bias = to.epilogue & 4;
  if (has_bias && !to.bias) return kInvalid;
  const float scale = *static_cast<const float*>(alpha);
  const float kept = *static_cast<const float*>(beta);
  for (uint64_t column = 0; column < out.columns; ++column) {
    for (uint64_t row = 0; row < out.rows; ++row) {
      float sum = 0;
      for (uint64_t step = 0; step < depth; ++step) {
        const uint64_t k = algorithm->backwards ? depth - 1 - step : step;
        const uint64_t at = to.transpose_a ? row * static_cast<uint64_t>(left.stride) + k
                                           : k * static_cast<uint64_t>(left.stride) + row;
        sum += value_at(a, left.type, at) * value_at(b, right.type, column * static_cast<uint64_t>(right.stride) + k);
      }
      sum *= scale;
      if (kept != 0) sum += kept * value_at(c, before.type, column * static_cast<uint64_t>(before.stride) + row);
      if (has_bias) sum += value_at(to.bias, out.type, row);
      if (has_relu && sum < 0) sum = 0;
      const uint64_t at = column * static_cast<uint64_t>(out.stride) + row;
      if (out.type == kFloat32) {
        static_cast<float*>(d)[at] = sum;
      } else {
        static_cast<uint16_t*>(d)[at] = rounded(sum);
      }
    }
  }
  return kDone;
}

}  // extern "C"
#pragma GCC visibility pop
