#include "ops/full_attention.h"

#include "bindings/bindings.h"
#include "bindings/self_attention.h"

namespace seqrisk {
namespace {

constexpr auto kNothingElse = [](auto&) {};

void full_attention_forward(Args& args) {
  self_attention_forward<FullAttentionForward>(args, Kernel::full_attention_forward, kNothingElse);
}

void full_attention_backward(Args& args) {
  self_attention_backward<FullAttentionBackward>(args, Kernel::full_attention_backward, kNothingElse);
}

}  // namespace

void register_full_attention(Napi::Object& exports) {
  add_op<full_attention_forward>(exports, "full_attention_forward");
  add_op<full_attention_backward>(exports, "full_attention_backward");
}

}  // namespace seqrisk
