#include "runtime/allocator.h"

#include <algorithm>
#include <cstdlib>
#include <string>

#ifdef __linux__
#include <sys/mman.h>
#endif

#include "runtime/error.h"

namespace seqrisk {
namespace {

constexpr size_t kAlignment = 64;
constexpr size_t kHugePage = size_t{2} << 20;

// Sizes are rounded so that batches of nearly equal length share blocks: at most an eighth is wasted.
size_t rounded(size_t bytes) {
  size_t step = kAlignment;
  while (step * 16 < bytes) step *= 2;
  return std::max(kAlignment, (bytes + step - 1) / step * step);
}

}  // namespace

std::byte* HostMemory::allocate(size_t bytes) {
#ifdef _WIN32
  return static_cast<std::byte*>(_aligned_malloc(bytes, kAlignment));
#else
  void* data = nullptr;
  const bool large = bytes >= kHugePage;
  if (posix_memalign(&data, large ? kHugePage : kAlignment, bytes) != 0) return nullptr;
#ifdef MADV_HUGEPAGE
  if (large) madvise(data, bytes, MADV_HUGEPAGE);
#endif
  return static_cast<std::byte*>(data);
#endif
}

void HostMemory::free(std::byte* data, size_t) {
#ifdef _WIN32
  _aligned_free(data);
#else
  std::free(data);
#endif
}

Allocator::~Allocator() {
  for (auto& [bytes, block] : cached_) {
    source_.free(block->data, block->bytes);
    delete block;
  }
}

Block* Allocator::allocate(size_t bytes, const QueueClock& clock, const char* where) {
  const size_t wanted = rounded(bytes);
  ++stats_.allocations;
  const auto refuse = [&](const std::string& why, const char* advice = "use smaller batches or free tensors") {
    return Error::coded("OUT_OF_MEMORY", "[" + std::string(where) + "] expected to allocate " + std::to_string(wanted) +
                                             " bytes but " + why + " (" + std::to_string(stats_.live_bytes) +
                                             " bytes in use, " + std::to_string(stats_.cached_bytes) + " cached); " +
                                             advice);
  };
  if (fail_after_ != 0 && --fail_after_ == 0) throw refuse("the allocation was made to fail");

  const auto found = cached_.lower_bound(wanted);
  if (found != cached_.end() && found->first <= wanted + wanted / 4) {
    Block* block = found->second;
    cached_.erase(found);
    by_age_.erase(block->by_age);
    stats_.cached_bytes -= block->bytes;
    stats_.live_bytes += block->bytes;
    return block;
  }
  // Keep the cache no larger than what is in use plus a little, else odd sizes pile up.
  trim(std::max(stats_.live_bytes / 2, size_t{64} << 20), clock);
  if (stats_.live_bytes + stats_.cached_bytes + wanted > limit_bytes_) trim(0, clock);
  if (stats_.live_bytes + stats_.cached_bytes + wanted > limit_bytes_) {
    const std::string limit = "the limit is " + std::to_string(limit_bytes_);
    if (stats_.live_bytes + wanted > limit_bytes_) throw refuse(limit);
    throw refuse(limit, "what is cached still has work ahead of it: await it, or device.sync(), and try again");
  }
  std::byte* data = source_.allocate(wanted);
  if (!data) {
    trim(0, source_.settle(clock));
    source_.settle(clock);
    data = source_.allocate(wanted);
  }
  if (!data) throw refuse("the system has none");
  Block* block = new Block;
  block->data = data;
  block->bytes = wanted;
  stats_.live_bytes += wanted;
  stats_.peak_bytes = std::max(stats_.peak_bytes, stats_.live_bytes + stats_.cached_bytes);
  return block;
}

void Allocator::release(Block* block, const QueueClock& clock) {
  block->released_at = clock.submitted;
  stats_.live_bytes -= block->bytes;
  stats_.cached_bytes += block->bytes;
  block->by_size = cached_.emplace(block->bytes, block);
  block->by_age = by_age_.insert(by_age_.end(), block);
}

void Allocator::trim(size_t keep_bytes, const QueueClock& clock) {
  while (stats_.cached_bytes > keep_bytes && !by_age_.empty()) {
    Block* block = by_age_.front();
    if (block->released_at > clock.completed) return;
    by_age_.pop_front();
    cached_.erase(block->by_size);
    stats_.cached_bytes -= block->bytes;
    source_.free(block->data, block->bytes);
    delete block;
  }
}

}  // namespace seqrisk
