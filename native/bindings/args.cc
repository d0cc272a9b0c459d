#include "bindings/args.h"

#include <algorithm>
#include <cmath>

#include "bindings/environment.h"

namespace seqrisk {
namespace {

// From so many on, sorting them is faster than holding each against each.
constexpr size_t kManyRanges = 24;

}  // namespace

std::string describe_shape(const std::vector<int64_t>& shape) {
  std::string text = "(";
  for (size_t i = 0; i < shape.size(); ++i) text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + ")";
}

std::string describe(const Napi::Value& value) {
  if (value.IsEmpty() || value.IsUndefined()) return "undefined";
  if (value.IsNull()) return "null";
  if (value.IsNumber()) {
    const double number = value.As<Napi::Number>().DoubleValue();
    if (number == std::trunc(number) && std::abs(number) < 1e15) return std::to_string(static_cast<int64_t>(number));
    return std::to_string(number);
  }
  if (value.IsBoolean()) return value.As<Napi::Boolean>().Value() ? "true" : "false";
  if (value.IsString()) return "'" + value.As<Napi::String>().Utf8Value().substr(0, 60) + "'";
  if (const Tensor* tensor = unwrap_tensor(value)) {
    return std::string(tensor->buffer ? "" : "freed ") + name_of(tensor->dtype) + " tensor of shape " +
           describe_shape(tensor->shape);
  }
  if (unwrap_stream(value)) return "a stream";
  if (unwrap_offsets(value)) return "offsets";
  if (value.IsTypedArray()) return "a typed array";
  if (value.IsArray()) return "an array";
  if (value.IsFunction()) return "a function";
  if (value.IsSymbol()) return "a symbol";
  if (value.IsBigInt()) return "a bigint";
  return "an object";
}

Napi::Error to_js_error(Napi::Env env, const Error& error) {
  switch (error.kind()) {
    case Error::Kind::type:
      return Napi::TypeError::New(env, error.what());
    case Error::Kind::range:
      return Napi::RangeError::New(env, error.what());
    case Error::Kind::coded:
      break;
  }
  return Environment::of(env).coded_error(env, error);
}

Args::Args(const Napi::CallbackInfo& info, const char* op) : info_(info), op_(op) {
  const Napi::Value value = next();
  stream_ = unwrap_stream(value);
  if (!stream_) throw Error::type("[" + std::string(op_) + "] expected a stream but received " + describe(value));
  if (stream().closed()) {
    throw Error::coded(
        "CLOSED", "[" + std::string(op_) + "] expected an open stream but received a closed one; open a new device");
  }
}

void Args::refuse(const std::string& expected, const std::string& received) const {
  throw Error::range("[" + std::string(op_) + "] expected " + expected + " but received " + received);
}

Napi::Value Args::next() {
  if (in_list_) {
    return list_position_ < list_.Length() ? list_.Get(list_position_++) : info_.Env().Undefined();
  }
  return position_ < info_.Length() ? info_[position_++] : info_.Env().Undefined();
}

// Of that type, alive, on this stream; of any shape.
Tensor* Args::live_tensor(const char* name, Kind kind, bool optional, bool written) {
  const Napi::Value value = next();
  if (optional && (value.IsNull() || value.IsUndefined())) return nullptr;
  // Written when it is needed: a step has a thousand tensors, and hardly ever an error.
  const auto where = [&] { return "[" + std::string(op_) + "] expected " + name + " "; };
  Tensor* tensor = unwrap_tensor(value);
  if (!tensor || !kind.accept(tensor->dtype)) {
    throw Error::type(where() + "to be a " + kind.text() + " tensor but received " + describe(value));
  }
  if (!tensor->buffer) {
    throw Error::type(where() + "to be alive but received a freed tensor; keep it out of the scope that freed it");
  }
  if (&tensor->buffer->stream() != &stream()) {
    throw Error::type(where() + "on this stream but received a tensor of another one; copy it through the host");
  }
  alive_.push_back(tensor->buffer);
  ranges_.push_back({name, tensor->data(), tensor->data() + tensor->bytes(), written});
  return tensor;
}

Tensor* Args::tensor(const char* name, Kind kind, Shape shape, bool optional, bool written) {
  Tensor* tensor = live_tensor(name, kind, optional, written);
  if (!tensor) return nullptr;
  bool fits = tensor->shape.size() == shape.size();
  size_t axis = 0;
  for (const Axis& wanted : shape) fits = fits && wanted.accept(tensor->shape[axis++]);
  if (!fits) {
    std::string wanted;
    for (const Axis& size : shape) wanted += (wanted.empty() ? "" : ", ") + size.text();
    throw Error::range("[" + std::string(op_) + "] expected " + name + " of shape (" + wanted + ") but received " +
                       describe_shape(tensor->shape));
  }
  return tensor;
}

const float* Args::input(const char* name, Shape shape) {
  return reinterpret_cast<const float*>(tensor(name, {DType::float32}, shape, false, false)->data());
}

const float* Args::optional_input(const char* name, Shape shape) {
  const Tensor* found = tensor(name, {DType::float32}, shape, true, false);
  return found ? reinterpret_cast<const float*>(found->data()) : nullptr;
}

float* Args::output(const char* name, Shape shape) {
  return reinterpret_cast<float*>(tensor(name, {DType::float32}, shape, false, true)->data());
}

float* Args::optional_output(const char* name, Shape shape) {
  const Tensor* found = tensor(name, {DType::float32}, shape, true, true);
  return found ? reinterpret_cast<float*>(found->data()) : nullptr;
}

float* Args::activations(const char* name, Shape shape, Stored& stored, bool optional, bool written) {
  const Tensor* found = tensor(name, {DType::float32, &stored}, shape, optional, written);
  return found ? reinterpret_cast<float*>(found->data()) : nullptr;
}

const float* Args::input(const char* name, Shape shape, Stored& stored) {
  return activations(name, shape, stored, false, false);
}

const float* Args::optional_input(const char* name, Shape shape, Stored& stored) {
  return activations(name, shape, stored, true, false);
}

float* Args::output(const char* name, Shape shape, Stored& stored) {
  return activations(name, shape, stored, false, true);
}

float* Args::optional_output(const char* name, Shape shape, Stored& stored) {
  return activations(name, shape, stored, true, true);
}

float* Args::flat(const char* name, Dim& elements, Kind kind, bool written) {
  const Tensor* found = live_tensor(name, kind, false, written);
  if (!elements.bound()) elements.bind(found->elements());
  if (elements != found->elements()) {
    refuse(std::string(name) + " of " + std::to_string(elements) + " elements", describe_shape(found->shape));
  }
  return reinterpret_cast<float*>(found->data());
}

float* Args::output_flat(const char* name, Dim& elements) {
  return flat(name, elements, {DType::float32}, true);
}

const float* Args::input_flat(const char* name, Dim& elements, Stored& stored) {
  return flat(name, elements, {DType::float32, &stored}, false);
}

float* Args::output_flat(const char* name, Dim& elements, Stored& stored) {
  return flat(name, elements, {DType::float32, &stored}, true);
}

const int32_t* Args::input_ids(const char* name, Shape shape) {
  return reinterpret_cast<const int32_t*>(tensor(name, {DType::int32}, shape, false, false)->data());
}

const int32_t* Args::optional_input_ids(const char* name, Shape shape) {
  const Tensor* found = tensor(name, {DType::int32}, shape, true, false);
  return found ? reinterpret_cast<const int32_t*>(found->data()) : nullptr;
}

int32_t* Args::output_ids(const char* name, Shape shape) {
  return reinterpret_cast<int32_t*>(tensor(name, {DType::int32}, shape, false, true)->data());
}

int32_t* Args::optional_output_ids(const char* name, Shape shape) {
  const Tensor* found = tensor(name, {DType::int32}, shape, true, true);
  return found ? reinterpret_cast<int32_t*>(found->data()) : nullptr;
}

Packing Args::offsets(const char* name, Dim& events) {
  const Napi::Value value = next();
  const Offsets* offsets = unwrap_offsets(value);
  const auto where = [&] { return "[" + std::string(op_) + "] expected " + name + " "; };
  if (!offsets) throw Error::type(where() + "to be offsets but received " + describe(value));
  if (!offsets->buffer) throw Error::type(where() + "to be alive but received freed offsets");
  if (&offsets->buffer->stream() != &stream()) {
    throw Error::type(where() + "on this stream but received offsets of another one");
  }
  if (!events.bound()) events.bind(offsets->events);
  if (events != offsets->events) {
    throw Error::range(where() + "over " + std::to_string(events) + " events but received offsets over " +
                       std::to_string(offsets->events));
  }
  alive_.push_back(offsets->buffer);
  return offsets->packing();
}

int64_t Args::integer(const char* name, int64_t low, int64_t high) {
  const Napi::Value value = next();
  const auto where = [&] { return "[" + std::string(op_) + "] expected " + name + " "; };
  if (!value.IsNumber()) throw Error::type(where() + "to be a number but received " + describe(value));
  const double number = value.As<Napi::Number>().DoubleValue();
  if (!(number >= static_cast<double>(low) && number <= static_cast<double>(high)) || number != std::trunc(number)) {
    throw Error::range(where() + "to be an integer in [" + std::to_string(low) + ", " + std::to_string(high) +
                       "] but received " + describe(value));
  }
  return static_cast<int64_t>(number);
}

uint64_t Args::seed(const char* name) {
  return static_cast<uint64_t>(integer(name, 0, (int64_t{1} << 53) - 1));
}

float Args::number(const char* name, double low, double high) {
  const Napi::Value value = next();
  const auto where = [&] { return "[" + std::string(op_) + "] expected " + name + " "; };
  if (!value.IsNumber()) throw Error::type(where() + "to be a number but received " + describe(value));
  const double number = value.As<Napi::Number>().DoubleValue();
  if (!(number >= low && number <= high)) {
    throw Error::range(where() + "in [" + std::to_string(low) + ", " + std::to_string(high) + "] but received " +
                       describe(value));
  }
  return static_cast<float>(number);
}

bool Args::flag(const char* name) {
  const Napi::Value value = next();
  if (!value.IsBoolean()) {
    throw Error::type("[" + std::string(op_) + "] expected " + name + " to be a boolean but received " +
                      describe(value));
  }
  return value.As<Napi::Boolean>().Value();
}

int64_t Args::list_begin(const char* name) {
  const Napi::Value value = next();
  if (in_list_ || !value.IsArray()) {
    throw Error::type("[" + std::string(op_) + "] expected " + name + " to be an array but received " +
                      describe(value));
  }
  list_ = value.As<Napi::Array>();
  list_position_ = 0;
  in_list_ = true;
  return list_.Length();
}

void Args::list_end() {
  in_list_ = false;
}

void Args::allow_alias(const float* output, const float* input) {
  aliases_.emplace_back(reinterpret_cast<const std::byte*>(output), reinterpret_cast<const std::byte*>(input));
}

// Whether no range reaches into another at all: what the optimiser is given, hundreds of tensors.
bool Args::apart() const {
  if (ranges_.size() < kManyRanges) return false;
  std::vector<std::pair<const std::byte*, const std::byte*>> sorted;
  sorted.reserve(ranges_.size());
  for (const Range& range : ranges_) sorted.emplace_back(range.begin, range.end);
  std::sort(sorted.begin(), sorted.end());
  for (size_t i = 1; i < sorted.size(); ++i) {
    if (sorted[i].first < sorted[i - 1].second) return false;
  }
  return true;
}

void Args::finish() {
  if (position_ < info_.Length()) {
    throw Error::type("[" + std::string(op_) + "] expected " + std::to_string(position_) + " arguments but received " +
                      std::to_string(info_.Length()));
  }
  if (apart()) return;
  for (const Range& out : ranges_) {
    if (!out.written) continue;
    for (const Range& other : ranges_) {
      if (&other == &out || out.begin >= other.end || other.begin >= out.end) continue;
      bool allowed = false;
      for (const auto& [output, input] : aliases_) {
        allowed |= out.begin == output && other.begin == input && output == input && out.end == other.end;
      }
      if (!allowed) {
        throw Error::range("[" + std::string(op_) + "] expected " + out.name + " apart from " + other.name +
                           " but received overlapping memory; give " + out.name + " a tensor of its own");
      }
    }
  }
}

}  // namespace seqrisk
