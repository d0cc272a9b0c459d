#include "bindings/result_array.h"

#include <cstdint>

#include "bindings/environment.h"
#include "runtime/error.h"

namespace seqrisk {
namespace {

constexpr int64_t kMostElements = (int64_t{1} << 53) - 1;  // that JavaScript can ask for; Node's own limit is lower

Error refused(const std::string& where, std::initializer_list<int64_t> sizes, size_t width) {
  std::string values;
  for (const int64_t size : sizes) values += (values.empty() ? "" : " × ") + std::to_string(size);
  return Error::coded("OUT_OF_MEMORY", where + "memory for a result of " + values + " values of " +
                                           std::to_string(width) + " bytes but received none; ask for fewer at a time");
}

}  // namespace

template <class T>
Napi::TypedArrayOf<T> result_array(Napi::Env env, const std::string& where, std::initializer_list<int64_t> sizes) {
  int64_t length = 1;
  for (const int64_t size : sizes) {
    if (size > 0 && length > kMostElements / size) throw refused(where, sizes, sizeof(T));
    length *= size;
  }
  const Environment& environment = Environment::of(env);
  try {
    const Napi::Value count = Napi::Number::New(env, static_cast<double>(length));
    return environment.array_class<T>().New({count}).template As<Napi::TypedArrayOf<T>>();
  } catch (const Napi::Error& error) {
    if (!environment.is_range_error(error)) throw;
    throw refused(where, sizes, sizeof(T));
  }
}

template Napi::TypedArrayOf<uint8_t> result_array(Napi::Env, const std::string&, std::initializer_list<int64_t>);
template Napi::TypedArrayOf<int32_t> result_array(Napi::Env, const std::string&, std::initializer_list<int64_t>);
template Napi::TypedArrayOf<uint32_t> result_array(Napi::Env, const std::string&, std::initializer_list<int64_t>);
template Napi::TypedArrayOf<float> result_array(Napi::Env, const std::string&, std::initializer_list<int64_t>);
template Napi::TypedArrayOf<double> result_array(Napi::Env, const std::string&, std::initializer_list<int64_t>);

}  // namespace seqrisk
