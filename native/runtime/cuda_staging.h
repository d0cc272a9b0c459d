// Pinned host memory between a CUDA stream and the host: where uploads wait for the card, and where downloads land.
#pragma once

#include <cuda_runtime_api.h>

#include <array>
#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>

#include "kernels/cuda/launch.h"
#include "runtime/error.h"

namespace seqrisk {

// Turns a status into an Error: OUT_OF_MEMORY, or CUDA_FAILED for a card that can no longer be used.
Error cuda_error(cudaError_t status, const char* what);
// Throws it unless the status is success.
void expect_cuda(cudaError_t status, const char* what);

// Segments in turn; one is written again when the card has read it. Used by the stream's worker alone. What is large
// comes on a CUDA stream of its own, beside kernels, and lands in as much memory of the card's; from there it is copied
// where it belongs in the order of the stream, which memory bounds, and no longer the way to the host.
class UploadRing {
 public:
  // `hand_over` is called before a segment is left: what is recorded for later reads it.
  UploadRing(cudaStream_t stream, std::function<void()> hand_over);
  ~UploadRing();
  UploadRing(const UploadRing&) = delete;
  UploadRing& operator=(const UploadRing&) = delete;

  // `recorded`: the stream's work is kept for later, which no other stream may be part of.
  cudaError_t upload(std::byte* device, const std::byte* host, size_t bytes, bool recorded = false);

 private:
  static constexpr size_t kSegments = 8;
  static constexpr size_t kSegmentBytes = size_t{2} << 20;
  // Less takes as long as telling two streams of each other.
  static constexpr size_t kLeastAside = size_t{64} << 10;

  cudaError_t send(std::byte* device, const std::byte* staged, size_t bytes, bool recorded);
  bool has_landing();

  const cudaStream_t stream_;
  const std::function<void()> hand_over_;
  std::byte* pinned_ = nullptr;
  cudaStream_t aside_ = nullptr;
  cudaEvent_t arrived_ = nullptr;
  std::byte* landing_ = nullptr;    // of the card, segment by segment like pinned_
  bool asked_for_landing_ = false;  // which a card that is full has not
  std::array<cudaEvent_t, kSegments> read_{};
  size_t segment_ = 0;
  size_t used_ = 0;  // of the segment
};

// What the host waits for, in the stream's order. A thread of its own waits, copies and calls.
class Landing {
 public:
  // Called on the landing's thread, with what the card recorded or reported.
  using Landed = std::function<void(std::optional<Error> error)>;

  Landing(int device, cuda::Launch& launch);
  ~Landing();  // waits for all that is on its way
  Landing(const Landing&) = delete;
  Landing& operator=(const Landing&) = delete;

  // The card's bytes come to `host` some time before the next `land` is called. From the stream's worker alone.
  cudaError_t download(std::byte* host, const std::byte* device, size_t bytes);
  // Calls `landed` when the card has come here.
  cudaError_t land(Landed landed);

 private:
  static constexpr size_t kSegments = 8;
  static constexpr size_t kSegmentBytes = size_t{2} << 20;

  struct Arrival {
    size_t segment;
    std::byte* host;  // null for an arrival that calls
    size_t bytes;
    Landed landed;
  };

  size_t next_segment();
  cudaError_t send(Arrival arrival);
  void receive();

  const int device_;
  cuda::Launch& launch_;
  std::byte* pinned_ = nullptr;
  std::array<cudaEvent_t, kSegments> ready_{};

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Arrival> arrivals_;
  uint64_t sent_ = 0;      // under the mutex
  uint64_t received_ = 0;  // under the mutex
  bool stopping_ = false;  // under the mutex
  std::thread thread_;
};

}  // namespace seqrisk
