// What the bindings of the attention ops check alike.
#pragma once

#include <string>

#include "bindings/args.h"
#include "ops/attention.h"

namespace seqrisk {

constexpr int64_t kMaxHeads = 1 << 20;

// The width of one of `parts` equal parts of that many columns: each is a whole number of heads.
inline int64_t attention_width(const Args& args, const char* name, int64_t columns, int64_t parts, int64_t heads) {
  const int64_t dim = columns / (parts * heads);
  if (dim * parts * heads != columns) {
    args.refuse(std::string(name) + " to have " + std::to_string(parts) + " times a multiple of heads (" +
                    std::to_string(heads) + ") columns",
                std::to_string(columns));
  }
  if (dim < 1 || dim > kAttentionMaxHeadDim) {
    args.refuse("heads of 1 to " + std::to_string(kAttentionMaxHeadDim) + " columns", std::to_string(dim));
  }
  return columns / parts;
}

inline size_t attention_scratch_of(const Args& args, int64_t head_dim) {
  return attention_scratch(head_dim) * static_cast<size_t>(args.stream().threads());
}

}  // namespace seqrisk
