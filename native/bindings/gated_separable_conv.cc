#include "ops/gated_separable_conv.h"

#include "bindings/bindings.h"
#include "bindings/convolution_args.h"

namespace seqrisk {
namespace {

void gated_separable_conv_forward(Args& args) {
  ConvolutionSizes sizes;
  auto& [events, channels, width, stored] = sizes;
  Dim out_features;
  Stored out_stored;
  GatedSeparableConvForward call{};
  GatedDwconvForward& convolution = call.convolution;
  LinearForward& product = call.product;
  read_convolution(args, convolution, sizes);
  convolution.out = args.output("between", {events, channels}, stored);
  call.keeps_between = args.flag("keeps_between");
  product.weight = args.input("point_weight", {out_features, channels});
  product.packed = args.optional_input("packed", {linear_padded(out_features), channels});
  product.bias = args.optional_input("point_bias", {out_features});
  product.residual = args.input("residual", {events, out_features}, out_stored);
  product.out = args.output("out", {events, out_features}, out_stored);
  args.finish();
  finish_convolution(args, convolution, sizes, {convolution.gate_weight, convolution.gate_bias});
  if (channels < 1 || out_features < 1) {
    args.refuse("point_weight of at least one row and column",
                "(" + std::to_string(out_features) + ", " + std::to_string(channels) + ")");
  }
  product.x = convolution.out;
  product.rows = events;
  product.in_features = channels;
  product.out_features = out_features;
  product.x_stride = channels;
  product.out_stride = out_features;
  product.residual_stride = out_features;
  product.x_stored = stored;
  product.out_stored = out_stored;
  const Scratch filters = args.scratch(gated_dwconv_forward_scratch(channels, width));
  const Scratch weight = args.scratch(product.packed ? 0 : linear_packed_bytes(channels, out_features));
  convolution.scratch = filters.floats();
  product.scratch = weight.floats();
  args.stream().submit(Kernel::gated_separable_conv_forward, call);
}

}  // namespace

void register_gated_separable_conv(Napi::Object& exports) {
  add_op<gated_separable_conv_forward>(exports, "gated_separable_conv_forward");
}

}  // namespace seqrisk
