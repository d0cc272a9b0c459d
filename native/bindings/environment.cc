#include "bindings/environment.h"

#include <algorithm>

#include "bindings/args.h"

namespace seqrisk {

struct Environment::Pending {
  Napi::Promise::Deferred deferred;
  Napi::Reference<Napi::Value> value;
  std::optional<Error> error;
  std::shared_ptr<Stream> stream;  // let go on the JavaScript thread: a stream cannot end on its own
};

void Environment::attach(Napi::Env env) {
  env.SetInstanceData(new Environment(env));
}

Environment& Environment::of(Napi::Env env) {
  return *env.GetInstanceData<Environment>();
}

Environment::Environment(Napi::Env env) {
  channel_ = Channel::New(env, "seqrisk", 0, 1, static_cast<std::nullptr_t*>(nullptr));
  channel_.Unref(env);
  const auto keep = [&](Napi::FunctionReference& reference, const char* name) {
    reference = Napi::Persistent(env.Global().Get(name).As<Napi::Function>());
  };
  keep(range_error_, "RangeError");
  keep(std::get<ArrayClass<uint8_t>>(array_classes_).reference, "Uint8Array");
  keep(std::get<ArrayClass<int32_t>>(array_classes_).reference, "Int32Array");
  keep(std::get<ArrayClass<uint32_t>>(array_classes_).reference, "Uint32Array");
  keep(std::get<ArrayClass<float>>(array_classes_).reference, "Float32Array");
  keep(std::get<ArrayClass<double>>(array_classes_).reference, "Float64Array");
  // Hooks run last in, first out: streams stop before the channel that they report to is taken down.
  env.AddCleanupHook([](Environment* environment) { environment->close_streams(); }, this);
}

void Environment::close_streams() {
  for (const auto& weak : streams_) {
    if (const auto stream = weak.lock()) stream->close();
  }
  streams_.clear();
}

void Environment::add_stream(const std::shared_ptr<Stream>& stream) {
  std::erase_if(streams_, [](const auto& weak) { return weak.expired(); });
  streams_.push_back(stream);
}

void Environment::set_error_class(Napi::Function error_class) {
  error_class_ = Napi::Persistent(error_class);
}

Napi::Error Environment::coded_error(Napi::Env env, const Error& error) {
  if (!error_class_.IsEmpty()) {
    try {
      const Napi::Object made =
          error_class_.New({Napi::String::New(env, error.code()), Napi::String::New(env, error.what())});
      return Napi::Error(env, made);
    } catch (const Napi::Error&) {
      // The class itself failed: the caller still gets the error that happened.
    }
  }
  Napi::Error plain = Napi::Error::New(env, error.what());
  plain.Set("code", Napi::String::New(env, error.code()));
  return plain;
}

Environment::Settle Environment::promise(Napi::Env env, Napi::Value value, std::shared_ptr<Stream> stream) {
  auto* pending = new Pending{Napi::Promise::Deferred::New(env), {}, std::nullopt, std::move(stream)};
  // Undefined needs no reference: it is what an empty one resolves to.
  if (value.IsObject() || value.IsExternal()) pending->value = Napi::Reference<Napi::Value>::New(value, 1);
  if (unsettled_++ == 0) channel_.Ref(env);
  return {pending->deferred.Promise(), [this, pending](const std::optional<Error>& error) {
            pending->error = error;
            // Refused only while the environment goes down: then nobody waits for the promise, and the references in
            // `pending` belong to a dying heap, so it is left alone.
            channel_.NonBlockingCall(pending);
          }};
}

void Environment::settle(Napi::Env env, Napi::Function, std::nullptr_t*, Pending* pending) {
  if (static_cast<napi_env>(env) == nullptr) {
    // The environment goes down, and references of its heap are left alone. The stream is closed by now: it may go.
    pending->stream.reset();
    return;
  }
  const std::unique_ptr<Pending> owned(pending);
  Environment& self = of(env);
  if (--self.unsettled_ == 0) self.channel_.Unref(env);
  if (pending->error) {
    pending->deferred.Reject(to_js_error(env, *pending->error).Value());
  } else {
    pending->deferred.Resolve(pending->value.IsEmpty() ? env.Undefined() : pending->value.Value());
  }
}

}  // namespace seqrisk
