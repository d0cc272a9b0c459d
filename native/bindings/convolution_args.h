// What the bindings of convolutions start with: x, a filter, its gate or none, offsets and options.
#pragma once

#include <algorithm>
#include <initializer_list>
#include <string>

#include "bindings/args.h"
#include "ops/gated_dwconv.h"

namespace seqrisk {

struct ConvolutionSizes {
  Dim events, channels, width;
  Stored stored;
};

template <class Call>
void read_convolution(Args& args, Call& call, ConvolutionSizes& sizes) {
  auto& [events, channels, width, stored] = sizes;
  call.x = args.input("x", {events, channels}, stored);
  call.weight = args.input("weight", {width, channels});
  call.bias = args.input("bias", {channels});
  call.gate_weight = args.optional_input("gate_weight", {width, channels});
  call.gate_bias = args.optional_input("gate_bias", {channels});
  call.packing = args.offsets("offsets", events);
  call.dilation = args.integer("dilation", 1, INT32_MAX);
  call.causal = args.flag("causal");
}

// Once all arguments are read. `gate`: its parts, which are there as a whole or not at all.
template <class Call>
void finish_convolution(const Args& args, Call& call, const ConvolutionSizes& sizes,
                        std::initializer_list<const void*> gate) {
  const auto given = std::count_if(gate.begin(), gate.end(), [](const void* part) { return part != nullptr; });
  if (given != 0 && given != static_cast<int64_t>(gate.size())) {
    args.refuse("all parts of the gate or none", std::to_string(given) + " of " + std::to_string(gate.size()));
  }
  const int64_t width = sizes.width;
  if (width < 1 || width > kGatedDwconvMaxWidth || width % 2 == 0) {
    args.refuse("weight with an odd width from 1 to " + std::to_string(kGatedDwconvMaxWidth), std::to_string(width));
  }
  call.channels = sizes.channels;
  call.width = width;
  call.stored = sizes.stored;
}

}  // namespace seqrisk
