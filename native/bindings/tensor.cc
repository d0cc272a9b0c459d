// Tensors and offsets: made, filled, viewed, read back, freed.
#include <cmath>
#include <cstring>

#include "bindings/args.h"
#include "bindings/bindings.h"
#include "bindings/call_args.h"
#include "bindings/environment.h"
#include "bindings/host_array.h"
#include "bindings/result_array.h"
#include "ops/scale.h"

namespace seqrisk {
namespace {

using Info = Napi::CallbackInfo;

constexpr int64_t kMaxElements = int64_t{1} << 40;
constexpr size_t kMaxAxes = 4;
// Memory bounds the work on a tensor, but not on one without elements: its other axes are bounded here.
constexpr int64_t kMaxAxisOfEmpty = int64_t{1} << 20;
// A typed array of Node 20 takes fewer than 2^32 elements.
constexpr int64_t kMaxReadElements = int64_t{1} << 30;

Tensor& live_tensor(const Info& info, const std::string& where) {
  Tensor* tensor = unwrap_tensor(argument(info, 0));
  if (!tensor) throw Error::type(where + "a tensor but received " + describe(argument(info, 0)));
  if (!tensor->buffer) throw Error::type(where + "a live tensor but received a freed one");
  if (tensor->buffer->stream().closed()) {
    throw Error::coded("CLOSED", where + "a tensor of an open stream but received one of a closed stream");
  }
  return *tensor;
}

// Sizes are multiplied with an overflow check before anything is allocated.
std::vector<int64_t> shape_of(const Napi::Value& value, const std::string& where) {
  if (!value.IsArray()) throw Error::type(where + "shape to be an array but received " + describe(value));
  const auto list = value.As<Napi::Array>();
  if (list.Length() < 1 || list.Length() > kMaxAxes) {
    throw Error::range(where + "1 to 4 axes but received " + std::to_string(list.Length()));
  }
  std::vector<int64_t> shape;
  int64_t elements = 1;
  for (uint32_t i = 0; i < list.Length(); ++i) {
    const Napi::Value size = list.Get(i);
    const double number = size.IsNumber() ? size.As<Napi::Number>().DoubleValue() : -1;
    if (!(number >= 0 && number <= static_cast<double>(kMaxElements)) || number != std::trunc(number)) {
      throw Error::range(where + "sizes to be integers from 0 but received " + describe(size));
    }
    shape.push_back(static_cast<int64_t>(number));
    if (shape.back() > 0 && elements > kMaxElements / shape.back()) {
      throw Error::range(where + "at most 2^40 elements but received shape " + describe_shape(shape));
    }
    elements *= shape.back();
  }
  for (const int64_t size : shape) {
    if (elements == 0 && size > kMaxAxisOfEmpty) {
      throw Error::range(where + "at most 2^20 along each axis of a tensor without elements but received shape " +
                         describe_shape(shape));
    }
  }
  return shape;
}

DType dtype_of(const Napi::Value& value, const std::string& where) {
  const std::string name = value.IsString() ? value.As<Napi::String>().Utf8Value() : "";
  if (name == "float32") return DType::float32;
  if (name == "int32") return DType::int32;
  if (name == "bfloat16") return DType::bfloat16;
  throw Error::type(where + "dtype 'float32', 'int32' or 'bfloat16' but received " + describe(value));
}

// A typed array of what the host sees of that type.
HostNumbers host_array(const Napi::Value& value, DType dtype, const std::string& where) {
  const char* wanted = dtype == DType::int32 ? "an Int32Array" : "a Float32Array";
  const HostNumbers numbers = host_numbers(value, where, wanted);
  if (numbers.type == (dtype == DType::int32 ? napi_int32_array : napi_float32_array)) return numbers;
  throw Error::type(where + wanted + " but received a typed array of another type; convert it first");
}

// The host sees a tensor of bfloat16 as float32: through memory beside it, in order with the work around.
std::shared_ptr<Buffer> beside(const Tensor& tensor, const char* where) {
  const size_t bytes = static_cast<size_t>(tensor.elements()) * sizeof(float);
  return std::make_shared<Buffer>(tensor.buffer->shared_stream(), bytes, where);
}

void convert(Stream& stream, std::byte* to, Storage to_stored, const std::byte* from, Storage from_stored,
             int64_t count) {
  ScaleForward call{};
  call.x = reinterpret_cast<const float*>(from);
  call.out = reinterpret_cast<float*>(to);
  call.count = count;
  call.factor = 1;
  call.x_stored = from_stored;
  call.out_stored = to_stored;
  stream.submit(Kernel::scale_forward, call);
}

void round_into(const Tensor& tensor, const Buffer& values) {
  convert(tensor.buffer->stream(), tensor.data(), Storage::bfloat16, values.data(), Storage::float32,
          tensor.elements());
}

Napi::Value tensor_create(const Info& info) {
  const std::string where = "[tensor_create] expected ";
  StreamHandle stream = CallArgs(info, where).open_stream(0);
  const DType dtype = dtype_of(argument(info, 1), where);
  if (dtype == DType::bfloat16 && !stream->has_bfloat16()) {
    throw Error::type(where + "dtype bfloat16 on a card of precision 'bfloat16' but received a stream of '" +
                      stream->variant() + "'; use float32");
  }
  Tensor tensor{nullptr, dtype, shape_of(argument(info, 2), where)};
  tensor.buffer = std::make_shared<Buffer>(std::move(stream), static_cast<size_t>(tensor.bytes()), "tensor_create");
  return wrap_tensor(info.Env(), std::move(tensor));
}

// A tensor over part of another one's memory; it keeps that memory alive.
Napi::Value tensor_view(const Info& info) {
  const std::string where = "[tensor_view] expected ";
  const Tensor& base = live_tensor(info, where);
  const Napi::Value start = argument(info, 1);
  Tensor view{base.buffer, base.dtype, shape_of(argument(info, 2), where)};
  const double number = start.IsNumber() ? start.As<Napi::Number>().DoubleValue() : -1;
  const double room = static_cast<double>(base.elements() - view.elements());
  if (!(number >= 0 && number <= room) || number != std::trunc(number)) {
    throw Error::range(where + "a start that leaves room for shape " + describe_shape(view.shape) + " in " +
                       std::to_string(base.elements()) + " elements but received " + describe(start));
  }
  view.offset = base.offset + static_cast<int64_t>(number);
  return wrap_tensor(info.Env(), std::move(view));
}

Napi::Value tensor_write(const Info& info) {
  const std::string where = "[tensor_write] expected ";
  Tensor& tensor = live_tensor(info, where);
  const HostNumbers array = host_array(argument(info, 1), tensor.dtype, where);
  if (array.length != tensor.elements()) {
    throw Error::range(where + std::to_string(tensor.elements()) + " values for shape " + describe_shape(tensor.shape) +
                       " but received " + std::to_string(array.length));
  }
  const size_t bytes = static_cast<size_t>(array.length) * 4;
  if (tensor.dtype == DType::bfloat16) {
    const std::shared_ptr<Buffer> values = beside(tensor, "tensor_write");
    values->stream().upload(values->data(), array.data, bytes);
    round_into(tensor, *values);
  } else {
    tensor.buffer->stream().upload(tensor.data(), array.data, bytes);
  }
  return info.Env().Undefined();
}

Napi::Value tensor_fill(const Info& info) {
  const std::string where = "[tensor_fill] expected ";
  Tensor& tensor = live_tensor(info, where);
  const Napi::Value value = argument(info, 1);
  if (!value.IsNumber()) throw Error::type(where + "a number but received " + describe(value));
  uint32_t pattern = 0;
  if (tensor.dtype != DType::int32) {
    const float number = value.As<Napi::Number>().FloatValue();
    std::memcpy(&pattern, &number, 4);
  } else {
    const int32_t number = value.As<Napi::Number>().Int32Value();
    std::memcpy(&pattern, &number, 4);
  }
  const auto elements = static_cast<size_t>(tensor.elements());
  if (tensor.dtype == DType::bfloat16) {
    const std::shared_ptr<Buffer> values = beside(tensor, "tensor_fill");
    values->stream().fill(values->data(), pattern, elements);
    round_into(tensor, *values);
  } else {
    tensor.buffer->stream().fill(tensor.data(), pattern, elements);
  }
  return info.Env().Undefined();
}

Napi::Value tensor_copy(const Info& info) {
  const std::string where = "[tensor_copy] expected ";
  Tensor& to = live_tensor(info, where);
  const Tensor* from = unwrap_tensor(argument(info, 1));
  if (!from || !from->buffer) throw Error::type(where + "a live tensor but received " + describe(argument(info, 1)));
  const bool same_kind = (from->dtype == DType::int32) == (to.dtype == DType::int32);
  if (!same_kind || from->elements() != to.elements()) {
    throw Error::range(where + "the size and type of " + describe(info[0]) + " but received " + describe(info[1]));
  }
  if (&from->buffer->stream() != &to.buffer->stream()) {
    throw Error::type(where + "two tensors of one stream but received two streams; copy through the host");
  }
  if (from->dtype == to.dtype) {
    to.buffer->stream().copy(to.data(), from->data(), static_cast<size_t>(to.bytes()));
  } else {
    convert(to.buffer->stream(), to.data(), storage_of(to.dtype), from->data(), storage_of(from->dtype), to.elements());
  }
  return info.Env().Undefined();
}

Napi::Value tensor_read(const Info& info) {
  const std::string where = "[tensor_read] expected ";
  const Napi::Env env = info.Env();
  Tensor& tensor = live_tensor(info, where);
  if (tensor.elements() > kMaxReadElements) {
    throw Error::range(where + "at most 2^30 elements but received " + describe_shape(tensor.shape) +
                       "; read views of it");
  }
  Napi::TypedArray array;
  void* to = nullptr;
  const auto make = [&]<class T>(T) {
    Napi::TypedArrayOf<T> made = result_array<T>(env, where, {tensor.elements()});
    to = made.Data();
    array = made;
  };
  tensor.dtype == DType::int32 ? make(int32_t{}) : make(float{});
  Stream& stream = tensor.buffer->stream();
  std::shared_ptr<Buffer> values;
  const std::byte* from = tensor.data();
  if (tensor.dtype == DType::bfloat16) {
    values = beside(tensor, "tensor_read");
    convert(stream, values->data(), Storage::float32, from, Storage::bfloat16, tensor.elements());
    from = values->data();
  }
  // The promise holds the array, so the memory that the stream writes to stays.
  auto [promise, done] = Environment::of(env).promise(env, array, tensor.buffer->shared_stream());
  stream.download(to, from, array.ByteLength(), std::move(done));
  return promise;
}

Napi::Value tensor_dispose(const Info& info) {
  Tensor* tensor = unwrap_tensor(argument(info, 0));
  if (!tensor) {
    throw Error::type("[tensor_dispose] expected a tensor but received " + describe(argument(info, 0)));
  }
  tensor->buffer.reset();
  return info.Env().Undefined();
}

Napi::Value offsets_create(const Info& info) {
  const std::string where = "[offsets_create] expected ";
  StreamHandle stream = CallArgs(info, where).open_stream(0);
  const HostNumbers array = host_array(argument(info, 1), DType::int32, where + "offsets as ");
  const auto* values = static_cast<const int32_t*>(array.data);
  if (array.length < 1 || values[0] != 0) {
    throw Error::range(where + "offsets to start with 0 but received " +
                       (array.length < 1 ? "none" : std::to_string(values[0])));
  }
  if (array.length - 1 > INT32_MAX) {
    throw Error::range(where + "at most 2147483647 sequences but received " + std::to_string(array.length - 1));
  }
  int32_t longest = 0;
  for (int64_t i = 1; i < array.length; ++i) {
    if (values[i] < values[i - 1]) {
      throw Error::range(where + "offsets that never fall but received " + std::to_string(values[i]) + " after " +
                         std::to_string(values[i - 1]) + " at index " + std::to_string(i));
    }
    longest = std::max(longest, values[i] - values[i - 1]);
  }
  const int64_t events = values[array.length - 1];
  const size_t bytes = static_cast<size_t>(array.length) * 4;
  Offsets offsets{std::make_shared<Buffer>(stream, bytes, "offsets_create"), array.length - 1, events, longest};
  stream->upload(offsets.buffer->data(), values, bytes);
  return wrap_offsets(info.Env(), std::move(offsets));
}

Napi::Value offsets_dispose(const Info& info) {
  Offsets* offsets = unwrap_offsets(argument(info, 0));
  if (!offsets) {
    throw Error::type("[offsets_dispose] expected offsets but received " + describe(argument(info, 0)));
  }
  offsets->buffer.reset();
  return info.Env().Undefined();
}

}  // namespace

void register_tensor(Napi::Object& exports) {
  add_function<tensor_create>(exports, "tensor_create");
  add_function<tensor_view>(exports, "tensor_view");
  add_function<tensor_write>(exports, "tensor_write");
  add_function<tensor_fill>(exports, "tensor_fill");
  add_function<tensor_copy>(exports, "tensor_copy");
  add_function<tensor_read>(exports, "tensor_read");
  add_function<tensor_dispose>(exports, "tensor_dispose");
  add_function<offsets_create>(exports, "offsets_create");
  add_function<offsets_dispose>(exports, "offsets_dispose");
}

}  // namespace seqrisk
