#include "runtime/staging_pool.h"

#include <algorithm>

namespace seqrisk {
namespace {

// What is smaller comes from the heap without the system's help.
constexpr size_t kLeastBytes = size_t{16} << 10;
// The uploads of several steps of pre-training; what goes beyond is freed.
constexpr size_t kMostFreeBytes = size_t{64} << 20;

}  // namespace

StagingPool::Bytes StagingPool::copy(const void* host, size_t bytes) {
  Bytes copied;
  if (bytes >= kLeastBytes) {
    const std::lock_guard lock(mutex_);
    // The smallest that holds them, unless most of it would lie idle.
    auto best = free_.end();
    for (auto it = free_.begin(); it != free_.end(); ++it) {
      const bool fits = it->capacity() >= bytes && it->capacity() / 4 <= bytes;
      if (fits && (best == free_.end() || it->capacity() < best->capacity())) best = it;
    }
    if (best != free_.end()) {
      std::swap(*best, free_.back());
      copied = std::move(free_.back());
      free_.pop_back();
      free_bytes_ -= copied.capacity();
    }
  }
  // An eighth more, so that the next batch finds room if it is a little longer.
  if (bytes >= kLeastBytes && copied.capacity() < bytes) copied.reserve(bytes + bytes / 8);
  const auto* begin = static_cast<const std::byte*>(host);
  copied.assign(begin, begin + bytes);
  return copied;
}

void StagingPool::give_back(Bytes bytes) {
  const size_t capacity = bytes.capacity();
  if (capacity < kLeastBytes) return;
  const std::lock_guard lock(mutex_);
  if (free_bytes_ + capacity > kMostFreeBytes) return;
  free_bytes_ += capacity;
  free_.push_back(std::move(bytes));
}

}  // namespace seqrisk
