#include "ops/block_attention.h"

#include "bindings/bindings.h"
#include "bindings/self_attention.h"

namespace seqrisk {
namespace {

constexpr int64_t kMaxBlock = (int64_t{1} << 31) - 1;

auto read_cuts(Args& args) {
  return [&args](auto& call) {
    call.block = args.integer("block", 1, kMaxBlock);
    call.shift = args.flag("shift");
  };
}

void block_attention_forward(Args& args) {
  self_attention_forward<BlockAttentionForward>(args, Kernel::block_attention_forward, read_cuts(args));
}

void block_attention_backward(Args& args) {
  self_attention_backward<BlockAttentionBackward>(args, Kernel::block_attention_backward, read_cuts(args));
}

}  // namespace

void register_block_attention(Napi::Object& exports) {
  add_op<block_attention_forward>(exports, "block_attention_forward");
  add_op<block_attention_backward>(exports, "block_attention_backward");
}

}  // namespace seqrisk
