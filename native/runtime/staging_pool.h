// Host bytes on their way to a device: copied by the thread that owns the stream, let go by the stream's worker.
#pragma once

#include <cstddef>
#include <mutex>
#include <vector>

namespace seqrisk {

// Large copies get memory that earlier ones are done with: the pages of fresh memory cost more than the copy itself,
// and it is the JavaScript thread that would pay for them.
class StagingPool {
 public:
  using Bytes = std::vector<std::byte>;

  Bytes copy(const void* host, size_t bytes);
  void give_back(Bytes bytes);

 private:
  std::mutex mutex_;
  std::vector<Bytes> free_;  // under the mutex
  size_t free_bytes_ = 0;    // of their capacities; under the mutex
};

}  // namespace seqrisk
