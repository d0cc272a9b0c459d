// State of one Node environment (the main thread or a worker thread): its error class, its open streams and the way
// back from stream threads to its JavaScript thread.
#pragma once

#include <napi.h>

#include <cstdint>
#include <memory>
#include <tuple>
#include <vector>

#include "runtime/stream.h"

namespace seqrisk {

class Environment {
 public:
  static void attach(Napi::Env env);
  static Environment& of(Napi::Env env);

  explicit Environment(Napi::Env env);

  void set_error_class(Napi::Function error_class);
  Napi::Error coded_error(Napi::Env env, const Error& error);

  // JavaScript's own classes, as they were when the module was loaded: a program may replace the global ones.
  template <class T>
  Napi::Function array_class() const {
    return std::get<ArrayClass<T>>(array_classes_).reference.Value();
  }
  bool is_range_error(const Napi::Error& error) const { return error.Value().InstanceOf(range_error_.Value()); }

  void add_stream(const std::shared_ptr<Stream>& stream);

  // A promise, and the completion that settles it with `value`.
  struct Settle {
    Napi::Promise promise;
    Completion done;
  };
  // The stream stays open until then, also when nobody else holds it any more.
  Settle promise(Napi::Env env, Napi::Value value, std::shared_ptr<Stream> stream);

 private:
  struct Pending;
  static void settle(Napi::Env env, Napi::Function, std::nullptr_t*, Pending* pending);
  using Channel = Napi::TypedThreadSafeFunction<std::nullptr_t, Pending, settle>;

  void close_streams();

  template <class T>
  struct ArrayClass {
    Napi::FunctionReference reference;
  };

  Napi::FunctionReference error_class_;
  Napi::FunctionReference range_error_;
  std::tuple<ArrayClass<uint8_t>, ArrayClass<int32_t>, ArrayClass<uint32_t>, ArrayClass<float>, ArrayClass<double>>
      array_classes_;
  std::vector<std::weak_ptr<Stream>> streams_;
  Channel channel_;
  int64_t unsettled_ = 0;  // promises; while there are any, the event loop stays alive
};

}  // namespace seqrisk
