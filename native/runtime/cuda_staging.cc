#include "runtime/cuda_staging.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "runtime/thread_pool.h"

namespace seqrisk {

Error cuda_error(cudaError_t status, const char* what) {
  const std::string received = std::string("[cuda] expected ") + what + " to succeed but received " +
                               cudaGetErrorName(status) + " (" + cudaGetErrorString(status) + "); ";
  if (status == cudaErrorMemoryAllocation) {
    return Error::coded("OUT_OF_MEMORY", received + "use smaller batches or free tensors");
  }
  return Error::coded("CUDA_FAILED", received + "this process cannot use the card any more: start a new one");
}

void expect_cuda(cudaError_t status, const char* what) {
  if (status != cudaSuccess) throw cuda_error(status, what);
}

UploadRing::UploadRing(cudaStream_t stream, std::function<void()> hand_over)
    : stream_(stream), hand_over_(std::move(hand_over)) {
  expect_cuda(cudaMallocHost(reinterpret_cast<void**>(&pinned_), kSegments * kSegmentBytes), "pinned memory");
  for (cudaEvent_t& event : read_) {
    expect_cuda(cudaEventCreateWithFlags(&event, cudaEventDisableTiming | cudaEventBlockingSync), "an event");
  }
  expect_cuda(cudaStreamCreateWithFlags(&aside_, cudaStreamNonBlocking), "a stream");
  expect_cuda(cudaEventCreateWithFlags(&arrived_, cudaEventDisableTiming), "an event");
}

UploadRing::~UploadRing() {
  cudaStreamSynchronize(aside_);
  cudaStreamDestroy(aside_);
  cudaEventDestroy(arrived_);
  for (cudaEvent_t& event : read_) cudaEventDestroy(event);
  cudaFree(landing_);
  cudaFreeHost(pinned_);
}

bool UploadRing::has_landing() {
  if (!asked_for_landing_) {
    asked_for_landing_ = true;
    const auto status = cudaMalloc(reinterpret_cast<void**>(&landing_), kSegments * kSegmentBytes);
    if (status != cudaSuccess) {
      landing_ = nullptr;
      cudaGetLastError();  // uploads come in the stream's order then
    }
  }
  return landing_ != nullptr;
}

cudaError_t UploadRing::send(std::byte* device, const std::byte* staged, size_t bytes, bool recorded) {
  if (recorded || bytes < kLeastAside || !has_landing()) {
    return cudaMemcpyAsync(device, staged, bytes, cudaMemcpyHostToDevice, stream_);
  }
  std::byte* landed = landing_ + (staged - pinned_);
  auto status = cudaMemcpyAsync(landed, staged, bytes, cudaMemcpyHostToDevice, aside_);
  if (status == cudaSuccess) status = cudaEventRecord(arrived_, aside_);
  if (status == cudaSuccess) status = cudaStreamWaitEvent(stream_, arrived_, 0);
  if (status == cudaSuccess) status = cudaMemcpyAsync(device, landed, bytes, cudaMemcpyDeviceToDevice, stream_);
  return status;
}

cudaError_t UploadRing::upload(std::byte* device, const std::byte* host, size_t bytes, bool recorded) {
  while (bytes > 0) {
    if (used_ == kSegmentBytes) {
      hand_over_();
      if (const auto status = cudaEventRecord(read_[segment_], stream_); status != cudaSuccess) return status;
      segment_ = (segment_ + 1) % kSegments;
      // An event that was never recorded counts as over.
      if (const auto status = cudaEventSynchronize(read_[segment_]); status != cudaSuccess) return status;
      used_ = 0;
    }
    const size_t part = std::min(bytes, kSegmentBytes - used_);
    std::byte* staged = pinned_ + segment_ * kSegmentBytes + used_;
    std::memcpy(staged, host, part);
    if (const auto status = send(device, staged, part, recorded); status != cudaSuccess) return status;
    used_ += part;
    device += part;
    host += part;
    bytes -= part;
  }
  return cudaSuccess;
}

Landing::Landing(int device, cuda::Launch& launch) : device_(device), launch_(launch) {
  expect_cuda(cudaMallocHost(reinterpret_cast<void**>(&pinned_), kSegments * kSegmentBytes), "pinned memory");
  for (cudaEvent_t& event : ready_) {
    expect_cuda(cudaEventCreateWithFlags(&event, cudaEventDisableTiming | cudaEventBlockingSync), "an event");
  }
  thread_ = start_thread([this] { receive(); });
}

Landing::~Landing() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  thread_.join();
  for (cudaEvent_t& event : ready_) cudaEventDestroy(event);
  cudaFreeHost(pinned_);
}

// Waits until a segment is free: the arrivals before it were received.
size_t Landing::next_segment() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return sent_ - received_ < kSegments; });
  return sent_ % kSegments;
}

cudaError_t Landing::send(Arrival arrival) {
  const auto status = cudaEventRecord(ready_[arrival.segment], launch_.stream);
  {
    const std::lock_guard lock(mutex_);
    arrivals_.push_back(std::move(arrival));
    ++sent_;
  }
  changed_.notify_all();
  return status;
}

cudaError_t Landing::download(std::byte* host, const std::byte* device, size_t bytes) {
  while (bytes > 0) {
    const size_t part = std::min(bytes, kSegmentBytes);
    const size_t segment = next_segment();
    std::byte* staged = pinned_ + segment * kSegmentBytes;
    auto status = cudaMemcpyAsync(staged, device, part, cudaMemcpyDeviceToHost, launch_.stream);
    if (status == cudaSuccess) status = send({segment, host, part, nullptr});
    if (status != cudaSuccess) return status;
    host += part;
    device += part;
    bytes -= part;
  }
  return cudaSuccess;
}

cudaError_t Landing::land(Landed landed) {
  const size_t segment = next_segment();
  auto* record = reinterpret_cast<cuda::FaultRecord*>(pinned_ + segment * kSegmentBytes);
  *record = {};
  cuda::take_fault(launch_.faults, record, launch_.stream);
  return send({segment, nullptr, 0, std::move(landed)});
}

void Landing::receive() {
  cudaSetDevice(device_);
  cudaError_t failed = cudaSuccess;  // a failed copy spoils the next call
  for (;;) {
    Arrival arrival;
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] { return stopping_ || !arrivals_.empty(); });
      if (arrivals_.empty()) return;
      arrival = std::move(arrivals_.front());
      arrivals_.pop_front();
    }
    const auto status = cudaEventSynchronize(ready_[arrival.segment]);
    if (failed == cudaSuccess) failed = status;
    const std::byte* staged = pinned_ + arrival.segment * kSegmentBytes;
    if (arrival.host) {
      if (status == cudaSuccess) std::memcpy(arrival.host, staged, arrival.bytes);
    } else {
      std::optional<Error> error;
      const auto* record = reinterpret_cast<const cuda::FaultRecord*>(staged);
      if (failed != cudaSuccess) {
        error = cuda_error(failed, "the work so far");
      } else if (record->claimed) {
        const std::string where = "[" + std::string(record->kernel) + "] expected " + record->expected;
        error = Error::range(where + " but received " + std::to_string(record->value) + " at index " +
                             std::to_string(record->index));
      }
      failed = cudaSuccess;
      arrival.landed(std::move(error));
    }
    {
      const std::lock_guard lock(mutex_);
      ++received_;
    }
    changed_.notify_all();
  }
}

}  // namespace seqrisk
