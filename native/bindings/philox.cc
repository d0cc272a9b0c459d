// Random words for the host: lib/runtime/random.ts draws from them.
#include "bindings/bindings.h"
#include "bindings/call_args.h"
#include "bindings/host_array.h"
#include "ops/philox_blocks.h"

namespace seqrisk {
namespace {

Napi::Value philox_blocks_into(const Napi::CallbackInfo& info) {
  const CallArgs args(info, "[philox_blocks] expected ");
  const uint64_t seed = args.seed(0);
  const auto stream = static_cast<uint32_t>(args.integer(1, "philox_stream", 0, 0xffffffff));
  const auto first = static_cast<uint64_t>(args.integer(2, "first", 0, int64_t{1} << 52));
  const HostNumbers out = host_numbers(args.value(3), args.where() + "out to be ");
  if (out.type != napi_uint32_array) throw Error::type(args.where() + "out to be a Uint32Array but received another");
  if (out.length % 4 != 0) args.refuse("out of four words for each block", args.value(3));
  philox_blocks(seed, stream, first, out.length / 4, static_cast<uint32_t*>(const_cast<void*>(out.data)));
  return info.Env().Undefined();
}

}  // namespace

void register_philox(Napi::Object& exports) {
  add_function<philox_blocks_into>(exports, "philox_blocks");
}

}  // namespace seqrisk
