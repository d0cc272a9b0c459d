#pragma once

#include <cstddef>
#include <cstdint>

namespace seqrisk {

// Carves arrays out of one buffer, each on a boundary of 64 bytes; with a null base it only measures.
class Carver {
 public:
  explicit Carver(std::byte* base) : base_(base) {}
  template <class T>
  void take(T*& to, int64_t count) {
    if (base_) to = reinterpret_cast<T*>(base_ + bytes_);
    bytes_ += (static_cast<size_t>(count) * sizeof(T) + 63) / 64 * 64;
  }
  size_t bytes() const { return bytes_; }

 private:
  std::byte* base_;
  size_t bytes_ = 0;
};

}  // namespace seqrisk
