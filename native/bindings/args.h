// Reads and checks the arguments of one call from JavaScript, in order. Every binding of an op is a function of Args:
//
//   void layer_norm_forward(Args& args) {
//     Dim rows, width;
//     const float* x = args.input("x", {rows, width});        // binds rows and width
//     const float* weight = args.input("weight", {width});    // must agree
//     float* out = args.output("out", {rows, width});
//     args.finish();                                           // nothing left over, no output over an input
//     args.stream().submit(Kernel::layer_norm_forward, LayerNormForward{…});
//   }
//
// Everything that could make a kernel read or write outside its buffers is refused here.
#pragma once

#include <napi.h>

#include <initializer_list>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "bindings/handles.h"
#include "ops/storage.h"

namespace seqrisk {

// A size that the first tensor which names it decides, or that is known beforehand.
class Dim {
 public:
  Dim() = default;
  Dim(int64_t value) : value_(value) {}  // NOLINT: sizes stand for themselves in shapes
  operator int64_t() const { return value_; }
  bool bound() const { return value_ >= 0; }
  void bind(int64_t value) { value_ = value; }

 private:
  int64_t value_ = -1;
};

// One axis of a wanted shape: a Dim that may still be open, or a fixed size.
class Axis {
 public:
  Axis(Dim& dim) : dim_(&dim) {}          // NOLINT
  Axis(int64_t fixed) : fixed_(fixed) {}  // NOLINT
  bool accept(int64_t size) const {
    if (dim_ && !dim_->bound()) dim_->bind(size);
    return size == (dim_ ? static_cast<int64_t>(*dim_) : fixed_);
  }
  std::string text() const {
    if (dim_ && !dim_->bound()) return "any";
    return std::to_string(dim_ ? static_cast<int64_t>(*dim_) : fixed_);
  }

 private:
  Dim* dim_ = nullptr;
  int64_t fixed_ = 0;
};

using Shape = std::initializer_list<Axis>;

// How activations are stored, float32 or bfloat16: the first tensor that is named with it decides.
class Stored {
 public:
  operator Storage() const { return storage_of(dtype_); }
  bool accept(DType dtype) {
    if (!bound_ && dtype != DType::int32) {
      dtype_ = dtype;
      bound_ = true;
    }
    return dtype == dtype_;
  }
  const char* text() const { return bound_ ? name_of(dtype_) : "float32 or bfloat16"; }

 private:
  DType dtype_ = DType::float32;
  bool bound_ = false;
};

// Scratch memory of one kernel call: stream-ordered, so that it may be released as soon as the kernel is submitted.
class Scratch {
 public:
  Scratch(Stream& stream, size_t bytes, const char* where)
      : stream_(stream), block_(bytes ? stream.allocate(bytes, where) : nullptr) {}
  ~Scratch() {
    if (block_) stream_.release(block_);
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  float* floats() const { return reinterpret_cast<float*>(bytes()); }
  std::byte* bytes() const { return block_ ? block_->begin() : nullptr; }

 private:
  Stream& stream_;
  Block* block_;
};

class Args {
 public:
  // Takes the first argument, the stream.
  Args(const Napi::CallbackInfo& info, const char* op);

  Stream& stream() const { return **stream_; }
  // None on a card, where launchers take their own.
  Scratch scratch(size_t bytes) const { return Scratch(stream(), stream().has_scratch() ? bytes : 0, op_); }

  const float* input(const char* name, Shape shape);
  const float* optional_input(const char* name, Shape shape);  // null or undefined gives nullptr
  float* output(const char* name, Shape shape);
  float* optional_output(const char* name, Shape shape);
  float* output_flat(const char* name, Dim& elements);  // of any shape
  // Activations: their pointers point to what `stored` says.
  const float* input(const char* name, Shape shape, Stored& stored);
  float* output(const char* name, Shape shape, Stored& stored);
  const float* optional_input(const char* name, Shape shape, Stored& stored);
  float* optional_output(const char* name, Shape shape, Stored& stored);
  const float* input_flat(const char* name, Dim& elements, Stored& stored);
  float* output_flat(const char* name, Dim& elements, Stored& stored);
  const int32_t* input_ids(const char* name, Shape shape);
  const int32_t* optional_input_ids(const char* name, Shape shape);
  int32_t* output_ids(const char* name, Shape shape);
  int32_t* optional_output_ids(const char* name, Shape shape);
  Packing offsets(const char* name, Dim& events);

  int64_t integer(const char* name, int64_t low, int64_t high);
  uint64_t seed(const char* name);  // an integer in [0, 2^53)
  float number(const char* name, double low, double high);
  bool flag(const char* name);
  Napi::Value value() { return next(); }  // the next argument, unchecked
  const char* op() const { return op_; }

  // Between these two, arguments come from the elements of an array argument. Returns how many it has.
  int64_t list_begin(const char* name);
  void list_end();

  // That output may be the very same memory as that input (element-wise ops).
  void allow_alias(const float* output, const float* input);

  // Refuses leftover arguments and outputs that overlap another argument.
  void finish();

  // For checks of a single op: throws a RangeError "[op] expected … but received …".
  [[noreturn]] void refuse(const std::string& expected, const std::string& received) const;

 private:
  struct Range {
    const char* name;
    const std::byte* begin;
    const std::byte* end;
    bool written;
  };

  bool apart() const;
  Napi::Value next();
  // Of one type, or of what is stored so.
  struct Kind {
    DType dtype;
    Stored* stored = nullptr;

    bool accept(DType found) const { return stored ? stored->accept(found) : found == dtype; }
    const char* text() const { return stored ? stored->text() : name_of(dtype); }
  };
  Tensor* live_tensor(const char* name, Kind kind, bool optional, bool written);
  float* flat(const char* name, Dim& elements, Kind kind, bool written);
  Tensor* tensor(const char* name, Kind kind, Shape shape, bool optional, bool written);
  float* activations(const char* name, Shape shape, Stored& stored, bool optional, bool written);

  const Napi::CallbackInfo& info_;
  const char* op_;
  StreamHandle* stream_ = nullptr;
  size_t position_ = 0;
  Napi::Array list_;
  uint32_t list_position_ = 0;
  bool in_list_ = false;
  std::vector<Range> ranges_;
  // Reading an array may run JavaScript, which may free what was read before: it stays until the call is submitted.
  std::vector<std::shared_ptr<Buffer>> alive_;
  std::vector<std::pair<const std::byte*, const std::byte*>> aliases_;
};

// "(3, 4)"
std::string describe_shape(const std::vector<int64_t>& shape);
// A JavaScript value in a few words, for error messages.
std::string describe(const Napi::Value& value);

Napi::Error to_js_error(Napi::Env env, const Error& error);

// Turns any exception of `body` into a JavaScript one.
template <class Body>
Napi::Value guarded(const Napi::CallbackInfo& info, Body body) {
  try {
    return body();
  } catch (const Error& error) {
    throw to_js_error(info.Env(), error);
  } catch (const Napi::Error&) {
    throw;
  } catch (const std::bad_alloc&) {
    throw to_js_error(info.Env(), Error::coded("OUT_OF_MEMORY",
                                               "[native] expected memory but received none; use "
                                               "smaller batches"));
  } catch (const std::exception& error) {
    throw to_js_error(info.Env(), Error::coded("INTERNAL", std::string("[native] ") + error.what()));
  }
}

// Registers the binding of an op.
template <void (*binding)(Args&)>
void add_op(Napi::Object& exports, const char* name) {
  const auto call = [](const Napi::CallbackInfo& info) {
    return guarded(info, [&]() -> Napi::Value {
      Args args(info, static_cast<const char*>(info.Data()));
      binding(args);
      return info.Env().Undefined();
    });
  };
  exports.Set(name, Napi::Function::New(exports.Env(), call, name, const_cast<char*>(name)));
}

// Registers any other function.
template <Napi::Value (*function)(const Napi::CallbackInfo&)>
void add_function(Napi::Object& exports, const char* name) {
  const auto call = [](const Napi::CallbackInfo& info) { return guarded(info, [&] { return function(info); }); };
  exports.Set(name, Napi::Function::New(exports.Env(), call, name));
}

}  // namespace seqrisk
