// Streams: open, close, cancel, wait; what the binary and the processor offer.
#include "bindings/args.h"
#include "bindings/bindings.h"
#include "bindings/call_args.h"
#include "bindings/environment.h"
#include "runtime/cpu_stream.h"
#include "runtime/cuda_device.h"

namespace seqrisk {
namespace {

constexpr double kMaxThreads = 1024;
constexpr double kMaxDevices = 1023;
constexpr double kMaxSafeInteger = 9007199254740991.0;

using Info = Napi::CallbackInfo;

Stream& stream_of(const Info& info, const char* where) {
  StreamHandle* stream = unwrap_stream(argument(info, 0));
  if (!stream) {
    throw Error::type("[" + std::string(where) + "] expected a stream but received " + describe(argument(info, 0)));
  }
  return **stream;
}

double number(const Info& info, const char* where, size_t i, const char* name, double low, double high) {
  const Napi::Value value = argument(info, i);
  const std::string expected = "[" + std::string(where) + "] expected " + std::string(name);
  if (!value.IsNumber()) throw Error::type(expected + " to be a number but received " + describe(value));
  const double given = value.As<Napi::Number>().DoubleValue();
  if (given >= low && given <= high) return given;
  throw Error::range(expected + " in [" + std::to_string(static_cast<int64_t>(low)) + ", " +
                     std::to_string(static_cast<int64_t>(high)) + "] but received " + describe(value));
}

bool boolean(const Info& info, const char* where, size_t i, const char* name) {
  const Napi::Value value = argument(info, i);
  if (value.IsBoolean()) return value.As<Napi::Boolean>().Value();
  throw Error::type("[" + std::string(where) + "] expected " + name + " to be a boolean but received " +
                    describe(value));
}

Napi::Value hand_out(const Info& info, std::shared_ptr<Stream> stream) {
  Environment::of(info.Env()).add_stream(stream);
  return wrap_stream(info.Env(), std::move(stream));
}

std::string text(const Info& info, const char* where, size_t at, const char* name) {
  const Napi::Value value = argument(info, at);
  if (!value.IsString()) {
    throw Error::type(std::string("[") + where + "] expected " + name + " to be a string but received " +
                      describe(value));
  }
  return value.As<Napi::String>().Utf8Value();
}

Precision precision(const Info& info, const char* where, size_t at) {
  return boolean(info, where, at, "bfloat16") ? Precision::bfloat16 : Precision::float32;
}

// (threads, variant, bfloat16, memory_limit, guard)
Napi::Value stream_open(const Info& info) {
  StreamOptions options;
  options.threads = static_cast<int>(number(info, "stream_open", 0, "threads", 1, kMaxThreads));
  options.variant = text(info, "stream_open", 1, "variant");
  options.precision = precision(info, "stream_open", 2);
  const double limit = number(info, "stream_open", 3, "memory_limit", 0, kMaxSafeInteger);
  if (limit > 0) options.memory_limit = static_cast<size_t>(limit);
  options.guard = boolean(info, "stream_open", 4, "guard");
  return hand_out(info, std::make_shared<CpuStream>(options));
}

// (index, bfloat16, cublaslt, memory_limit, guard, graphs)
Napi::Value cuda_open(const Info& info) {
  CudaOptions options;
  options.index = static_cast<int>(number(info, "cuda_open", 0, "index", 0, kMaxDevices));
  options.precision = precision(info, "cuda_open", 1);
  options.cublaslt = text(info, "cuda_open", 2, "cublaslt");
  const double limit = number(info, "cuda_open", 3, "memory_limit", 0, kMaxSafeInteger);
  if (limit > 0) options.memory_limit = static_cast<size_t>(limit);
  options.guard = boolean(info, "cuda_open", 4, "guard");
  options.graphs = boolean(info, "cuda_open", 5, "graphs");
  return hand_out(info, open_cuda_stream(options));
}

// The cards, or why there are none.
Napi::Value cuda_status(const Info& info) {
  const Napi::Env env = info.Env();
  const CudaDevices found = cuda_devices();
  Napi::Array devices = Napi::Array::New(env);
  for (const CudaDevice& device : found.devices) {
    Napi::Object item = Napi::Object::New(env);
    item.Set("name", device.name);
    item.Set("capability", device.capability / 10.0);
    item.Set("multiprocessors", device.multiprocessors);
    item.Set("memoryBytes", static_cast<double>(device.memory_bytes));
    devices.Set(devices.Length(), item);
  }
  Napi::Object result = Napi::Object::New(env);
  result.Set("devices", devices);
  result.Set("missing", found.missing);
  return result;
}

Napi::Value cuda_lose(const Info& info) {
  lose_cuda_device(static_cast<int>(number(info, "cuda_lose", 0, "index", 0, kMaxDevices)));
  return info.Env().Undefined();
}

Napi::Value stream_close(const Info& info) {
  stream_of(info, "stream_close").close();
  return info.Env().Undefined();
}

Napi::Value stream_cancel(const Info& info) {
  Stream& stream = stream_of(info, "stream_cancel");
  if (!stream.closed()) stream.cancel();
  return info.Env().Undefined();
}

Napi::Value stream_sync(const Info& info) {
  const StreamHandle stream = CallArgs(info, "[stream_sync] expected ").open_stream(0);
  auto [promise, done] = Environment::of(info.Env()).promise(info.Env(), info.Env().Undefined(), stream);
  stream->fence(std::move(done));
  return promise;
}

Napi::Value stream_info(const Info& info) {
  const Stream& stream = stream_of(info, "stream_info");
  const AllocatorStats memory = stream.memory();
  Napi::Object result = Napi::Object::New(info.Env());
  result.Set("device", stream.device());
  result.Set("variant", stream.variant());
  result.Set("threads", stream.threads());
  result.Set("liveBytes", static_cast<double>(memory.live_bytes));
  result.Set("cachedBytes", static_cast<double>(memory.cached_bytes));
  result.Set("peakBytes", static_cast<double>(memory.peak_bytes));
  result.Set("allocations", static_cast<double>(memory.allocations));
  result.Set("graphs", static_cast<double>(stream.graphs()));
  return result;
}

Napi::Value stream_fail_allocation(const Info& info) {
  Stream& stream = stream_of(info, "stream_fail_allocation");
  const Napi::Value value = argument(info, 1);
  if (!value.IsNumber()) {
    throw Error::type("[stream_fail_allocation] expected after to be a number but received " + describe(value));
  }
  const double after = value.As<Napi::Number>().DoubleValue();
  stream.fail_allocation(after >= 1 && after <= kMaxSafeInteger ? static_cast<uint64_t>(after) : 0);
  return info.Env().Undefined();
}

Napi::Value variants(const Info& info) {
  Napi::Array names = Napi::Array::New(info.Env());
  for (const Variant& variant : cpu_variants()) {
    if (variant.supported) names.Set(names.Length(), variant.table->name);
  }
  return names;
}

Napi::Value set_error_class(const Info& info) {
  const Napi::Value value = argument(info, 0);
  if (!value.IsFunction()) {
    throw Error::type("[set_error_class] expected a class but received " + describe(value));
  }
  Environment::of(info.Env()).set_error_class(value.As<Napi::Function>());
  return info.Env().Undefined();
}

}  // namespace

void register_stream(Napi::Object& exports) {
  add_function<stream_open>(exports, "stream_open");
  add_function<cuda_open>(exports, "cuda_open");
  add_function<cuda_lose>(exports, "cuda_lose");
  add_function<cuda_status>(exports, "cuda_status");
  add_function<stream_close>(exports, "stream_close");
  add_function<stream_cancel>(exports, "stream_cancel");
  add_function<stream_sync>(exports, "stream_sync");
  add_function<stream_info>(exports, "stream_info");
  add_function<stream_fail_allocation>(exports, "stream_fail_allocation");
  add_function<variants>(exports, "variants");
  add_function<set_error_class>(exports, "set_error_class");
}

}  // namespace seqrisk
