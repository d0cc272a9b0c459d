// Arrays of the host that a launcher copies to its workspace.
#pragma once

#include "kernels/cuda/device-inl.cuh"

namespace seqrisk {
namespace cuda {

class Staged {
 public:
  static constexpr size_t kBoundary = 64;

  explicit Staged(Launch& launch) : launch_(launch) {}

  // First say what there is, …
  template <class T>
  void want(const T* host, int64_t count) {
    if (host) bytes_ += rounded<T>(count);
  }
  // … then reserve it, false when there is no memory, …
  bool reserve() {
    next_ = static_cast<std::byte*>(launch_.workspace(bytes_));
    return next_ != nullptr;
  }
  // … then put it there, in any order. Null stays null.
  template <class T>
  void put(const T*& pointer, int64_t count) {
    if (!pointer) return;
    if (count > 0) {
      const size_t bytes = static_cast<size_t>(count) * sizeof(T);
      cudaMemcpyAsync(next_, pointer, bytes, cudaMemcpyHostToDevice, launch_.stream);
    }
    pointer = reinterpret_cast<const T*>(next_);
    next_ += rounded<T>(count);
  }

 private:
  template <class T>
  static size_t rounded(int64_t count) {
    return (static_cast<size_t>(count) * sizeof(T) + kBoundary - 1) / kBoundary * kBoundary;
  }

  Launch& launch_;
  size_t bytes_ = 0;
  std::byte* next_ = nullptr;
};

}  // namespace cuda
}  // namespace seqrisk
