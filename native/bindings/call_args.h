// Arguments by position, for functions that are not ops: they take handles and host arrays instead of tensors.
#pragma once

#include <napi.h>

#include <cmath>
#include <string>
#include <utility>

#include "bindings/args.h"
#include "bindings/handles.h"

namespace seqrisk {

inline Napi::Value argument(const Napi::CallbackInfo& info, size_t i) {
  return i < info.Length() ? info[i] : info.Env().Undefined();
}

inline bool is_absent(const Napi::Value& value) {
  return value.IsNull() || value.IsUndefined();
}

class CallArgs {
 public:
  // `where` as errors begin: "[iforest] expected ".
  CallArgs(const Napi::CallbackInfo& info, std::string where) : info_(info), where_(std::move(where)) {}

  Napi::Env env() const { return info_.Env(); }
  const std::string& where() const { return where_; }

  Napi::Value value(size_t i) const { return argument(info_, i); }

  double number(size_t i, const char* name, double low, double high) const {
    const double given = value(i).IsNumber() ? value(i).As<Napi::Number>().DoubleValue() : std::nan("");
    if (given >= low && given <= high) return given;
    refuse(std::string(name) + " in [" + std::to_string(low) + ", " + std::to_string(high) + "]", value(i));
  }

  int64_t integer(size_t i, const char* name, int64_t low, int64_t high) const {
    const double given = value(i).IsNumber() ? value(i).As<Napi::Number>().DoubleValue() : std::nan("");
    if (given >= static_cast<double>(low) && given <= static_cast<double>(high) && given == std::trunc(given)) {
      return static_cast<int64_t>(given);
    }
    refuse(std::string(name) + " to be an integer in [" + std::to_string(low) + ", " + std::to_string(high) + "]",
           value(i));
  }

  uint64_t seed(size_t i) const { return static_cast<uint64_t>(integer(i, "seed", 0, (int64_t{1} << 53) - 1)); }

  StreamHandle open_stream(size_t i) const {
    StreamHandle* stream = unwrap_stream(value(i));
    if (!stream) throw Error::type(where_ + "a stream but received " + describe(value(i)));
    if (!(*stream)->closed()) return *stream;
    throw Error::coded("CLOSED", where_ + "an open stream but received a closed one; open a new device");
  }

  [[noreturn]] void refuse(const std::string& expected, const Napi::Value& received) const {
    throw Error::range(where_ + expected + " but received " + describe(received));
  }

 private:
  const Napi::CallbackInfo& info_;
  std::string where_;
};

}  // namespace seqrisk
