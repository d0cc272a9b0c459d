#include "bindings/host_array.h"

#include <cstring>

#include "bindings/args.h"

namespace seqrisk {
namespace {

template <class S, class T>
void convert(const S* from, int64_t stride, int64_t count, T* to) {
  if (stride == 1 && std::is_same_v<S, T>) {
    if (count > 0) std::memcpy(to, from, static_cast<size_t>(count) * sizeof(T));
    return;
  }
  for (int64_t i = 0; i < count; ++i) to[i] = static_cast<T>(from[i * stride]);
}

HostNumbers of_type(const Napi::Value& value, napi_typedarray_type type, const char* name, int64_t length,
                    const std::string& where) {
  const HostNumbers numbers = host_numbers(value, where);
  if (numbers.type != type) {
    throw Error::type(where + name + " but received a typed array of another type; convert it first");
  }
  if (numbers.length != length) {
    throw Error::range(where + std::to_string(length) + " values but received " + std::to_string(numbers.length));
  }
  return numbers;
}

}  // namespace

bool HostNumbers::fits_float() const {
  return type == napi_float32_array || type == napi_int8_array || type == napi_uint8_array ||
         type == napi_uint8_clamped_array || type == napi_int16_array || type == napi_uint16_array;
}

HostNumbers host_numbers(const Napi::Value& value, const std::string& where, const char* wanted) {
  if (!value.IsTypedArray()) throw Error::type(where + wanted + " but received " + describe(value));
  HostNumbers numbers;
  napi_value buffer;
  void* data = nullptr;
  size_t length = 0;
  size_t offset = 0;
  if (napi_get_typedarray_info(value.Env(), value, &numbers.type, &length, &data, &buffer, &offset) != napi_ok) {
    throw Error::type(where + wanted + " but received one that cannot be read");
  }
  bool is_array_buffer = false;
  napi_is_arraybuffer(value.Env(), buffer, &is_array_buffer);
  if (!is_array_buffer) {
    throw Error::type(where + wanted + " over an ArrayBuffer but received one over shared memory; copy it first");
  }
  bool detached = false;
  napi_is_detached_arraybuffer(value.Env(), buffer, &detached);
  if (detached) throw Error::type(where + wanted + " but received a detached one; it was transferred away");
  if (numbers.type == napi_bigint64_array || numbers.type == napi_biguint64_array) {
    throw Error::type(where + wanted + " of numbers but received one of bigints; convert it first");
  }
  numbers.data = data;
  numbers.length = static_cast<int64_t>(length);
  return numbers;
}

const float* host_floats(const Napi::Value& value, int64_t length, const std::string& where) {
  return static_cast<const float*>(of_type(value, napi_float32_array, "a Float32Array", length, where).data);
}
const int32_t* host_ints(const Napi::Value& value, int64_t length, const std::string& where) {
  return static_cast<const int32_t*>(of_type(value, napi_int32_array, "an Int32Array", length, where).data);
}
const uint8_t* host_bytes(const Napi::Value& value, int64_t length, const std::string& where) {
  return static_cast<const uint8_t*>(of_type(value, napi_uint8_array, "a Uint8Array", length, where).data);
}
const double* host_doubles(const Napi::Value& value, int64_t length, const std::string& where) {
  return static_cast<const double*>(of_type(value, napi_float64_array, "a Float64Array", length, where).data);
}

// Calls f with a pointer to the values, of their own type.
template <class F>
void with_type(const HostNumbers& from, F f) {
  switch (from.type) {
    case napi_float32_array:
      return f(static_cast<const float*>(from.data));
    case napi_float64_array:
      return f(static_cast<const double*>(from.data));
    case napi_int8_array:
      return f(static_cast<const int8_t*>(from.data));
    case napi_uint8_array:
    case napi_uint8_clamped_array:
      return f(static_cast<const uint8_t*>(from.data));
    case napi_int16_array:
      return f(static_cast<const int16_t*>(from.data));
    case napi_uint16_array:
      return f(static_cast<const uint16_t*>(from.data));
    case napi_int32_array:
      return f(static_cast<const int32_t*>(from.data));
    case napi_uint32_array:
      return f(static_cast<const uint32_t*>(from.data));
    default:
      throw Error::type("[native] expected an array of numbers but received another type");
  }
}

template <class T>
void copy_numbers(const HostNumbers& from, int64_t first, int64_t stride, int64_t count, T* to) {
  with_type(from, [&](const auto* values) { convert(values + first, stride, count, to); });
}

template <class T>
void gather_numbers(const HostNumbers& from, int64_t first, int64_t stride, const int32_t* rows, int64_t count, T* to) {
  with_type(from, [&](const auto* values) {
    for (int64_t i = 0; i < count; ++i) to[i] = static_cast<T>(values[first + rows[i] * stride]);
  });
}

template void gather_numbers(const HostNumbers&, int64_t, int64_t, const int32_t*, int64_t, float*);
template void gather_numbers(const HostNumbers&, int64_t, int64_t, const int32_t*, int64_t, double*);
template void copy_numbers(const HostNumbers&, int64_t, int64_t, int64_t, float*);
template void copy_numbers(const HostNumbers&, int64_t, int64_t, int64_t, double*);

// Not cleared: it is about to be written.
std::byte* StagedRows::reserve(size_t bytes) {
  bytes_ = bytes;
  memory_ = std::make_unique_for_overwrite<double[]>((bytes + 7) / 8);
  return reinterpret_cast<std::byte*>(memory_.get());
}

StagedRows::StagedRows(const Napi::Value& values, int64_t features, int64_t start, int64_t count, bool uniform,
                       const std::string& where)
    : rows_(count) {
  const auto size = [](bool is_double) -> size_t { return is_double ? 8 : 4; };
  if (values.IsTypedArray()) {
    const HostNumbers numbers = host_numbers(values, where);
    if (numbers.length / features < start + count) {
      throw Error::range(where + "at least " + std::to_string((start + count) * features) + " values but received " +
                         std::to_string(numbers.length));
    }
    const bool is_double = !numbers.fits_float();
    std::byte* bytes = reserve(static_cast<size_t>(count * features) * size(is_double));
    if (is_double) {
      copy_numbers(numbers, start * features, 1, count * features, reinterpret_cast<double*>(bytes));
    } else {
      copy_numbers(numbers, start * features, 1, count * features, reinterpret_cast<float*>(bytes));
    }
    for (int64_t f = 0; f < features; ++f) {
      columns_.push_back({bytes + static_cast<size_t>(f) * size(is_double), features, is_double});
    }
    return;
  }
  if (!values.IsArray() || values.As<Napi::Array>().Length() != static_cast<size_t>(features)) {
    throw Error::type(where + "a typed array of rows or a list of " + std::to_string(features) +
                      " columns but received " + describe(values));
  }
  std::vector<Napi::Value> arrays;
  bool any_double = false;
  for (int64_t f = 0; f < features; ++f) {
    arrays.push_back(values.As<Napi::Array>().Get(static_cast<uint32_t>(f)));
    any_double =
        !host_numbers(arrays.back(), where + "column " + std::to_string(f) + " as ").fits_float() || any_double;
  }
  std::byte* next = reserve(static_cast<size_t>(features) * static_cast<size_t>(count) * size(true));
  for (int64_t f = 0; f < features; ++f) {
    const HostNumbers numbers = host_numbers(arrays[static_cast<size_t>(f)], where);
    if (numbers.length < start + count) {
      throw Error::range(where + "column " + std::to_string(f) + " of at least " + std::to_string(start + count) +
                         " values but received " + std::to_string(numbers.length));
    }
    const bool is_double = uniform ? any_double : !numbers.fits_float();
    if (is_double) {
      next += reinterpret_cast<uintptr_t>(next) % 8;
      copy_numbers(numbers, start, 1, count, reinterpret_cast<double*>(next));
    } else {
      copy_numbers(numbers, start, 1, count, reinterpret_cast<float*>(next));
    }
    columns_.push_back({next, 1, is_double});
    next += static_cast<size_t>(count) * size(is_double);
  }
  bytes_ = static_cast<size_t>(next - reinterpret_cast<std::byte*>(memory_.get()));
}

}  // namespace seqrisk
