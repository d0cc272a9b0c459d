#include "tests/emulator/streams.h"

#include <algorithm>
#include <climits>
#include <cstring>
#include <deque>
#include <functional>
#include <iterator>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "tests/emulator/emulator.h"

namespace {

using Work = std::function<void()>;

std::recursive_mutex all;  // guards what follows

}  // namespace

struct Queue {
  int card;
  std::deque<Work> waiting;
  uint64_t done = 0;
  int patience;  // how much more may wait before all is done

  uint64_t end() const { return done + waiting.size(); }
  void run_to(uint64_t position) {
    while (done < position) {
      const Work next = std::move(waiting.front());
      waiting.pop_front();
      next();
      ++done;
    }
  }
};

struct CUevent_st {
  int card;
  std::shared_ptr<Queue> queue;  // null: never recorded
  uint64_t position = 0;
};

namespace {

std::vector<std::shared_ptr<Queue>> queues;
std::vector<CUstream_st*> unnamed;  // one for each card

int draw_patience() {
  static std::minstd_rand random_bits(static_cast<unsigned>(emulator::seed));
  constexpr int kPatience[] = {0, 1, 7, 63, INT_MAX};
  return kPatience[random_bits() % std::size(kPatience)];
}

CUstream_st* make_stream(int card) {
  const std::lock_guard lock(all);
  queues.push_back(std::make_shared<Queue>(Queue{card, {}, 0, draw_patience()}));
  const auto settle = [](CUstream_st* stream) {
    const std::lock_guard settling(all);
    stream->queue->run_to(stream->queue->end());
  };
  return new CUstream_st{card, settle, queues.back().get()};
}

CUstream_st* given_or_own(cudaStream_t stream) {
  if (stream) return stream;
  const std::lock_guard lock(all);
  const auto card = static_cast<size_t>(emulator::card());
  while (unnamed.size() <= card) unnamed.push_back(make_stream(static_cast<int>(unnamed.size())));
  return unnamed[card];
}

std::shared_ptr<Queue> shared_queue(const Queue* queue) {
  return *std::find_if(queues.begin(), queues.end(), [&](const auto& held) { return held.get() == queue; });
}

void enqueue(CUstream_st* stream, Work work) {
  const std::lock_guard lock(all);
  stream->queue->waiting.push_back(std::move(work));
  if (stream->queue->patience-- > 0) return;
  stream->settle(stream);
  stream->queue->patience = draw_patience();
}

// Whether work on the stream may be with that memory.
bool is_near(const CUstream_st* stream, const void* data) {
  const int card = emulator::card_of(data);
  return card < 0 || card == stream->card;
}

cudaError_t refuse(cudaError_t code, const char* text) {
  emulator::failure = {code, text};
  return code;
}

}  // namespace

namespace emulator {

bool before_launch(cudaStream_t given) {
  CUstream_st* stream = given_or_own(given);
  stream->settle(stream);
  if (stream->card == card()) return true;
  refuse(cudaErrorInvalidResourceHandle, "expected a stream of the thread's card");
  return false;
}

void settle_card(int card) {
  const std::lock_guard lock(all);
  for (const auto& queue : queues) {
    if (card < 0 || queue->card == card) queue->run_to(queue->end());
  }
}

}  // namespace emulator

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  *stream = make_stream(emulator::card());
  return cudaSuccess;
}
// What it has is done all the same.
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  if (!stream) return cudaErrorInvalidResourceHandle;
  const std::lock_guard lock(all);
  stream->settle(stream);
  std::erase(queues, shared_queue(stream->queue));
  delete stream;
  return cudaSuccess;
}
cudaError_t cudaDeviceSynchronize() {
  emulator::settle_card(emulator::card());
  return cudaSuccess;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = new CUevent_st{emulator::card(), nullptr};
  return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  const std::lock_guard lock(all);
  if (event->queue) event->queue->run_to(event->position);
  return cudaSuccess;
}

// A recording would never end for who waits, and marks are not looked for in it.
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  if (emulator::spoils_recording(stream)) return cudaErrorStreamCaptureInvalidated;
  stream = given_or_own(stream);
  stream->settle(stream);
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  if (emulator::spoils_recording(stream)) return cudaErrorStreamCaptureInvalidated;
  stream = given_or_own(stream);
  if (event->card != stream->card) {
    return refuse(cudaErrorInvalidResourceHandle, "expected an event of the stream's card");
  }
  const std::lock_guard lock(all);
  event->queue = shared_queue(stream->queue);
  event->position = event->queue->end();
  return cudaSuccess;
}
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  if (emulator::spoils_recording(stream)) return cudaErrorStreamCaptureInvalidated;
  const std::lock_guard lock(all);
  if (event->queue) {
    enqueue(given_or_own(stream), [from = event->queue, position = event->position] { from->run_to(position); });
  }
  return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t given) {
  CUstream_st* stream = given_or_own(given);
  if (!is_near(stream, to) || !is_near(stream, from)) {
    return refuse(cudaErrorInvalidValue, "expected memory of the stream's card");
  }
  const auto copy = [](void* there, const void* here, size_t count) {
    if (count > 0) std::memcpy(there, here, count);
  };
  if (emulator::keep({"a copy", [=] { copy(to, from, bytes); }}, given)) return cudaSuccess;
  const auto* begin = static_cast<const std::byte*>(from);
  if (kind == cudaMemcpyHostToDevice && !emulator::is_pinned(from)) {
    // The host may write over it when this returns.
    enqueue(stream, [=, own = std::vector<std::byte>(begin, begin + bytes)] { copy(to, own.data(), bytes); });
    return cudaSuccess;
  }
  enqueue(stream, [=] { copy(to, from, bytes); });
  if (kind == cudaMemcpyDeviceToHost && !emulator::is_pinned(to)) stream->settle(stream);
  return cudaSuccess;
}
cudaError_t cudaMemsetAsync(void* to, int byte, size_t bytes, cudaStream_t given) {
  CUstream_st* stream = given_or_own(given);
  if (!is_near(stream, to)) return refuse(cudaErrorInvalidValue, "expected memory of the stream's card");
  const auto fill = [=] {
    if (bytes > 0) std::memset(to, byte, bytes);
  };
  if (!emulator::keep({"a fill", fill}, given)) enqueue(stream, fill);
  return cudaSuccess;
}
