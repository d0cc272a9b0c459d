// Externals that carry a type tag, so that a wrong handle is refused.
#pragma once

#include <napi.h>

#include <memory>
#include <utility>

namespace seqrisk {

template <class T>
Napi::Value wrap(Napi::Env env, T value, const napi_type_tag& tag) {
  auto held = std::make_unique<T>(std::move(value));
  auto external = Napi::External<T>::New(env, held.get(), [](Napi::Env, T* data) { delete data; });
  held.release();
  external.TypeTag(&tag);
  return external;
}

template <class T>
T* unwrap(const Napi::Value& value, const napi_type_tag& tag) {
  if (!value.IsExternal()) return nullptr;
  const auto external = value.As<Napi::External<T>>();
  return external.CheckTypeTag(&tag) ? external.Data() : nullptr;
}

}  // namespace seqrisk
