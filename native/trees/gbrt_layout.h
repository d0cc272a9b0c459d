// How the memory of a fit lies in buffers of its stream: a processor and a card want different parts.
#pragma once

#include "runtime/stream.h"
#include "trees/gbrt_trainer.h"

namespace seqrisk {

// Each call sets what lies at `base` and gives its bytes; with a null base it gives those alone.
class GbrtLayout {
 public:
  GbrtLayout(const GbrtOptions& options, int64_t rows, int64_t features, const Stream& stream)
      : options_(options),
        rows_(rows),
        features_(features),
        workers_(stream.threads()),
        on_card_(!stream.has_scratch()) {}

  // Every fit has these.
  size_t carve_rows(std::byte* base, GbrtMemory& memory) const;
  size_t carve_nodes(std::byte* base, GbrtMemory& memory) const;
  // Where not every row trains in every round.
  size_t carve_flags(std::byte* base, GbrtMemory& memory) const;
  size_t carve_forest(std::byte* base, GbrtMemory& memory) const;
  // Of the custom objective.
  size_t carve_custom(std::byte* base, GbrtMemory& memory) const;

 private:
  const GbrtOptions& options_;
  int64_t rows_;
  int64_t features_;
  int workers_;
  bool on_card_;
};

}  // namespace seqrisk
