// Calls of a stream whose outcome a test waits for.
#pragma once

#include <cstring>
#include <future>
#include <optional>
#include <vector>

#include "runtime/stream.h"

namespace seqrisk::parity {

// Memory of a stream until the end of a test.
class Memory {
 public:
  explicit Memory(Stream& stream) : stream_(stream) {}
  ~Memory() {
    for (Block* block : blocks_) stream_.release(block);
  }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

  std::byte* take(size_t bytes) {
    blocks_.push_back(stream_.allocate(bytes, "parity"));
    return blocks_.back()->begin();
  }

 private:
  Stream& stream_;
  std::vector<Block*> blocks_;
};

// Waits for what is enqueued by `enqueue`; its error.
template <class Enqueue>
std::optional<Error> outcome(Enqueue enqueue) {
  std::promise<std::optional<Error>> promise;
  enqueue([&promise](const std::optional<Error>& error) { promise.set_value(error); });
  return promise.get_future().get();
}

// The same, and throws its error.
template <class Enqueue>
void await(Enqueue enqueue) {
  if (const std::optional<Error> error = outcome(enqueue)) throw *error;
}

template <class T>
std::vector<T> read(Stream& stream, const T* from, int64_t count) {
  std::vector<T> values(static_cast<size_t>(count));
  const size_t bytes = values.size() * sizeof(T);
  await([&](Completion done) {
    stream.download(values.data(), reinterpret_cast<const std::byte*>(from), bytes, std::move(done));
  });
  return values;
}

template <class T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0);
}

}  // namespace seqrisk::parity
