#include "bindings/handles.h"

#include "bindings/wrap.h"

namespace seqrisk {
namespace {

constexpr napi_type_tag kStreamTag = {0x5e9715c0a51de2f1, 0x9d3b7c2e64f80a11};
constexpr napi_type_tag kTensorTag = {0x5e9715c0a51de2f2, 0x1f7a90c3b5d2e846};
constexpr napi_type_tag kOffsetsTag = {0x5e9715c0a51de2f3, 0xc4618e5d0b97f32a};

}  // namespace

const char* name_of(DType dtype) {
  switch (dtype) {
    case DType::float32:
      return "float32";
    case DType::int32:
      return "int32";
    case DType::bfloat16:
      return "bfloat16";
  }
  return "";
}

int64_t Tensor::elements() const {
  int64_t count = 1;
  for (const int64_t size : shape) count *= size;
  return count;
}

Napi::Value wrap_stream(Napi::Env env, StreamHandle stream) {
  return wrap(env, std::move(stream), kStreamTag);
}
Napi::Value wrap_tensor(Napi::Env env, Tensor tensor) {
  return wrap(env, std::move(tensor), kTensorTag);
}
Napi::Value wrap_offsets(Napi::Env env, Offsets offsets) {
  return wrap(env, std::move(offsets), kOffsetsTag);
}

StreamHandle* unwrap_stream(const Napi::Value& value) {
  return unwrap<StreamHandle>(value, kStreamTag);
}
Tensor* unwrap_tensor(const Napi::Value& value) {
  return unwrap<Tensor>(value, kTensorTag);
}
Offsets* unwrap_offsets(const Napi::Value& value) {
  return unwrap<Offsets>(value, kOffsetsTag);
}

}  // namespace seqrisk
