#include "ops/random_uniform.h"

#include "bindings/args.h"
#include "bindings/bindings.h"

namespace seqrisk {
namespace {

void random_uniform(Args& args) {
  Dim count;
  RandomUniform call{};
  call.out = args.output_flat("out", count);
  call.bound = args.number("bound", 0, 1e30);
  call.seed = args.seed("seed");
  call.stream = static_cast<uint32_t>(args.integer("stream", 0, 0xffffffff));
  args.finish();
  call.count = count;
  args.stream().submit(Kernel::random_uniform, call);
}

}  // namespace

void register_random_uniform(Napi::Object& exports) {
  add_op<random_uniform>(exports, "random_uniform");
}

}  // namespace seqrisk
