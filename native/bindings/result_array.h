// Typed arrays for results, whose size depends on the data.
#pragma once

#include <napi.h>

#include <initializer_list>
#include <string>

namespace seqrisk {

// Zeros, as many as the sizes multiplied. JavaScript's constructor makes them: Node-API's own functions end the process
// where there is no memory for an array, or where it is longer than Node's may be. Throws Error with code
// OUT_OF_MEMORY; `where` ends in "expected ". Of uint8_t, int32_t, uint32_t, float and double.
template <class T>
Napi::TypedArrayOf<T> result_array(Napi::Env env, const std::string& where, std::initializer_list<int64_t> sizes);

}  // namespace seqrisk
